"""Records out of JSON documents too large to decode whole: the elements of one named array, or of an array at the top.

In: lines of a document (a JSON string never spans lines, so each line holds whole tokens). Out: (line, bytes) for each element that
is an object. Bounded: an element above CAP is skipped and counted; it never builds the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

import msgspec

from afterguard.files import Line, Note
from afterguard.model import Coverage

CAP = 16 << 20
DEPTH = 200
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:]')


def records(lines: Iterator[Line], arrays: frozenset[str], path: str, note: Note) -> Iterator[tuple[int, bytes]]:
    """Objects that are direct elements of an array named in `arrays`, or of the document's own top-level array."""
    for line in lines:
        if not line.cut and not line.data.strip():
            continue
        found = None if line.cut else whole(line.data, arrays)
        if found is None:
            # Not one document in one line, which is how the clouds write them: read it token by token.
            yield from scanned(chain([line], lines), arrays, path, note)
            return
        for one in found:
            yield line.number, one


def whole(data: bytes, arrays: frozenset[str]) -> list[bytes] | None:
    """The elements of a document that fills one line, sliced by the decoder without building them; None when it does not."""
    try:
        if data.lstrip()[:1] == b"[":
            found = msgspec.json.decode(data, type=list[msgspec.Raw])
        else:
            fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
            if "log" in fields and not arrays & fields.keys():
                fields = msgspec.json.decode(fields["log"], type=dict[str, msgspec.Raw])
            name = next((one for one in sorted(arrays) if one in fields), "")
            found = msgspec.json.decode(fields[name], type=list[msgspec.Raw]) if name else []
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    if any(len(memoryview(one)) > CAP for one in found):
        return None
    return [one for one in map(bytes, found) if one[:1] == b"{"]


def scanned(lines: Iterator[Line], arrays: frozenset[str], path: str, note: Note) -> Iterator[tuple[int, bytes]]:
    """The same for a document over many lines, token by token, in bounded memory."""
    depth = 0
    inside = -1
    begun = -1
    key = b""
    parts: list[bytes] = []
    size = line_of = skipped = 0
    for line in lines:
        if line.cut:
            note(Coverage(path, "too_large", "a line of this document is too long to read", bytes=line.cut))
            return
        data = line.data
        start = 0
        for found in TOKEN.finditer(data):
            one = data[found.start()]
            if one == 0x22:
                if inside < 0:
                    key = found[0]
            elif one in b"{[":
                depth += 1
                if one == 0x5B and inside < 0 and (depth == 1 or key[1:-1].decode("utf-8", "replace") in arrays):
                    inside = depth
                elif one == 0x7B and depth == inside + 1 and inside > 0:
                    begun, start, line_of, parts, size = depth, found.start(), line.number, [], 0
                if depth > DEPTH:
                    note(Coverage(path, "depth", f"nested deeper than {DEPTH}; the rest was not read"))
                    return
            elif one in b"}]":
                if begun == depth and one == 0x7D:
                    parts.append(data[start : found.end()])
                    if size + len(parts[-1]) <= CAP:
                        yield line_of, b"\n".join(parts)
                    else:
                        skipped += 1
                    begun, parts = -1, []
                depth -= 1
                if inside > depth:
                    inside = -1
        if begun >= 0:
            size += len(data) - start
            if size <= CAP:
                parts.append(data[start:])
    if skipped:
        note(Coverage(path, "too_large", f"records above {CAP} bytes", count=skipped))
    if depth != 0 or begun >= 0:
        note(Coverage(path, "truncated", "the document ends before it is closed"))
