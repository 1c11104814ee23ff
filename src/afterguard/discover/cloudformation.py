"""AI in CloudFormation, SAM and Azure templates (JSON, YAML, Bicep).

In: Parsed. Out: Assets. References (!Ref, Fn::Sub) stay as written: a model behind one is unresolved and not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import Node, walk
from afterguard.code.parse import Parsed
from afterguard.discover import cloud_resources, settings
from afterguard.discover.settings import Setting
from afterguard.discover.sheet import Sheet
from afterguard.model import Asset

_BICEP = re.compile(r"^[ \t]*resource[ \t]+(\w{1,100})\s+'([\w./]{5,150})@[\w-]{5,40}'", re.M)
_BICEP_FIELD = re.compile(r"^[ \t]*(name|kind|location|format|version)\s*:\s*'([^'\n]{1,200})'", re.M)


def find(parsed: Parsed) -> Iterator[Asset]:
    """Assets of a template; nothing for other documents."""
    sheet = Sheet(parsed.source.path, "infrastructure")
    document = parsed.document
    if document is not None and document.format in ("yaml", "json"):
        for root in document.roots:
            _cloudformation(sheet, root)
            _azure(sheet, root)
    elif parsed.source.path.lower().endswith(".bicep"):
        _bicep(sheet, parsed.source.data)
    yield from sheet.assets


def _cloudformation(sheet: Sheet, root: Node) -> None:
    resources = root.get("Resources") or root.get("resources", "Resources")
    if resources is None or resources.kind != "map":
        return
    for label, resource in resources.fields:
        kind = resource.get("Type") if resource.kind == "map" else None
        if kind is not None and "::" in kind.text:
            cloud_resources.write(sheet, "cloudformation", kind.text, label.text, resource, kind.line)
            if kind.text in ("AWS::SecretsManager::Secret", "AWS::SSM::Parameter"):
                name = resource.get("Properties", "Name")
                if name is not None and name.kind == "text":
                    word = re.sub(r"[^A-Za-z0-9]+", "_", name.text.rstrip("/").rsplit("/", 1)[-1]).upper()
                    settings.read(sheet, [Setting(word, "", name.line, True, kind.text)])
    parameters = root.get("Parameters")
    for label, parameter in parameters.fields if parameters is not None and parameters.kind == "map" else ():
        default = parameter.get("Default")
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", label.text).upper()
        text = default.text if default is not None and default.kind == "text" else ""
        settings.read(sheet, [Setting(words, text, default.line if default is not None else label.line, not text)])
    function_defaults = root.get("Globals", "Function")
    if function_defaults is not None:
        cloud_resources.write(sheet, "cloudformation", "Globals", "", function_defaults, function_defaults.line)


def _azure(sheet: Sheet, root: Node) -> None:
    if "deploymenttemplate" not in root.string("$schema").lower():
        return
    for _, node in walk(root):
        kind = node.get("type") if node.kind == "map" else None
        if kind is not None and kind.text.startswith("Microsoft.") and node.get("apiVersion") is not None:
            cloud_resources.write(sheet, "azure", kind.text, node.string("name"), node, kind.line)


def _bicep(sheet: Sheet, data: bytes) -> None:
    text = data[: 1 << 20].decode("utf-8", "replace")
    starts = list(_BICEP.finditer(text))
    for number, found in enumerate(starts):
        end = starts[number + 1].start() if number + 1 < len(starts) else len(text)
        at = text.count("\n", 0, found.start(1)) + 1
        body = text[found.end() : min(end, found.end() + 20_000)]
        first = text.count("\n", 0, found.end()) + 1
        node = _bicep_body(body, first)
        cloud_resources.write(sheet, "azure", found[2], found[1], node, at)


def _bicep_body(body: str, first: int) -> Node:
    """The plain fields of a Bicep resource as a map; those inside `model: {` below "model"."""
    fields: list[tuple[Node, Node]] = []
    model = re.search(r"\bmodel\s*:\s*\{([^{}]{0,2000})\}", body)
    inner: list[tuple[Node, Node]] = []
    for found in _BICEP_FIELD.finditer(body):
        line = first + body.count("\n", 0, found.start(1))
        inside = model is not None and model.start() < found.start() < model.end()
        pair = (Node("text", line, found[1]), Node("text", line, found[2], resolved="${" not in found[2]))
        (inner if inside else fields).append(pair)
    if inner:
        fields.append((Node("text", first, "model"), Node("map", first, fields=tuple(inner))))
    return Node("map", first, fields=tuple(fields))
