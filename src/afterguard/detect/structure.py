"""Where prose stands in what should be a record: the structural half of finding spliced instructions.

In: a tool result as text. Out: `Passage`s: runs of natural language with the container they stand in. It judges no wording. Containers,
most suspicious first: `broken` (between or across tokens of JSON, inside a key, or splitting a number), `odd` (in a field that is
no free text), `status` (a plain result of a line or two), `short` (a plain result of several lines), `free` (a field or document
meant for prose).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from afterguard.catalog import load

RUN = re.compile(
    r"(?:(?<=[^\w])|^)(?:[^\W\d_](?:[\w.-]|['’](?=\w)){0,30}[,;:.!?)]{0,3}[ \u00a0]{1,3}(?:[\"'(*`$€£#<]{0,2})(?:\d[\w.,]{0,12}[ \u00a0])?){4}[^\W\d_]"
    r"|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f][^\"{}\[\]\n]{7}"
)
STRING = re.compile(r'"(?:[^"\\]|\\.)*+"')
REPR = re.compile(r"'(?:[^'\\]|\\.)*+'|\"(?:[^\"\\]|\\.)*+\"")
JSON_HEAD = re.compile(r"\s*(?:\{\s*[\"'}]|\[\s*[\[{\"'\]-]|\[\s*\d+\s*[,\]])")
PAIR = re.compile(r"[\"']\s{0,3}[:,]\s|[\"'}\]]\s{0,3}[,}\]]|:\s?[\d\"'\[{]")
KEYED_LINE = re.compile(r"^[ \t]*-?[ \t]*([A-Za-z_](?:[\w -]|\.(?! )){0,40}?)[ \t]*[:=][ \t]*(.*)$", re.M)
MAIL = re.compile(
    r"^(?:From|To|Cc|Subject|Date|Reply-To|Message-ID|Sent|Von|An|Betreff|De|Objet|Asunto): ", re.M | re.I
)
SPOKEN = re.compile(r"[^\W\d_]\S* +\S*[^\W\d_]\S* +\S*[^\W\d_]\S* +\S*[^\W\d_]|[^\W\d_][.!?,;] +[^\W\d_]")
"""Four words, or two phrases: what a label, name or code does not hold."""
STATUS_CAP = 500
"""A plain result up to this many characters is a status line, longer ones are documents."""
PASSAGES_CAP = 60
NEAR = 80
HINT = re.compile(r"[ \u00a0][^\W\d_]\S{0,40}[ \u00a0]{1,3}[^\W\d_]\S{0,40}[ \u00a0]")
"""Two words with blanks around, begun by a literal blank: cheap, and true of every run of five words."""
DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]{4}")


class Passage(NamedTuple):
    """Natural language in a result: character span and container."""

    start: int
    end: int
    container: str
    key: str = ""


def is_short_elsewhere(key: str, passage: str, others: list[str]) -> bool:
    """Whether a field of this name holds short values everywhere else in these results, and at least once."""
    if not key or len(key) > 80:
        return False
    shape = re.compile(r"[\"']" + re.escape(key) + r"[\"']\s{0,3}:\s{0,3}(?:[\"']([^\"']{0,400})|([-\d]))")
    seen = [found.group(1) or "" for text in others for found in _some(shape, text)]
    seen = [one for one in seen if not one or not passage.startswith(one)]
    short = [one for one in seen if len(one) <= 40 and SPOKEN.search(one) is None]
    return len(short) >= 1 and len(short) >= len(seen) - 1


CODE = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[\w.:/+-]{5,80}")


def is_torn(passage: str) -> bool:
    """Whether prose stands beside a piece of a code, as where a sentence was put into an identifier."""
    words = passage.split()
    if len(words) < 6:
        return False
    return any(CODE.fullmatch(end) and not end[-1].isspace() for end in (words[0], words[-1]))


def _some(shape: re.Pattern[str], text: str) -> list[re.Match[str]]:
    return [found for found, _ in zip(shape.finditer(text[:200_000]), range(50), strict=False)]


@cache
def free_keys() -> frozenset[str]:
    """Words of field names that hold free text."""
    return frozenset(load("rules/structure")["free_text_fields"])


def passages(value: str) -> list[Passage]:
    """Prose passages of a tool result, in order, at most PASSAGES_CAP."""
    if len(value) < 12 or not _may_hold_prose(value) or RUN.search(value) is None:
        return []
    if JSON_HEAD.match(value) and PAIR.search(value):
        return _merged(list(_in_json(value)))
    keyed = KEYED_LINE.findall(value[:20_000])
    lines = value[:20_000].count("\n") + 1
    if len(keyed) >= 3 and len(keyed) * 10 >= lines * 6:
        return _merged(list(_in_lines(value)))
    if len(value) > STATUS_CAP:
        return [Passage(0, len(value), "free")]
    if value.strip().count("\n") >= 2:
        return [Passage(0, len(value), "short")]
    return [Passage(0, len(value), "broken" if _splits_number(value) else "status")]


def _may_hold_prose(value: str) -> bool:
    return HINT.search(value) is not None or (not value.isascii() and DENSE.search(value) is not None)


def _splits_number(value: str) -> bool:
    """ "25 words words 5.0": a scalar result torn apart."""
    first, last = value.split()[0], value.split()[-1]
    return _is_number(first) and _is_number(last)


def _is_number(text: str) -> bool:
    return len(text) < 24 and any(c.isdigit() for c in text) and all(c in "0123456789.,+-eE%" for c in text)


def _runs(value: str) -> Iterator[re.Match[str]]:
    for number, found in enumerate(RUN.finditer(value)):
        if number >= PASSAGES_CAP * 8:
            return
        yield found


def _in_json(value: str) -> Iterator[Passage]:
    is_repr = value.count("': ") > value.count('": ')
    strings = (REPR if is_repr else STRING).finditer(value)
    current = next(strings, None)
    key = ""
    last = max(value.rfind(c) for c in '}]"')
    for run in _runs(value):
        while current is not None and current.end() <= run.start():
            if _is_key(value, current.end()):
                key = current.group()[1:-1]
            current = next(strings, None)
        if current is None or not current.start() <= run.start() < current.end():
            if _edge(value, run.end()) <= last:
                yield Passage(run.start(), _edge(value, run.end()), "broken", key)
            else:
                yield Passage(run.start(), len(value), "free", key)
        elif _is_key(value, current.end()):
            yield Passage(current.start() + 1, current.end() - 1, "broken")
        elif not _is_closed(value, current.end()):
            yield Passage(run.start(), max(_edge(value, run.end()), current.end() - 1), "broken", key)
        else:
            yield Passage(current.start() + 1, current.end() - 1, "free" if is_free(key) else "odd", key)


def is_free(key: str) -> bool:
    """Whether a field of this name holds prose by its nature."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", key)
    if len(words) > 1 and words[-1].lower() == "name":
        return False
    return any(word.lower() in free_keys() for word in words)


