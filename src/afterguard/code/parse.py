"""The one door into code/: a Source is parsed once, by kind, and discover and scan share the result.

In: Source. Out: Parsed, with a Module for programming languages or a Document for structured formats, or neither.
Never raises: what could not be parsed is in `errors`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from itertools import islice

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


MAX_WORDS = 250_000
"""Words, marks and line ends of one file that are parsed; about 25,000 lines of ordinary code."""
WORD = re.compile(rb"\w+|[^\w \t\r]")
BOUNDED = {"python", "javascript", "typescript", "java", "kotlin", "go", "hcl", "yaml"}


class Parsed(msgspec.Struct, frozen=True):
    """A source with whatever its kind gives: `module`, `document` or neither. `errors` are (line, what) pairs."""

    source: Source
    module: Module | None = None
    document: Document | None = None
    errors: tuple[tuple[int, str], ...] = ()


def parse(source: Source) -> Parsed:
    """Parse by `source.kind`. A manifest that is JSON or TOML comes as a document too."""
    language = LANGUAGES.get(source.kind)
    read, cut = _bounded(source)
    if language:
        read_module: Callable[[Source], Module] = import_module(f"afterguard.code.{language}").parse
        module = read_module(read)
        return Parsed(source, module=module, errors=(*cut, *module.errors))
    form = FORMATS.get(source.kind) or _manifest_format(source)
    if form:
        read_document: Callable[[Source], Document] = import_module(f"afterguard.code.{form}").parse
        document = read_document(read)
        return Parsed(source, document=document, errors=(*cut, *document.errors))
    return Parsed(source)


def _bounded(source: Source) -> tuple[Source, tuple[tuple[int, str], ...]]:
    """The part of a source whose tree stays below a few hundred megabytes: what a byte costs depends on how many words it makes."""
    data = source.data
    if source.kind not in BOUNDED or len(data) <= MAX_WORDS:
        return source, ()
    last = next(islice(WORD.finditer(data), MAX_WORDS, None), None)
    if last is None:
        return source, ()
    end = data.rfind(b"\n", 0, last.start()) + 1 or last.start()
    why = (data.count(b"\n", 0, end) + 1, f"only the first {end} bytes were parsed: more than {MAX_WORDS} words")
    return msgspec.structs.replace(source, data=data[:end]), (why,)


def _manifest_format(source: Source) -> str:
    if source.kind != "manifest":
        return ""
    name = source.path.rsplit("/", 1)[-1].lower()
    if name.endswith(".json"):
        return "json"
    if name.endswith(".toml") or name in ("pipfile", "poetry.lock", "uv.lock", "pdm.lock", "cargo.lock"):
        return "toml"
    return "yaml" if name.endswith((".yaml", ".yml")) else ""
