"""Jupyter notebook -> Module, its lines being the physical ones of the .ipynb file.

In: a Source. Out: a Module of all Python code cells together. Shell lines and magics are blanked, cells of other languages are
skipped, and outputs are never looked at. It does not run cells or follow their execution order.
"""

from __future__ import annotations

import re

from afterguard.code import json, python
from afterguard.code.document import Node
from afterguard.code.syntax import Module
from afterguard.model import Source

_CELL_MAGIC = re.compile(r"^\s*%%(\w+)")
_LINE_MAGIC = re.compile(r"^\s*(?:[%!?]|[\w, .]+=\s*[%!])|\?\s*$")
_HARMLESS = {"time", "timeit", "capture", "prun", "py", "python", "python3", "memit", "ipytest", "skip"}


def parse(source: Source) -> Module:
    """The module of a notebook. Never raises."""
    document = json.parse(source)
    errors = list(document.errors)
    root = document.roots[0] if document.roots else None
    if root is None or root.kind != "map":
        return Module(source.path, "notebook", errors=(*errors, (1, "not a notebook")))
    language = root.string("metadata", "kernelspec", "language") or root.string("metadata", "language_info", "name")
    if language and not language.lower().startswith(("python", "ipython", "pyspark")):
        return Module(source.path, "notebook", errors=(*errors, (1, f"cells in {language[:30]} are not read")))
    text: list[str] = []
    physical: list[int] = []
    cells: list[tuple[int, int]] = []
    for cell in _cells(root):
        code = _source(cell.get("source") or cell.get("input"))
        if code:
            cells.append((len(text) + 1, code[0][1]))
            text.extend(line for line, _ in code)
            physical.extend(number for _, number in code)
    if not text:
        return Module(source.path, "notebook", errors=tuple(errors))
    module = python.read(source.path, "\n".join(text), errors, "notebook", physical)
    return Module(
        module.path, "notebook", module.imports, module.functions, module.classes, module.errors, tuple(cells)
    )


def _cells(root: Node) -> list[Node]:
    """Code cells; notebook format 3 keeps them in worksheets."""
    found = root.get("cells")
    groups = [found] if found else [sheet.get("cells") for sheet in getattr(root.get("worksheets"), "items", ())]
    return [cell for group in groups if group for cell in group.items if cell.string("cell_type") == "code"]


def _source(node: Node | None) -> list[tuple[str, int]]:
    """(text, physical line) of each line of a cell, magics blanked."""
    if node is None:
        return []
    pieces = node.items if node.kind == "list" else (node,)
    lines: list[tuple[str, int]] = []
    for piece in pieces:
        lines.extend((one, piece.line) for one in piece.text.replace("\0", " ").removesuffix("\n").split("\n"))
    magic = _CELL_MAGIC.match(next((text for text, _ in lines if text.strip()), ""))
    if magic and magic.group(1) not in _HARMLESS:
        return []
    return [
        ("pass" if _LINE_MAGIC.search(text[:300]) and not text[:1].isspace() else text, line) for text, line in lines
    ]
