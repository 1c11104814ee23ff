"""One cloud resource of any template language: which AI it is, its models, its keys, and what its policies let it call.

In: a resource's type, name and body. Out: Assets on a Sheet. Terraform, CloudFormation, Azure templates and CDK share it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from afterguard.catalog import load
from afterguard.code.document import Node, walk
from afterguard.code.json import read as read_json
from afterguard.discover import ci, images, settings, signals
from afterguard.discover.settings import Setting
from afterguard.discover.sheet import Sheet, words
from afterguard.model import AssetKind, Certainty, Edge

_ARN_MODEL = re.compile(r"(?:foundation-model|inference-profile)/([\w.:-]{3,120})")
_ARTIFACT_FIELDS = {"model_data_url", "ModelDataUrl", "S3Uri", "s3_uri", "artifact_uri", "deployment_uri"}
_SIZE = re.compile(r"(?i)(instance_?type|machine_?type|vm_?size|size)$")
_PERMISSION_KEYS = {
    "action", "actions", "role", "roles", "role_definition_name", "service", "services", "policies", "policy_arn",
    "managedpolicyarns", "managed_policy_arns", "policyarn",
}  # fmt: skip
_SCRIPTS = {
    "user_data",
    "userdata",
    "startup_script",
    "startup-script",
    "metadata_startup_script",
    "custom_data",
    "inline",
}
_LOGICAL = re.compile(r"^[\w.${}()/: -]*$")


@cache
def _rows(section: str) -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    rows = load("signals/cloud_resources")[section]
    return [(re.compile(re.escape(row["match"]).replace(r"\*", ".*"), re.I), row) for row in rows]


def row_of(section: str, kind: str) -> dict[str, Any] | None:
    """The catalog's row for a resource type, None for one that is not AI."""
    return next((row for pattern, row in _rows(section) if pattern.fullmatch(kind)), None)


def write(sheet: Sheet, section: str, kind: str, label: str, body: Node, line: int, is_data: bool = False) -> None:
    """Write one resource down: itself where it is AI, and the settings, images and permissions inside any resource."""
    row = row_of(section, kind)
    edges = tuple(_settings(sheet, body))
    if row is not None:
        _ai(sheet, row, kind, label, body, line, edges, is_data)
    else:
        _permissions(sheet, body)
    _images(sheet, body, edges)
    for path, node in walk(body):
        if path and node.kind == "text" and "\n" in node.text and path[-1].lower() in _SCRIPTS:
            ci.script(sheet, node)


def _ai(
    sheet: Sheet,
    row: dict[str, Any],
    kind: str,
    label: str,
    body: Node,
    line: int,
    edges: tuple[Edge, ...],
    is_data: bool,
) -> None:
    name = row["name"]
    if row.get("openai"):
        form = body.string("kind") or body.string("properties", "kind")
        name = "azure-openai" if form.lower() == "openai" else name
    models = _models(sheet, body, name)
    keys = tuple(edge for edge in edges if edge.kind is AssetKind.secret_reference)
    region = body.string("region") or body.string("location")
    accelerator = _accelerator(body)
    matched = f"{kind} {label}".strip()
    served = tuple(Edge("serves", e.kind, e.name) for e in models)
    sheet.add(
        AssetKind(row["kind"]),
        name,
        line,
        matched,
        Certainty.declared,
        (*served, *keys),
        region=region,
        accelerator=accelerator,
    )
    if "own" not in row or is_data:
        return
    own = _own_name(body, label)
    own_kind = AssetKind(row["own"])
    part = Edge("part_of", AssetKind(row["kind"]), name)
    uses = tuple(Edge("calls" if own_kind is AssetKind.ai_endpoint else "uses", e.kind, e.name) for e in models)
    sheet.add(own_kind, own, line, matched, Certainty.declared, (part, *uses, *keys))
    instruction = body.get("instruction") or body.get("Instruction") or body.get("Properties", "Instruction")
    if own_kind is AssetKind.agent and instruction is not None and len(instruction.text) > 20:
        sheet.add(AssetKind.prompt, f"{own} instruction", instruction.line, f"instruction of {own}", agent=own)


def _own_name(body: Node, label: str) -> str:
    for key in load("signals/cloud_resources")["named"]:
        for holder in (body, body.get("Properties"), body.get("properties")):
            node = holder.get(key) if holder is not None else None
            if node is not None and node.kind == "text" and node.resolved and node.text:
                return node.text
    return label


