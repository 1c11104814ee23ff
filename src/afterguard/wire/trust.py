"""Who can have written a tool's result: a record the application keeps, or text an outsider can write.

In: a tool's name and its result, or a prompt with pasted context. Out: Trust, and the text cut where its trust changes; the
pieces joined are always the text. The words are data in catalog/signals/tool_trust.yaml; this file only applies them. It judges
the channel, never the intention: an honest web page is third-party too.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from itertools import islice

import msgspec

from afterguard.catalog import load
from afterguard.model import Trust
from afterguard.remembered import remembered

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
LETTERS = re.compile(r"[^\W\d_]{2,}")
DENSE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
"""Scripts written without blanks between words."""
PROSE_WORDS = 7
"""A run of this many words inside a record is free text: names, addresses and labels stay below."""
STATUS_WORDS = 60
"""A plain result above this many words is a document, not a status line."""
RUN = 32
"""Characters below which a run cannot be prose of PROSE_WORDS words."""
LOOK = 4096
"""Characters of a text that are enough to tell prose from a record, status or label."""
CACHED = 100_000
TAGS_CAP = 200
"""Context tags looked at in one prompt, closed or not."""

BY = {"by", "via", "using"}
"""find_user_by_email looks a record up by a key; the e-mail is no channel there."""

Piece = tuple[str, Trust]


class _Words(msgspec.Struct, frozen=True):
    outside: frozenset[str]
    alone: frozenset[str]
    writes: frozenset[str]
    verbs_at_head: frozenset[str]
    reads: frozenset[str]
    fields: frozenset[str]
    instructs: re.Pattern[str]
    status_keys: frozenset[str]
    context: re.Pattern[str]


@cache
def _words() -> _Words:
    data = load("signals/tool_trust")
    tags = "|".join(sorted(map(re.escape, data["context_tags"]), key=len, reverse=True))
    return _Words(
        **{name: frozenset(data[name]) for name in ("outside", "alone", "writes", "verbs_at_head", "reads", "fields")},
        instructs=re.compile("|".join(map(re.escape, data["instructs"])), re.IGNORECASE),
        status_keys=frozenset(data["status_keys"]),
        context=re.compile(rf"<({tags})(?:\s[^<>]{{0,300}})?>", re.IGNORECASE),
    )


@remembered(4096)
def trust_of(tool_name: str) -> Trust:
    """Trust of what the tool of this name returns: first_party for records and acknowledgements, third_party for
    channels outsiders write to (web, mail, tickets, documents, files, reviews, chats, retrieval)."""
    known = _words()
    words = [word.lower() for word in WORD.findall(tool_name[-120:])]
    if not words:
        return Trust.first_party
    if all(word in known.alone for word in words):
        return Trust.third_party
    head, rest = words[0], words[1:]
    is_read = any(word in known.reads for word in words)
    if not is_read and (any(word in known.writes for word in [*words[-3:-1], head])):
        return Trust.first_party
    if head in known.verbs_at_head and rest and not is_read:
        return Trust.first_party
    around = zip(["", *words], words, [*rest, ""])
    if any(w in known.outside and after not in known.fields and before not in BY for before, w, after in around):
        return Trust.third_party
    return Trust.first_party


def is_prose(run: str) -> bool:
    """Whether a run of characters is free text somebody wrote rather than a label, name or number."""
    if len(run) < 12:
        return False
    if len(run) >= RUN and len(LETTERS.findall(run[:LOOK])) >= PROSE_WORDS:
        return True
    return not run.isascii() and len(DENSE.findall(run[:LOOK])) >= 12


def is_instruction(text: str) -> bool:
    """Whether a status line tells its reader what to do; a hint of the channel, not a detector."""
    return _words().instructs.search(text[:LOOK]) is not None


def segments(tool_name: str, value: str) -> list[Piece]:
    """A tool's result cut where its trust changes: free text inside a first-party record is third-party."""
    if trust_of(tool_name) is Trust.third_party:
        return [(value, Trust.third_party)]
    if len(value) < 12:
        return [(value, Trust.first_party)]
    head = value.lstrip()[:1]
    if head in ("{", "["):
        return _record(value)
    if head == "<" and value.count("</") > 2:
        return [(value, Trust.third_party)]
    return [(value, _status(value))]


def _status(value: str) -> Trust:
    if not is_prose(value):
        return Trust.first_party
    is_document = len(LETTERS.findall(value[:LOOK])) > STATUS_WORDS or is_instruction(value)
    return Trust.third_party if is_document else Trust.first_party


def _record(value: str) -> list[Piece]:
    runs = value.split('"')
    shortest = RUN if value.isascii() else 12
    if max(map(len, runs)) < shortest:
        return [(value, Trust.first_party)]
    free = [index for index, run in enumerate(runs) if len(run) >= shortest and is_prose(run)]
    known = _words().status_keys
    free = [i for i in free if i < 2 or runs[i - 2].lower() not in known or is_instruction(runs[i])]
    if not free:
        return [(value, Trust.first_party)]
    out: list[Piece] = []
    at = 0
    for first, last in _widened(runs, free):
        out.append(('"'.join(runs[at:first]) + '"' if first else "", Trust.first_party))
        out.append(('"'.join(runs[first : last + 1]), Trust.third_party))
        runs[last] = ""
        at = last
    out.append(('"'.join(runs[at:]), Trust.first_party))
    return [piece for piece in out if piece[0]]


