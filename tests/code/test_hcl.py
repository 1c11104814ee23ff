"""HCL: blocks, names put in, policies read as what they say."""

from __future__ import annotations

from typing import Any

from afterguard.code import hcl
from afterguard.code.document import Document, Node
from afterguard.model import Source


def parse(text: str, variables: dict[str, Node] | None = None) -> Document:
    return hcl.parse(Source("main.tf", text.encode(), "hcl"), variables)


def plain(node: Node | None) -> Any:
    assert node is not None
    if node.kind == "map":
        return {key.text: plain(value) for key, value in node.fields}
    return [plain(item) for item in node.items] if node.kind == "list" else node.text


TEXT = """variable "model" {
  default = "gpt-4o"
}
variable "unset" {}
locals {
  name = "x-${var.model}"
  tags = { team = "ml" }
}
resource "aws_x" "y" {
  name   = local.name
  both   = "${local.name}/${var.unset}"
  tags   = local.tags
  other  = aws_y.z.arn
  list   = [1, true, null, var.model]
  nested {
    a = "b\\n"
  }
  policy = jsonencode({ Statement = [{ Action = "bedrock:*" }] })
  body   = <<EOT
{"Action": ["s3:Get",
  "sagemaker:InvokeEndpoint"]}
EOT
}
"""


def test_blocks_names_and_lines() -> None:
    document = parse(TEXT)
    assert not document.errors
    body = document.roots[0].get("resource", "aws_x", "y")
    assert body is not None
    assert body.string("name") == "x-gpt-4o"
    assert body.string("both") == "x-gpt-4o/${var.unset}"
    assert plain(body.get("tags")) == {"team": "ml"}
    assert plain(body.get("list")) == ["1", "true", "null", "gpt-4o"]
    assert plain(body.get("nested")) == {"a": "b\n"}
    assert [key.line for key, _ in body.fields] == [10, 11, 12, 13, 14, 15, 18, 19]


def test_resolution_is_marked() -> None:
    body = parse(TEXT).roots[0].get("resource", "aws_x", "y")
    assert body is not None
    marks = {key.text: value.resolved for key, value in body.fields}
    assert (marks["name"], marks["both"], marks["other"]) == (True, False, False)


def test_policies_inside_are_trees() -> None:
    body = parse(TEXT).roots[0].get("resource", "aws_x", "y")
    assert body is not None
    assert plain(body.get("policy")) == {"Statement": [{"Action": "bedrock:*"}]}
    action = body.get("body", "Action")
    assert action is not None and [(item.text, item.line) for item in action.items] == [
        ("s3:Get", 20),
        ("sagemaker:InvokeEndpoint", 21),
    ]


def test_variables_of_the_files_beside_count() -> None:
    beside = parse('variable "region" { default = "eu-central-1" }')
    document = parse("r = var.region\n", hcl.defaults(beside.roots[0]))
    assert document.roots[0].string("r") == "eu-central-1"


def test_a_broken_block_is_said_with_its_line() -> None:
    document = parse('a = 1\nresource "x" {\n  b = = 2\n}\nc = 3\n')
    assert document.errors
    assert document.roots[0].string("a") == "1"