def _models(sheet: Sheet, body: Node, service: str) -> list[Edge]:
    """Models named inside: fields for models, an Azure deployment's `model { name }`, ARNs of foundation models."""
    fields = set(load("signals/cloud_resources")["model_fields"])
    out: list[Edge] = []
    for path, node in walk(body):
        if not path or node.kind != "text":
            continue
        arn = _ARN_MODEL.search(node.text)
        if arn:
            out.extend(settings.model(sheet, arn[1], node.line, path[-1], service, certain=True))
        elif path[-1] in fields and node.resolved and not node.text.startswith("arn:"):
            out.extend(settings.model(sheet, node.text, node.line, path[-1], service, certain=True))
        elif path[-2:] == ("model", "name") and node.resolved and signals.model(node.text) is not None:
            out.extend(settings.model(sheet, node.text, node.line, "model.name", service, certain=True))
        elif path[-1] in _ARTIFACT_FIELDS and node.text and "model" in " ".join(path).lower():
            name = node.text if node.resolved else f"unresolved:{node.text}"
            sure = Certainty.declared if node.resolved else Certainty.unresolved
            sheet.add(AssetKind.model_artifact, name, node.line, f"{path[-1]}: {node.text}", sure)
    return [edge for edge in dict.fromkeys(out) if edge.kind in (AssetKind.model, AssetKind.embedding_model)]


def _accelerator(body: Node) -> str:
    patterns = load("signals/cloud_resources")["accelerators"]
    for path, node in walk(body):
        sized = bool(path) and node.kind == "text" and _SIZE.search(path[-1])
        if sized and any(re.search(pattern, node.text) for pattern in patterns):
            return node.text
    return ""


def _settings(sheet: Sheet, body: Node) -> list[Edge]:
    """Environment variables of functions, services and containers, in every shape the clouds use."""
    group: list[Setting] = []
    for path, node in walk(body):
        if not path:
            continue
        last = path[-1].lower()
        if node.kind == "map" and (
            last in ("variables", "environment", "environment_variables", "environmentvariables", "app_settings")
        ):
            group.extend(
                Setting(key.text, value.text, key.line, not value.resolved)
                for key, value in node.fields
                if value.kind not in ("map", "list")
            )
        elif (
            node.kind == "map"
            and (node.get("name") or node.get("Name")) is not None
            and "env" in " ".join(path[-3:]).lower()
        ) or (node.kind == "map" and last == "secrets"):
            group.extend(_named(node))
        elif last in ("user_data", "container_definitions", "inline") and node.kind == "text" and node.text[:1] in "[{":
            for root in read_json(node.text[: 1 << 20], []):
                group.extend(_settings_of(root))
    return list(settings.read(sheet, group))


def _settings_of(root: Node) -> list[Setting]:
    return [s for path, node in walk(root) if node.kind == "map" and "environment" in path for s in _named(node)]


def _named(node: Node) -> list[Setting]:
    name = node.get("name") or node.get("Name")
    value = node.get("value") or node.get("Value")
    source = node.get("valueFrom") or node.get("ValueFrom") or node.get("value_source") or node.get("secret_name")
    if name is None or name.kind != "text" or (value is None and source is None):
        return []
    text = value.text if value is not None and value.kind not in ("map", "list") else ""
    return [Setting(name.text, text, name.line, value is None or not value.resolved or value.kind == "map")]


def _images(sheet: Sheet, body: Node, edges: tuple[Edge, ...]) -> None:
    for _, node in walk(body):
        if node.kind != "map":
            continue
        image = (
            node.get("image")
            or node.get("Image")
            or node.get("image_uri")
            or node.get("container_image")
            or node.get("repository")
        )
        if image is None or image.kind != "text" or "/" not in image.text:
            continue
        command = [
            *words(node.get("entryPoint")),
            *words(node.get("command")),
            *words(node.get("args")),
            *words(node.get("Command")),
        ]
        seen = images.read(sheet, image.text, image.line, command, image.resolved)
        images.settle(sheet, seen, tuple(e for e in edges if e.kind is AssetKind.secret_reference))


def _permissions(sheet: Sheet, body: Node) -> None:
    """Actions and roles that let something call AI: the service is there, though nothing here says what calls it."""
    prefixes = load("signals/cloud_resources")["permissions"]
    for path, node in walk(body):
        if node.kind != "text" or not path:
            continue
        key = next((p for p in reversed(path) if not p.isdigit()), "").lower()
        if key not in _PERMISSION_KEYS:
            continue
        service = next((name for prefix, name in prefixes.items() if node.text.startswith(prefix)), "")
        if service and _LOGICAL.match(node.text.replace("*", "")):
            kind = settings.vendor_kind(service)
            sheet.add(kind, service, node.line, f"{key}: {node.text}", Certainty.inferred, permission=node.text)
