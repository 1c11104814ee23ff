"""Sentences of a text as they would be read, and which of them ask for something.

In: a text of any shape: prose, YAML, JSON, Markdown, log lines. Out: `Sentence`s with character spans into it and the verbs each asks for.
It judges nothing and knows no tools. Escapes and folded lines of YAML and JSON are read through without moving an offset. English only: the verbs are
data in catalog/rules/orders.yaml; a sentence in another language asks for nothing here.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from afterguard.catalog import load

SENTENCES_CAP = 4_000
"""Sentences of one text that are looked at."""
SENTENCE_CAP = 1_200
"""Characters of a sentence in which verbs are looked for."""
ESCAPE = re.compile(r"\\{1,16}(?:\r?\n[ \t]*\\?|[nrt]|[\"'/ ]|u[0-9a-fA-F]{4})|\\\\")
"""An escape, of a text within a text too: each level doubles the backslashes."""
BLANKED = {"n": " \n", "r": " \n", "t": "  ", '"': "''", "'": "''"}
END = re.compile(
    r"[.!?…。！？\n\"'<>](?:"
    r"(?<=[.!?…])[.!?…]{0,8}+[\"'”’)\]]{0,8}+(?=\s++[^a-z]|\s*+\Z)"  # a sentence's end
    r"|(?<=[.!?…])[.!?…]{0,8}+[,;](?=\s++[A-Z])"  # the same, in a list of texts
    r"|(?<=\w[,;\t|]\")(?=\w)"  # before a field of a table begins
    r"|(?<=[^\s.][.!?])(?=[A-Z][a-z]* |[A-Z]{2,}[ :]|[<\[({#*=|])"  # the same, glued to what was put behind it
    r"|(?<=[。！？])"
    r"|(?<=\n)[ \t]*+(?:\r?\n[ \t]*+)++"  # a paragraph's
    r"|(?<=[\"'])\s*+(?:[,}\]]++\s*+[{\[]*+\s*+(?=[\"'\d]|\Z)|:\s*+[{\[]*+\s*+(?=[\"'\d])|[}\]])"  # a field's
    r"|(?<=<)(?=!--|/?[A-Za-z][\w-]{0,30}>)"  # markup: before a tag
    r"|(?<=[\w\"'/-]>)(?=\s*\S)"  # and behind one
    r"|(?<=\n))"
)
ABBREVIATIONS = frozenset(("Mrs", "e.g", "i.e", "etc", "vs"))
OPENS = re.compile(
    r"[ \t]*(?:[-*•#>|<]|\d{1,3}[.)]\s|\d{4}-|\d{1,2}:\d\d|[\w()/-]{1,30}(?: [\w()/-]{1,30}){0,2}:(?:\s|\Z))"
)
"""How a line begins that does not go on from the one before."""
WRAPPED = 45
"""A line at least this long may go on in the next one."""
LEAD = re.compile(
    r"[\s\"'“”‘’`*_#>|~=+•—–-]*(?:\d{1,3}[.)]\s+|\[[ xX]?\]\s+|[A-Za-z]\)\s+)?"  # bullets and numbers
    r"(?:[(\[{<|]{1,3}[^()\[\]{}<>\n]{0,60}[)\]}>|]{1,3}[:\s]*)?"  # a label in brackets
    r"[\s\"'“‘(\[{*_#>-]*"
)
YOU = frozenset(("you", "assistant", "agent", "model", "ai", "yourself"))
LABEL = 60
"""Characters of a sentence in which a colon ends a label rather than a clause."""
WORD = re.compile(r"[a-z][a-z'’-]*")
BREAK = re.compile(r"[,;:(—–/]|\s-\s")


class Sentence(NamedTuple):
    """Characters [start, end) and the verbs asked for, lower case, in order."""

    start: int
    end: int
    asks: tuple[str, ...] = ()
    first: int = -1
    """Where the clause with the first of them begins."""
    is_head: bool = False
    """Whether nothing but labels and words that lead up to a verb stand before it."""


@cache
def classes() -> dict[str, frozenset[str]]:
    """Verb -> names of the classes it belongs to."""
    out: dict[str, set[str]] = {}
    for name, verbs in load("rules/orders")["classes"].items():
        for verb in verbs:
            out.setdefault(verb, set()).add(name)
    return {verb: frozenset(names) for verb, names in out.items()}


@cache
def leads() -> frozenset[str]:
    """Words after which a verb is asked for."""
    return frozenset(load("rules/orders")["leads"])


def _is_part(piece: str, lower: str, start: int, end: int, first: int) -> bool:
    """Whether a word is no verb: a piece of an identifier, a path, a host or a call, or somebody's name at `first`, the beginning of a clause."""
    after = lower[end : end + 2]
    if after[:1] in (",", ":") or (piece[start].isupper() and lower.startswith(" to ", end) and start == first):
        return True  # a name or a label: "Mark, could you", "Mark to do this", "email: a@b.example"
    return (
        (start > 0 and lower[start - 1] in "_./@\\$&")
        or after[:1] in ("_", "/", "@", "=", "(")
        or after[:1].isdigit()
        or (after[:1] == "." and after[1:].isalnum())
    )


def base(word: str) -> str:
    """The verb of a participle, or the word itself."""
    irregular: str = _irregular().get(word, "")
    if irregular:
        return irregular
    if word.endswith("ed"):
        for form in (word[:-2], word[:-1], word[:-3]):
            if form in classes():
                return form
    return word


@cache
def _duties() -> frozenset[str]:
    """Words behind which "to" leads up to something that is to be done."""
    return frozenset((*load("rules/orders")["duties"], *_wishes(), *classes()))


