"""Key and value files: .env, INI, Java properties. One map, a map below it for each section.

In: a Source. Out: a Document; what is neither a pair, a section nor a comment is an error entry. Values are kept as
written, quotes taken off; `${OTHER}` stays and is marked unresolved.
"""

from __future__ import annotations

import re

from afterguard.code.document import Document, Node
from afterguard.code.scalar import MAX_NODES, Errors, decode, note, plain, quoted
from afterguard.model import Source

_SECTION = re.compile(r"\s*\[{1,2}([^\[\]\n]{1,200})\]{1,2}\s*(?:[#;].*)?$")
_PAIR = re.compile(r"\s*(?:export\s+|set\s+|ENV\s+)?([A-Za-z_][\w.\-/\[\]]{0,199})\s*([=:])\s?(.*)$", re.S)


def parse(source: Source) -> Document:
    """The pairs with their lines. Never raises."""
    errors: Errors = []
    lines = decode(source.data, errors).split("\n")
    is_env = source.kind == "env"
    top: list[tuple[Node, Node]] = []
    sections: list[tuple[Node, list[tuple[Node, Node]]]] = []
    here = top
    count = number = 0
    while number < len(lines):
        line, at = lines[number], number + 1
        number += 1
        stripped = line.strip()
        if not stripped or stripped[0] in "#;!":
            continue
        section = _SECTION.match(line) if stripped[0] == "[" and not is_env else None
        if section:
            here = []
            sections.append((Node("text", at, section[1].strip()), here))
            continue
        pair = _PAIR.match(line)
        if pair is None or (pair[2] == ":" and is_env):
            note(errors, at, "neither a pair, a section nor a comment")
            continue
        raw = pair[3].strip()
        while raw.endswith("\\") and not is_env and number < len(lines) and len(raw) < 65536:
            raw = raw[:-1] + lines[number].strip()
            number += 1
        if raw[:1] in ("'", '"') and is_env and raw.find(raw[0], 1) < 0:
            raw, number = _several_lines(raw, lines, number)
        here.append((Node("text", at, pair[1]), _value(raw, at, is_env)))
        count += 1
        if count > MAX_NODES // 4:
            note(errors, at, "too many pairs; the rest was not read")
            break
    if not is_env and len(errors) > count + len(sections):
        errors = [(1, "mostly neither pairs nor sections: another kind of configuration")]
    fields = (*top, *((name, Node("map", name.line, fields=tuple(pairs))) for name, pairs in sections))
    return Document(source.path, source.kind, (Node("map", 1, fields=fields),), tuple(errors))


def _several_lines(raw: str, lines: list[str], number: int) -> tuple[str, int]:
    """A quoted value that goes on over lines, up to 200 of them; as one line where the quote never ends."""
    parts = [raw]
    for index in range(number, min(len(lines), number + 200)):
        parts.append(lines[index])
        if raw[0] in lines[index]:
            return "\n".join(parts).strip(), index + 1
    return raw, number


def _value(raw: str, line: int, is_env: bool) -> Node:
    if raw[:1] in ("'", '"'):
        end = raw.find(raw[0], 1)
        if end > 0 and (not raw[end + 1 :].strip() or raw[end + 1 :].lstrip()[:1] in "#;"):
            single = raw[0] == "'"
            return Node("text", line, raw[1:end]) if single else quoted(raw[1:end], line)
    comment = re.search(r"\s[#;]", raw) if not is_env else re.search(r"\s#", raw)
    return plain(raw[: comment.start()].rstrip() if comment else raw, line)
