"""Dockerfiles: instructions in order, continuation lines and here-documents joined, ARG and ENV put in where known.

In: a Source. Out: a Document whose root is a map of repeated keys, the instruction in upper case, with these values:
FROM {image, as, platform}; ENV and LABEL {name: value}; ARG {name: default}; CMD, ENTRYPOINT, SHELL a list (exec form) or
text tagged "shell"; COPY, ADD, EXPOSE, VOLUME a list of words without flags; anything else the text. Nothing is run.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator

from afterguard.code.document import Document, Node
from afterguard.code.json import read as read_json
from afterguard.code.scalar import Errors, decode, note, quoted
from afterguard.model import Source

_INSTRUCTION = re.compile(r"\s*([A-Za-z]{2,12})(?:\s+|$)(.*)$", re.S)
_KNOWN = {
    "FROM", "ENV", "ARG", "RUN", "CMD", "ENTRYPOINT", "EXPOSE", "COPY", "ADD", "USER", "WORKDIR", "VOLUME", "LABEL",
    "SHELL", "HEALTHCHECK", "STOPSIGNAL", "ONBUILD", "MAINTAINER",
}  # fmt: skip
_HERE = re.compile(r"<<-?\s*[\"']?([A-Za-z_]\w{0,60})[\"']?")
_FLAG = re.compile(r"--[a-z][\w-]{0,40}(?:=(?:\"[^\"]*\"|\S)*)?\s*")
_PAIR = re.compile(r"(?<![\w.\-])([A-Za-z_][\w.\-]{0,120})=(\"(?:[^\"\\]|\\.)*+\"|'[^']*'|(?:\\.|[^\s\\])*+)")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w{0,100})(?::?([-+])([^{}]{0,200}))?\}|([A-Za-z_]\w{0,100}))")
_MAX_VALUE = 65_536


def parse(source: Source) -> Document:
    """The instructions with their lines. Never raises."""
    errors: Errors = []
    known: dict[str, str] = {}
    fields: list[tuple[Node, Node]] = []
    for line, name, rest in _instructions(decode(source.data, errors)):
        if name not in _KNOWN:
            note(errors, line, f"not an instruction: {name[:20]}")
            continue
        fields.append((Node("text", line, name), _value(name, rest.strip(), line, known)))
    return Document(source.path, "dockerfile", (Node("map", 1, fields=tuple(fields)),), tuple(errors))


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, name, rest) with continuation lines joined by a line feed and comments inside them dropped."""
    lines = text.split("\n")
    escape = "`" if re.search(r"^#\s*escape=`", text[:200], re.M | re.I) else "\\"
    number = 0
    places: dict[str, list[int]] = {}
    while number < len(lines):
        line, at = lines[number].rstrip("\r"), number + 1
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts: list[str] = []
        while line.rstrip().endswith(escape):
            parts.append(line.rstrip()[:-1])
            line = lines[number] if number < len(lines) else ""
            number += 1
            while number < len(lines) and line.lstrip().startswith("#"):
                parts.append("")
                line = lines[number]
                number += 1
        parts.append(line.rstrip("\r"))
        whole = "\n".join(parts)
        found = _INSTRUCTION.match(whole)
        if found is None:
            yield at, whole.strip()[:20], ""
            continue
        body = found[2]
        if "<<" in body:
            places = places or _places(lines)
            body, number = _here_document(body, lines, number, places)
        yield at, found[1].upper(), body


def _places(lines: list[str]) -> dict[str, list[int]]:
    """Where each line that is one word stands: the possible ends of here-documents."""
    out: dict[str, list[int]] = {"": []}
    for number, line in enumerate(lines):
        word = line.strip()
        if 0 < len(word) <= 61 and word.isidentifier():
            out.setdefault(word, []).append(number)
    return out