def _is_key(value: str, end: int) -> bool:
    return value[end : end + 3].lstrip()[:1] == ":"


def _is_closed(value: str, end: int) -> bool:
    return value[end : end + 40].lstrip()[:1] in ("", ",", "}", "]", ":")


EDGE = re.compile(r"[{}\[\]\n]|\"\s*[:,]|$")


def _edge(value: str, at: int) -> int:
    found = EDGE.search(value, at, min(len(value), at + 2_000))
    return found.start() if found else min(len(value), at + 2_000)


def _in_lines(value: str) -> Iterator[Passage]:
    at = 0
    body = len(value)
    if len(MAIL.findall(value[:4_000])) >= 2:
        blank = value.find("\n\n")
        body = blank if blank >= 0 else body
    for line in value.split("\n"):
        if RUN.search(line):
            keyed = KEYED_LINE.match(line)
            key = keyed.group(1) if keyed and at < body else ""
            container = "free" if not key or is_free(key) else "odd"
            yield Passage(at, at + len(line), container, key)
        at += len(line) + 1


def _merged(rows: list[Passage]) -> list[Passage]:
    """Neighbouring passages of a torn text become one; duplicates go."""
    out: list[Passage] = []
    for row in rows:
        last = out[-1] if out else None
        if last and row.start <= last.end:
            if row.end > last.end:
                out[-1] = last._replace(end=row.end)
        elif last and "broken" in (last.container, row.container) and row.start - last.end < NEAR:
            out[-1] = Passage(last.start, row.end, "broken", last.key)
        elif len(out) < PASSAGES_CAP:
            out.append(row)
    return out


NAME_BEFORE = re.compile(r"(?<!\\)[A-Za-z0-9][_-]$")
NAME = re.compile(r"(?:[ \t]*- )?[\"']?[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*_[A-Z]")
NAME_CAP = 1_000
"""Characters before a passage in which the item of a list begins that it stands in."""


def is_in_name(value: str, start: int) -> bool:
    """Whether a passage goes on from a name without a blank: External_<the order>."""
    before = value[max(0, start - 3) : start]
    item = value.rfind("\n- ", max(0, start - NAME_CAP), start)
    if item >= 0 and NAME.match(value, item + 1) is not None:
        return True
    return NAME.match(value, start) is not None or ("\\" not in before and NAME_BEFORE.search(before) is not None)
