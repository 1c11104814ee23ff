"""The one door into code/: a Source is parsed once, by kind, and discover and scan share the result.

In: Source. Out: Parsed, with a Module for programming languages or a Document for structured formats, or neither.
Never raises: what could not be parsed is in `errors`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import msgspec

from afterguard.code.document import Document
from afterguard.code.syntax import Module
from afterguard.model import Source

LANGUAGES = {
    "python": "python",
    "notebook": "notebook",
    "javascript": "javascript",
    "typescript": "javascript",
    "java": "java",
    "kotlin": "kotlin",
    "go": "golang",
}
FORMATS = {
    "yaml": "yaml",
    "json": "json",
    "toml": "toml",
    "hcl": "hcl",
    "dockerfile": "dockerfile",
    "env": "env",
    "ini": "env",
}


class Parsed(msgspec.Struct, frozen=True):
    """A source with whatever its kind gives: `module`, `document` or neither. `errors` are (line, what) pairs."""

    source: Source
    module: Module | None = None
    document: Document | None = None
    errors: tuple[tuple[int, str], ...] = ()


def parse(source: Source) -> Parsed:
    """Parse by `source.kind`. A manifest that is JSON or TOML comes as a document too."""
    language = LANGUAGES.get(source.kind)
    if language:
        read_module: Callable[[Source], Module] = import_module(f"afterguard.code.{language}").parse
        module = read_module(source)
        return Parsed(source, module=module, errors=module.errors)
    form = FORMATS.get(source.kind) or _manifest_format(source)
    if form:
        read_document: Callable[[Source], Document] = import_module(f"afterguard.code.{form}").parse
        document = read_document(source)
        return Parsed(source, document=document, errors=document.errors)
    return Parsed(source)


def _manifest_format(source: Source) -> str:
    if source.kind != "manifest":
        return ""
    name = source.path.rsplit("/", 1)[-1].lower()
    if name.endswith(".json"):
        return "json"
    if name.endswith(".toml") or name in ("pipfile", "poetry.lock", "uv.lock", "pdm.lock", "cargo.lock"):
        return "toml"
    return "yaml" if name.endswith((".yaml", ".yml")) else ""
