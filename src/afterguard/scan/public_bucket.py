"""Storage with data or models that everybody can read.

In: Terraform, CloudFormation, scripts and code. Out: a finding at the setting that opens it. A bucket whose name says that it is a
public web site is left alone; one that says nothing counts only in an application with AI.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import Node, walk
from afterguard.code.parse import Parsed
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.source_text import uncommented

CHECK = Check(
    id="public-bucket",
    title="Storage with data or models is public",
    severity=Severity.high,
    taxonomies=("LLM02:2025", "LLM02:2026", "LLM04:2025", "LLM05:2026", "AML.T0035", "CWE-732", "CWE-668"),
    why="Training data, prompts and weights can be copied by anybody who guesses the name; where writing is open, poisoned as well.",
    fix="Block public access on the bucket and the account, and give the application's own role the rights it needs.",
    kinds=("hcl", "yaml", "json", "script", *CODE),
)
_DATA = re.compile(
    r"model|train|dataset|(?:^|[-_./])data(?:$|[-_./])|embedding|weights?|artifacts?|artefacts?|prompt|checkpoint|corpus|llm|knowledge|rag|vector|(?:^|[-_./])(?:ml|ai)(?:$|[-_./])|feature|documents?|sagemaker|bedrock|mlflow|finetun|transcript|conversation",
    re.IGNORECASE,
)
_SITE = re.compile(
    r"website|static|public[-_]?(?:site|assets|web)|www|frontend|front_end|landing|cdn|(?:^|[-_.])(?:web|site|assets)(?:$|[-_.])",
    re.IGNORECASE,
)
_ACLS = {"public-read", "public-read-write", "authenticated-read", "publicread", "publicreadwrite"}
_BLOCKS = {
    "block_public_acls",
    "block_public_policy",
    "ignore_public_acls",
    "restrict_public_buckets",
    "blockpublicacls",
    "blockpublicpolicy",
    "ignorepublicacls",
    "restrictpublicbuckets",
}
_EVERYBODY = {"allusers", "allauthenticatedusers"}
_SHELL = re.compile(
    r"\bmc\s+anonymous\s+set(?:-json)?\s+(?:public|download|upload)|\bs3(?:api)?\s+.*--acl[= ]public-read|gsutil\s+(?:iam\s+ch|acl\s+ch).*\ballUsers|--public-access[= ](?:blob|container)|allow-blob-public-access[= ]true",
    re.IGNORECASE,
)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for open storage."""
    if parsed.document is not None:
        for root in parsed.document.roots:
            yield from _in_document(parsed, context, root)
    elif parsed.module is not None:
        yield from _in_code(parsed, context)
    if parsed.source.kind in ("script", "yaml"):
        for number, text in uncommented(parsed, context.lines(parsed)):
            if _SHELL.search(text) and _counts(text, context):
                yield context.finding(
                    CHECK, parsed, number, "This command opens a bucket to everybody.", confidence=Confidence.medium
                )


def _counts(name: str, context: Context) -> bool:
    return bool(_DATA.search(name)) or (context.has_ai and not _SITE.search(name))


def _in_document(parsed: Parsed, context: Context, root: Node) -> Iterator[Finding]:
    for path, node in walk(root):
        if node.kind != "map" or not path:
            continue
        kind = _resource_kind(path, node)
        if not kind:
            continue
        named = "/".join(path) + " " + " ".join(_names(node))
        if _counts(named, context):
            for line, message in _open(kind, path, node):
                yield context.finding(CHECK, parsed, line, message)


def _resource_kind(path: tuple[str, ...], node: Node) -> str:
    if len(path) == 3 and path[0] == "resource":
        return path[1]
    if len(path) == 2 and path[0] == "Resources":
        return node.string("Type")
    return ""


def _names(node: Node) -> Iterator[str]:
    for _, one in walk(node):
        if one.kind == "text" and len(one.text) < 200:
            yield one.text


def _open(kind: str, path: tuple[str, ...], body: Node) -> Iterator[tuple[int, str]]:
    lower = kind.lower()
    storage = any(word in lower for word in ("s3", "storage", "bucket", "oss_", "cos_"))
    if not storage:
        return
    for below, node in walk(body):
        key = below[-1].lower() if below else ""
        text = node.text.lower()
        if key in ("acl", "accesscontrol", "predefined_acl") and text in _ACLS:
            yield node.line, f"The access list {node.text} lets everybody read."
        elif key in _BLOCKS and text == "false":
            yield node.line, f"{below[-1]} is off, so a public access list or policy takes effect."
        elif (
            key in ("member", "entity") or (len(below) > 1 and below[-2].lower() == "members")
        ) and text in _EVERYBODY:
            yield node.line, f"{node.text} may read the bucket."
        elif key == "container_access_type" and text in ("blob", "container"):
            yield node.line, "The container can be read without signing in."
        elif (
            key in ("allow_nested_items_to_be_public", "allow_blob_public_access", "allowblobpublicaccess")
            and text == "true"
        ):
            yield node.line, "Containers of this account can be made public."
        elif (
            node.kind == "map"
            and node.string("Effect") == "Allow"
            and _is_everybody(node)
            and node.get("Condition") is None
        ):
            line = (node.get("Principal") or node).line
            yield line, "The policy lets everybody in."


def _is_everybody(statement: Node) -> bool:
    principal = statement.get("Principal")
    if principal is None:
        return False
    return principal.text == "*" or any(one.text == "*" for _, one in walk(principal))


def _in_code(parsed: Parsed, context: Context) -> Iterator[Finding]:
    for seen in context.flow(parsed).calls:
        for key, value in (*seen.call.fields, *(pair for part in seen.call.parts for pair in part.fields)):
            opened = key.lower() in ("acl", "accesscontrol") and value.text.lower() in _ACLS
            opened = opened or (key in ("publicReadAccess", "public_read_access") and value.text == "true")
            if opened and (
                _DATA.search(str(parsed.source.path))
                or _counts(" ".join(v.text for v in seen.args) + seen.call.text, context)
            ):
                yield context.finding(
                    CHECK, parsed, value.line, f"{key} {value.text} lets everybody read.", function=seen.function.name
                )
        if seen.folded.endswith(("makepublic", "makeblobpublic")):
            yield context.finding(
                CHECK, parsed, seen.call.line, f"{seen.call.text} lets everybody read.", function=seen.function.name
            )