def _here_document(rest: str, lines: list[str], number: int, places: dict[str, list[int]]) -> tuple[str, int]:
    """The instruction with the lines of its here-documents, where they end; as it was where they do not."""
    parts = [rest]
    at = number
    for marker in _HERE.findall(rest)[:8]:
        ends = places.get(marker, [])
        index = bisect_left(ends, at)
        if index == len(ends):
            return rest, number
        end = ends[index]
        parts.extend(lines[at:end])
        at = end + 1
    return "\n".join(parts), at


def substitute(text: str, known: dict[str, str]) -> str:
    """The text with `$NAME`, `${NAME}`, `${NAME:-default}` filled in from `known`; unknown ones stay."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[4]
        if found[2] == "+":
            return found[3] if known.get(name) else ""
        if found[2] == "-":
            return known.get(name) or found[3]
        return known.get(name, found[0])

    return _VARIABLE.sub(value, text)[:_MAX_VALUE] if "$" in text else text[:_MAX_VALUE]


def _value(name: str, rest: str, line: int, known: dict[str, str]) -> Node:
    if name == "FROM":
        return _from(rest, line, known)
    if name in ("ENV", "LABEL", "ARG"):
        return _pairs(name, rest, line, known)
    if name in ("CMD", "ENTRYPOINT", "SHELL") or (name == "RUN" and rest.startswith("[")):
        return _command(_FLAG.sub("", rest) if name == "RUN" else rest, line)
    if name in ("COPY", "ADD", "EXPOSE", "VOLUME"):
        words = _list(rest, line) if rest.startswith("[") else None
        if words is not None:
            return words
        bare = re.sub(r"(?:^|\s)--[a-z][\w-]{0,40}(?:=\S*)?", " ", rest.split("\n")[0] if "<<" in rest else rest)
        return Node("list", line, items=tuple(quoted(substitute(word, known), line) for word in bare.split()[:500]))
    return quoted(substitute(rest, known) if name in ("USER", "WORKDIR") else rest[:_MAX_VALUE], line)


def _from(rest: str, line: int, known: dict[str, str]) -> Node:
    platform = re.search(r"--platform=(\S+)", rest)
    words = re.sub(r"--[a-z]+=\S+", " ", rest).split()
    fields = [(Node("text", line, "image"), quoted(substitute(words[0], known) if words else "", line))]
    if len(words) >= 3 and words[1].lower() == "as":
        fields.append((Node("text", line, "as"), quoted(words[2], line)))
    if platform:
        fields.append((Node("text", line, "platform"), quoted(platform[1], line)))
    return Node("map", line, fields=tuple(fields))


def _pairs(name: str, rest: str, line: int, known: dict[str, str]) -> Node:
    """Pairs in either form, each on its own physical line; they become known to what follows."""
    found = [(m[1], m[2], line + rest.count("\n", 0, m.start())) for m in _PAIR.finditer(rest)][:2000]
    if not found:
        words = rest.split(None, 1)
        found = [(words[0], words[1] if len(words) > 1 else "", line)] if words else []
    fields = []
    for key, raw, at in found:
        literal = raw[:1] == "'"
        text = raw[1:-1] if len(raw) > 1 and raw[0] in "\"'" and raw[-1] == raw[0] else raw
        value = text if literal else substitute(text.replace('\\"', '"').replace("\\ ", " "), known)
        if name != "LABEL" and (value or name == "ENV") and len(known) < 5000:
            known[key] = value[:1024]
        fields.append((Node("text", at, key), Node("text", at, value) if literal else quoted(value, at)))
    return Node("map", line, fields=tuple(fields))


def _list(rest: str, line: int) -> Node | None:
    """The exec form, None when it is not one."""
    errors: Errors = []
    nodes = read_json(rest, errors, line)
    return nodes[0] if not errors and len(nodes) == 1 and nodes[0].kind == "list" else None


def _command(rest: str, line: int) -> Node:
    listed = _list(rest, line) if rest.startswith("[") else None
    return listed if listed is not None else quoted(rest[:_MAX_VALUE], line, "shell")
