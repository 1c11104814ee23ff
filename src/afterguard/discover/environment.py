"""AI in variables: .env files, INI and properties files, shell scripts, .NET appsettings and application YAML.

In: Parsed. Out: Assets. A secret's value is never shown, only that one is held here or referred to.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.document import Node
from afterguard.code.parse import Parsed
from afterguard.discover import ai_config, ci, settings
from afterguard.discover.settings import Setting
from afterguard.discover.sheet import Sheet
from afterguard.model import Asset


def find(parsed: Parsed) -> Iterator[Asset]:
    """Assets of a file of variables; nothing for other files."""
    sheet = Sheet(parsed.source.path)
    document = parsed.document
    if document is not None and document.format in ("env", "ini") and document.roots:
        root = document.roots[0]
        _group(sheet, root)
        for _, section in root.fields:
            if section.kind == "map":
                _group(sheet, section)
        if document.format == "env":
            ai_config.read(sheet, root, ".env", 0)
    elif parsed.source.kind == "script" and len(parsed.source.data) < 1 << 20:
        text = parsed.source.data.decode("utf-8", "replace")
        if not parsed.source.path.lower().endswith((".ps1",)) or "$env:" in text:
            ci.script(sheet, Node("text", 1, text))
    elif document is not None and document.format == "json" and _is_appsettings(parsed.source.path):
        for root in document.roots:
            _appsettings(sheet, root)
    yield from sheet.assets


def _group(sheet: Sheet, node: Node) -> None:
    pairs = [(k, v) for k, v in node.fields if v.kind not in ("map", "list")]
    settings.read(sheet, (Setting(k.text, v.text, k.line, not v.resolved) for k, v in pairs))


def _is_appsettings(path: str) -> bool:
    name = path.rsplit("/", 1)[-1].lower()
    return name.startswith(("appsettings", "local.settings", "secrets")) and name.endswith(".json")


def _appsettings(sheet: Sheet, root: Node) -> None:
    """Sections of .NET settings as variables: AzureOpenAI { ApiKey } reads like AZURE_OPENAI_API_KEY."""
    values = root.get("Values")
    if values is not None and values.kind == "map":
        _group(sheet, values)
    stack: list[tuple[str, Node, int]] = [("", root, 0)]
    while stack:
        prefix, node, depth = stack.pop()
        group = []
        for key, value in node.fields:
            name = _words(f"{prefix}_{key.text}" if prefix else key.text)
            if value.kind == "map" and depth < 6:
                stack.append((name, value, depth + 1))
            elif value.kind not in ("map", "list"):
                group.append(Setting(name, value.text, key.line, not value.resolved))
        settings.read(sheet, group)


def _words(name: str) -> str:
    """AzureOpenAI:ApiKey as AZURE_OPENAI_API_KEY."""
    out = ""
    name = name.replace("OpenAI", "Openai").replace("HuggingFace", "Huggingface").replace("__", "_").replace(":", "_")
    for before, here in zip(" " + name, name):
        out += f"_{here}" if here.isupper() and (before.islower() or before.isdigit()) else here
    return out.upper().replace("-", "_").replace(".", "_")
