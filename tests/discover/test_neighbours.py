"""Files read with what stands beside them, and which files are worth reading at all."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from afterguard.code.parse import Parsed, parse
from afterguard.discover import kubernetes, terraform, worth_config
from afterguard.discover.neighbours import Neighbours
from afterguard.files import kind_of
from afterguard.model import Source


def source(path: str, text: str) -> Source:
    return Source(path, text.encode(), kind_of(path, text.encode()), len(text))


def read(files: Iterable[Source]) -> dict[str, Parsed]:
    neighbours = Neighbours()
    out = {one.path: parse(one) for one in files if not neighbours.holds(one)}
    out.update((one.source.path, one) for one in neighbours.parsed())
    return out


def test_a_chart_is_read_with_its_values_whatever_comes_first() -> None:
    template = "kind: Pod\napiVersion: v1\nmetadata: {name: x}\nspec:\n  containers:\n    - image: {{ .Values.llm.image }}\n      name: c\n"
    parsed = read(
        [source("c/templates/p.yaml", template), source("c/values.yaml", "llm:\n  image: mirror/ollama/ollama:1\n")]
    )
    assets = list(kubernetes.find(parsed["c/templates/p.yaml"]))
    assert [(asset.name, asset.evidence[0].line) for asset in assets] == [("ollama", 6)]
    assert parsed["c/templates/p.yaml"].source.data == template.encode()


def test_a_template_without_values_is_still_read() -> None:
    parsed = read([source("c/templates/p.yaml", "image: {{ .Values.x }}\n")])
    document = parsed["c/templates/p.yaml"].document
    assert document is not None and not document.roots[0].fields[0][1].resolved


def test_terraform_of_a_folder_is_one_module() -> None:
    parsed = read(
        [
            source(
                "t/main.tf",
                'resource "aws_bedrockagent_agent" "a" {\n  agent_name = local.n\n  foundation_model = var.m\n}\n',
            ),
            source("t/locals.tf", 'locals { n = "desk-${var.env}" }\n'),
            source(
                "t/variables.tf",
                'variable "m" { default = "amazon.titan-text-lite-v1" }\nvariable "env" { default = "dev" }\n',
            ),
            source("t/terraform.tfvars", 'm = "amazon.nova-pro-v1:0"\nenv = "prod"\n'),
            source("other/main.tf", 'resource "aws_bedrockagent_agent" "b" {\n  foundation_model = var.m\n}\n'),
        ]
    )
    named = {(a.kind.value, a.name) for a in terraform.find(parsed["t/main.tf"])}
    assert {("agent", "desk-prod"), ("model", "amazon.nova-pro-v1:0")} <= named
    assert not [a for a in terraform.find(parsed["other/main.tf"]) if a.kind.value == "model"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("AGENTS.md", "Do things.\n"),
        (".cursor/rules/x.mdc", "tabs\n"),
        ("skills/pdf/SKILL.md", "x\n"),
        ("prompts/answer.txt", "You are a support agent.\n"),
        ("Modelfile", "FROM x\n"),
        ("k.yaml", "apiVersion: ray.io/v1\nkind: RayService\n"),
        ("k.yaml", "args: [--model, org/m-7b]\n"),
        ("Dockerfile", "FROM corp/mirror/vllm-openai\n"),
        ("main.tf", 'resource "azurerm_cognitive_account" "a" {}\n'),
        (".vscode/mcp.json", '{"servers": {}}'),
        ("x.yaml", "a:\n  role: r\n  goal: g\n  backstory: b\n"),
    ],
)
def test_worth_reading(path: str, text: str) -> None:
    assert worth_config.is_worth(source(path, text))


@pytest.mark.parametrize(
    ("path", "text"),
    [("a.yaml", "name: x\nport: 80\n"), ("Dockerfile", "FROM nginx\nCOPY a b\n"), ("notes.md", "You are great.\n"), ("a.py", "x = 1\n"), ("main.tf", 'resource "aws_s3_bucket" "b" {}\n')],
)  # fmt: skip
def test_not_worth_reading(path: str, text: str) -> None:
    assert not worth_config.is_worth(source(path, text))