SEPARATOR = re.compile(r"(?=[^:,\[\]{}]{0,40}[:,\[\]{}])[\s:,\[\]{}0-9.eE+\-]*(?:true|false|null)?[\s:,\[\]{}]*\Z")
"""What stands between the strings of a record."""


def _widened(runs: list[str], free: list[int]) -> list[tuple[int, int]]:
    """Runs of free text with the quoted words inside it: a neighbour that is no separator belongs to the text."""
    out: list[tuple[int, int]] = []
    for index in free:
        first = last = index
        reached = out[-1][1] if out else 0
        while first > reached and not SEPARATOR.match(runs[first - 1]):
            first -= 1
        if out and first <= reached + 1:
            continue
        while last + 1 < len(runs) and not SEPARATOR.match(runs[last + 1]):
            last += 1
        out.append((first, last))
    return out


BLOCK = re.compile(
    r"^[ \t#*\-=\[]{0,6}(?:BEGIN |Retrieved |Relevant |Additional |Reference |Background |Provided )?"
    r"(?:Context|CONTEXT|Documents?|DOCUMENTS?|Sources|SOURCES|Search results|SEARCH RESULTS|Passages|Excerpts|Knowledge base)"
    r"(?: information)?[ \t]*[:\]*=\-]{1,6}[ \t]*\n",
    re.MULTILINE,
)
BLOCK_END = re.compile(
    r"^[ \t#*\-=\[]{0,6}(?:(?:END )(?:OF )?(?:CONTEXT|DOCUMENTS?|SOURCES)|(?:User |Customer |The )?"
    r"(?:Question|QUESTION|Query|QUERY|Task|TASK|Instructions?|Request|Helpful Answer|Answer|ANSWER|User|Human))[ \t]*[:\]*=\-]",
    re.MULTILINE,
)


NAMED = re.compile(r"^(?:Attached|Attachment|File name|File): ([^\n]{1,2000})$|\[(?:picture|image|photo|screenshot)\b[^\]\n:]{0,120}: [^\]]{1,4000}\]", re.M)  # fmt: skip
"""What applications put beside a message of what its user attached: a file's name, and what was read from a picture."""
END_TAG = re.compile(r"</[\w-]{1,40}>")
MARKS = ("<", "[", "Attach", "File")


def context(value: str) -> list[tuple[str, bool]]:
    """A prompt cut into (piece, pasted document?) where delimiters are clear; usually one piece, False."""
    if not any(mark in value for mark in MARKS) and (
        "\n" not in value or not any(end in value for end in (":\n", "-\n"))
    ):
        return [(value, False)]
    return _context(value) if len(value) <= CACHED else _cut(value)


def _cut(value: str) -> list[tuple[str, bool]]:
    tagged = _tagged(value)
    spans = sorted([*tagged, *_named(value, tagged)]) or _blocks(value)
    out: list[tuple[str, bool]] = []
    at = 0
    for begun, end in spans:
        start = max(begun, at)
        if start >= end:
            continue  # it lies within what is cut out already: a page on the line that names an attachment
        out += [(value[at:start], False), (value[start:end], True)]
        # An end tag by itself: in front of the user's own words it makes them look like a trick.
        closed = END_TAG.match(value, end)
        at = closed.end() if closed else end
        out.append((value[end:at], False))
    out.append((value[at:], False))
    return [piece for piece in out if piece[0]] or [(value, False)]


_context = lru_cache(maxsize=128)(_cut)


def _tagged(value: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    at = 0
    for _ in range(TAGS_CAP):
        opened = _words().context.search(value, at)
        if not opened:
            break
        at = opened.end()
        end = _closing(value, opened.group(1), at)
        if end > at:
            spans.append((at, end))
            at = end
    return spans


def _named(value: str, taken: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Names of attachments and texts of pictures, those within a pasted document left out."""
    spans = [found.span(1 if found[1] else 0) for found in islice(NAMED.finditer(value), TAGS_CAP)]
    return [span for span in spans if not any(start <= span[0] < end for start, end in taken)]


def _closing(value: str, tag: str, start: int) -> int:
    """Where the tag is closed for the last time before another of its kind opens: a document may forge its own end."""
    end = value.find(f"</{tag}>", start)
    if end < 0:
        return -1
    following = value.find(f"<{tag}", end)
    last = value.rfind(f"</{tag}>", end, following if following >= 0 else len(value))
    return max(end, last)


def _blocks(value: str) -> list[tuple[int, int]]:
    opened = BLOCK.search(value)
    if not opened:
        return []
    closed = BLOCK_END.search(value, opened.end())
    return [(opened.end(), closed.start())] if closed and closed.start() > opened.end() else []