@cache
def _wishes() -> frozenset[str]:
    """Those of them that, said of the reader, are the reader's own wish."""
    return frozenset(load("rules/orders")["wishes"])


@cache
def _irregular() -> dict[str, str]:
    """Participle -> verb, where the ending does not tell."""
    return dict(load("rules/orders")["irregular"])


def readable(text: str) -> str:
    """The text with escapes read, every offset as it was."""
    return ESCAPE.sub(_read, text) if "\\" in text else text


def _read(found: re.Match[str]) -> str:
    escape = found.group()
    blank = BLANKED.get(escape[-1], " ") if escape[-2] == "\\" else " "
    return blank.rjust(len(escape))


def sentences(text: str, wanted: frozenset[str] | None = None) -> list[Sentence]:
    """The sentences of a readable text, blanks trimmed, in order. With `wanted` verbs, only sentences that hold one of them are asked what they ask for."""
    out: list[Sentence] = []
    verbs = _all() if wanted is None else wanted
    lower = text.lower()
    if len(lower) != len(text):  # a letter whose small form is two
        lower = "".join(c if len(c.lower()) != 1 else c.lower() for c in text)
    at = line = 0
    for found in END.finditer(text):
        cut = found.end()
        mark = found.group()
        if mark[0] == "\n":
            start = found.start()
            is_long = start - line >= WRAPPED
            line = cut
            if is_long and mark == "\n" and text[start - 1] != ":" and not OPENS.match(text, cut):
                continue
        elif mark[0] == "<":
            cut = found.start()
        elif mark in (".", ".,", ".;") and _is_abbreviation(text, found.start()):
            continue
        if cut - at > 1:
            _keep(text, lower, at, cut, verbs, out)
        at = cut
        if len(out) >= SENTENCES_CAP:
            return out
    _keep(text, lower, at, len(text), verbs, out)
    return out


@cache
def _all() -> frozenset[str]:
    return frozenset((*classes(), "be"))  # "must be deleted"


def _is_abbreviation(text: str, at: int) -> bool:
    """Whether the full stop at `at` ends a title or a number of a list."""
    last = text[max(0, at - 6) : at].split()
    word = last[-1] if last else ""
    return (len(word) <= 2 and (word[:1].isupper() or word.isdigit())) or word in ABBREVIATIONS


def _keep(text: str, lower: str, start: int, end: int, verbs: frozenset[str], out: list[Sentence]) -> None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if end - start < 2:
        return
    words = WORD.findall(lower, start, min(end, start + SENTENCE_CAP))
    if len(words) < 3 or verbs.isdisjoint(words):
        out.append(Sentence(start, end))
    else:
        out.append(asking(text, Sentence(start, end), lower))


def asking(text: str, one: Sentence, lower: str = "") -> Sentence:
    """The sentence with what it asks for."""
    end = min(one.end, one.start + SENTENCE_CAP)
    piece = text[one.start : end]
    asks, first, is_head = _asks(piece, lower[one.start : end] if lower else piece.lower())
    return Sentence(one.start, one.end, asks, one.start + first if asks else -1, is_head)


def _is_duty(further: str, before: str) -> bool:
    """Whether "to" behind these two words leads up to what somebody is to do: "you need to send", "the user asked to send"; not "the link to reset", "you asked to send"."""
    if before in YOU:  # "I want you to send"
        before, further = further, ""
    return before in _duties() and not (further == "you" and before in _wishes())


def _is_done_to(lower: str, at: int) -> bool:
    """Whether a known verb with an object stands at `at`: "to finish the request, "."""
    verb = WORD.search(lower, at, at + 24)
    return verb is not None and verb.group() in classes() and not BREAK.match(lower, verb.end())


def _asks(piece: str, lower: str) -> tuple[tuple[str, ...], int, bool]:
    """Verbs at the head of a clause: at the beginning, behind a label, a comma or a word that leads up to one, or with a capital where prose has none."""
    verbs, leading = classes(), leads()
    out: list[str] = []
    first = -1
    last = LEAD.match(lower).end()  # type: ignore[union-attr]
    clause = last
    before, further = "", ""
    ready = is_head = head_of_first = True
    purpose = -1  # where "To end it, " begins; "To end your contract, " is help, what follows it no order
    for found in WORD.finditer(lower, last):
        word = found.group()
        start = found.start()
        colon = False
        if start > last + 1 and BREAK.search(lower, last, start):
            ready = True
            colon = ":" in lower[last:start]
            if colon and start <= LABEL:
                is_head, clause = True, start
            if purpose >= 0:
                is_head = " your " not in lower[purpose:start]
                purpose = -1
        last = found.end()
        if word not in verbs and before == "be":
            word = base(word)
        if word == "to" and not out and not _is_duty(further, before):
            word = ""
            purpose = start if is_head and _is_done_to(lower, last) else -1
        further, before = before, found.group()
        if word not in verbs:
            ready = word in leading
            is_head = is_head and ready
            continue
        if _is_part(piece, lower, start, last, clause):
            ready = is_head = False
            continue
        if (colon or not ready) and piece[start].isupper() and piece[start + 1 : last].islower():
            ready, is_head, clause = True, is_head or not out or out == ["do"] or colon, start
            if colon:
                out.clear()
        if not ready:
            ready = word in leading
            is_head = is_head and ready
            continue
        if not out or (out == ["do"] and lower[first:start].strip() == "do"):
            first = clause if is_head and not out else start
            head_of_first = is_head if not out else head_of_first
        out.append(word)
        ready = word == "do"
        is_head = False
        if len(out) >= 12:
            break
    return tuple(out), first, bool(out) and head_of_first
