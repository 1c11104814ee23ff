"""Where a passage begins and ends, so that what is left of a text reads as before once it is cut.

In: a readable text (mood.py) and sentences of it. Out: character spans without field names, quotes and list marks around them, with the brackets or the element that
hold nothing else, and with the blanks that would be left over. It judges nothing.
"""

from __future__ import annotations

import re

from afterguard.detect import mood
from afterguard.detect.mood import Sentence

KEY = re.compile(r"(?:[ \t]*- )?[ \t]*[\"']?[a-z_][\w-]{0,40}[\"']?:[ \t]+(?:[|>][-+]?\s+)?[\"']?")
"""A field's name at the beginning of a line, and the quote behind it."""
TAIL = re.compile(r"[\"']?\s*(?:[,}\]]+[\s,}\]{\[\"']*)\Z|[\"']\Z")
TAIL_CAP = 80
BULLET = re.compile(r"- (?=[\"'])")
BLANK = re.compile(r"(?:\s|\\[nrt])+\Z")
AHEAD = re.compile(r"\s|\\[nrt]|[\"']|\Z")
ELEMENT = re.compile(r"<([A-Za-z][\w -]{0,30})>")
OPENED = {quote: re.compile(rf"(?:\A|(?<=[\s(\[{{<:=,]))[\"']{{0,2}}{quote}(?=\S)") for quote in "\"'"}
CELL = re.compile(r"[|\t] *\Z")
"""The border of a table's cell: what stands before it is another cell."""
CLOSE = re.compile(r"</([A-Za-z][\w -]{0,30})>")
PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">", "*": "*", "_": "_", "`": "`", "«": "»", "“": "”"}
WRAP_CAP = 3_000
"""Characters of an element that is cut whole."""


def is_next(view: str, first: Sentence, second: Sentence) -> bool:
    """Whether two sentences that follow each other stand in the same field."""
    if view[first.end - 1] in ",}]" and TAIL.search(view, max(first.start, first.end - 3), first.end):
        return False
    if view[first.end - 1] == ":" and view[first.end - 2] in "\"'":
        return False
    line = view[first.end : second.start]
    return not ("\n" in line and KEY.match(view, second.start))


def trimmed(view: str, first: Sentence, last: Sentence) -> tuple[int, int]:
    """From behind the field's name to before the field's end."""
    start, end = first.start, last.end
    if first.is_head and (first.first - start > mood.LABEL or CELL.search(view, start, first.first)):
        start = first.first
    is_line = not view[:start].rstrip(" \t") or view[:start].rstrip(" \t").endswith("\n")
    key = KEY.match(view, start) if is_line else None
    opened = ""
    if key and key.end() < end:
        start = key.end()
        opened = view[start - 1] if view[start - 1] in "\"'" else ""
    else:
        bullet = BULLET.match(view, start) if is_line else None
        start = bullet.end() if bullet else start
        if view[start : start + 1] in ('"', "'"):
            opened = view[start]
            start += 1
    if opened or view[end - 1 : end] in ("}", "]", ","):
        tail = TAIL.search(view, max(start, end - TAIL_CAP), end)
        if tail and (opened or view[tail.start()] in "\"'"):
            end = tail.start()
    return start, max(start, _unquoted(view, start, end))


def _unquoted(view: str, start: int, end: int) -> int:
    """Before a quote at the end that was opened before the passage: it belongs to the field."""
    quote = view[end - 1 : end]
    if quote not in OPENED or OPENED[quote].search(view, start, end - 1):
        return end
    return len(view[:end].rstrip(quote))


def wrapped(view: str, start: int, end: int) -> tuple[int, int]:
    """With the element or the brackets around it, where the text has few of them."""
    if "</" in view and (view.count("</") <= 3 or len(set(CLOSE.findall(view))) == 1):
        for opened in ELEMENT.finditer(view, max(0, start - WRAP_CAP), start + 1):
            close = view.find(f"</{opened.group(1)}>", opened.end(), opened.start() + WRAP_CAP)
            if close >= start:  # one that is closed before is around something else
                return opened.start(), max(end, close + len(opened.group(1)) + 3)
    while start > 0 and end < len(view) and PAIRS.get(view[start - 1]) == view[end]:
        start, end = start - 1, end + 1
    return start, end


def blanks(view: str, start: int, end: int) -> tuple[int, int]:
    """With the blanks before it, where blanks or an end follow."""
    if AHEAD.match(view, end):
        before = BLANK.search(view, max(0, start - 40), start)
        if before and view[before.start() - 1 : before.start()] != ":":
            start = before.start()
    return start, end
