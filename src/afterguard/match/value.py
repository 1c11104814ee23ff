"""The values of one field of a rule -> tests of a single value of an event.

In: values and modifiers. Out: functions that take one scalar of an event (None where it is missing). It knows nothing of fields.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from afterguard.match.linear import Refused, search

T = TypeVar("T")
Scalar = Callable[[Any], bool]
VALUE_CAP = 4_000
ORDER = {name: rank for rank, name in enumerate(("info", "low", "medium", "high", "critical"))}
"""Severities and confidences by order, so that `hit.confidence|gte: medium` means what it says."""
DASHES = "-/\u2013\u2014\u2015"
DASHED = re.compile(r"(?<!\S)[-/](?=\w)")
ENCODINGS = {"wide": "utf-16-le", "utf16le": "utf-16-le", "utf16be": "utf-16-be", "utf16": "utf-16"}


class Bad(Exception):
    """A value or modifier that cannot be used."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


def text_of(value: Any) -> str | None:
    """A scalar as the text it is compared as; None for what is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, int):
        return str(value) if value.bit_length() < 4_096 else ""
    return None


def plain(values: Sequence[Any]) -> frozenset[str] | None:
    """The values in lower case where all are plain, without null, wildcard or escape."""
    texts = [text_of(one) for one in values]
    if any(text is None or "*" in text or "?" in text or "\\" in text for text in texts):
        return None
    return frozenset(text.lower() for text in texts if text is not None)


def any_of(tests: Sequence[Callable[[T], bool]]) -> Callable[[T], bool]:
    """One test that holds where one of these does."""
    if len(tests) == 1:
        return tests[0]
    fixed = tuple(tests)

    def either(held: T) -> bool:
        for test in fixed:  # noqa: SIM110 - a generator costs more than the tests
            if test(held):
                return True
        return False

    return either


def all_of(tests: Sequence[Callable[[T], bool]]) -> Callable[[T], bool]:
    """One test that holds where all of these do."""
    if len(tests) == 1:
        return tests[0]
    fixed = tuple(tests)

    def both(held: T) -> bool:
        for test in fixed:  # noqa: SIM110 - a generator costs more than the tests
            if not test(held):
                return False
        return True

    return both


def tests(modifiers: Sequence[str], values: Sequence[Any]) -> list[Scalar]:
    """A test for each value; plain values without `all` share one. Raises Bad."""
    cased = "cased" in modifiers
    if any(len(text_of(one) or "") > VALUE_CAP for one in values):
        raise Bad("a value is too long", f"keep it below {VALUE_CAP} characters")
    fixed = plain(values)
    if fixed is not None and not cased and set(modifiers) <= {"neq"}:
        return [_in(fixed)]
    return [_test(modifiers, one, cased) for one in values]


def _in(fixed: frozenset[str]) -> Scalar:
    def test(held: Any) -> bool:
        if type(held) is str:
            return held in fixed or held.lower() in fixed
        text = text_of(held)
        return text is not None and text.lower() in fixed

    return test


def _test(modifiers: Sequence[str], value: Any, cased: bool) -> Scalar:
    if value is None:
        if set(modifiers) - {"neq", "all", "cased"}:
            raise Bad("null takes no such modifier", "write field: null")
        return lambda held: held is None
    text = text_of(value)
    if text is None:
        raise Bad("a value is a text, a number, true, false or null", "write a scalar or a list of scalars")
    for one, compare in (("lt", _less), ("lte", _less), ("gt", _less), ("gte", _less), ("cidr", _network)):
        if one in modifiers:
            return compare(one, text)
    if "re" in modifiers:
        return _expression(modifiers, text)
    variants = _encoded(modifiers, text)
    how = next((one for one in ("contains", "startswith", "endswith") if one in modifiers), "")
    return any_of([_wild(one, how, cased) for one in variants])


def _less(how: str, text: str) -> Scalar:
    rank = ORDER.get(text.lower())
    try:
        bound = float(text) if rank is None else float(rank)
    except ValueError:
        raise Bad(f"{text[:40]!r} has no order", "write a number, or one of " + ", ".join(ORDER)) from None
    if bound != bound:
        raise Bad("not a number", "write a number")
    above, equal = how[0] == "g", how[-1] == "e"

    def test(held: Any) -> bool:
        found: float | None
        if rank is None:
            found = _number(held)
        else:
            found = ORDER.get(held) if isinstance(held, str) else None
        if found is None:
            return False
        return (equal and found == bound) or (found > bound if above else found < bound)

    return test


def _number(held: Any) -> float | None:
    if isinstance(held, bool) or not isinstance(held, (int, float, str)):
        return None
    try:
        return float(held) if not isinstance(held, str) or len(held) < 64 else None
    except (ValueError, OverflowError):
        return None


def _network(_: str, text: str) -> Scalar:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Bad(f"{text[:40]!r} is no network", "write, for instance, 10.0.0.0/8") from None

    def test(held: Any) -> bool:
        try:
            return isinstance(held, str) and len(held) < 64 and ipaddress.ip_address(held) in network
        except ValueError:
            return False

    return test


def _expression(modifiers: Sequence[str], text: str) -> Scalar:
    flags = 0
    for one, flag in (("i", re.IGNORECASE), ("m", re.MULTILINE), ("s", re.DOTALL)):
        flags |= flag if one in modifiers else 0
    try:
        occurs = search(text, flags)
    except Refused as refused:
        raise Bad(f"the expression is refused: {refused}", "write it in RE2's syntax, or with wildcards") from None

    def test(held: Any) -> bool:
        found = text_of(held)
        return found is not None and occurs(found)

    return test


def _encoded(modifiers: Sequence[str], text: str) -> list[str]:
    """What to look for instead of the text: dashes of any kind, or its encodings. Encoded text has no wildcards."""
    variants = [text]
    if "windash" in modifiers:
        variants = list(dict.fromkeys([text, *(DASHED.sub(dash, text) for dash in DASHES)]))
    encoding = next((ENCODINGS[one] for one in modifiers if one in ENCODINGS), "utf-8")
    if "base64offset" in modifiers:
        return [_quoted(one) for text in variants for one in _offsets(text.encode(encoding, "surrogatepass"))]
    if "base64" in modifiers:
        return [_quoted(base64.b64encode(one.encode(encoding, "surrogatepass")).decode()) for one in variants]
    if encoding != "utf-8":
        raise Bad("an encoding belongs before base64", "write field|wide|base64offset|contains: value")
    return variants


def _offsets(data: bytes) -> list[str]:
    """The three ways data can stand inside a longer base64 text: letters that only it decides."""
    out = []
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + data).decode()
        cut = len(coded) if (offset + len(data)) % 3 == 0 else -3 if (offset + len(data)) % 3 == 1 else -2
        out.append(coded[(0, 2, 3)[offset] : cut])
    return out


def _quoted(text: str) -> str:
    return re.sub(r"([*?\\])", r"\\\1", text)


def _pieces(text: str) -> list[list[str | None]]:
    """Cut at `*`; each piece is letters, None for `?`. A backslash before *, ? or another backslash takes the meaning away."""
    pieces: list[list[str | None]] = [[]]
    at = 0
    while at < len(text):
        c = text[at]
        if c == "\\" and text[at + 1 : at + 2] in ("*", "?", "\\") and text[at + 1 : at + 2]:
            at += 1
            pieces[-1].append(text[at])
        elif c == "*":
            pieces.append([])
        else:
            pieces[-1].append(None if c == "?" else c)
        at += 1
    return pieces


def _wild(text: str, how: str, cased: bool) -> Scalar:
    pieces = _pieces(text if cased else text.lower())
    if how in ("contains", "endswith"):
        pieces.insert(0, [])
    if how in ("contains", "startswith"):
        pieces.append([])
    match = _glob(pieces)

    def test(held: Any) -> bool:
        found = held if type(held) is str else text_of(held)
        return found is not None and match(found if cased else found.lower())

    return test


def _glob(pieces: list[list[str | None]]) -> Callable[[str], bool]:
    """Pieces in order with anything between. Greedy from the left, so one pass: never back."""
    if len(pieces) == 1 and None not in pieces[0]:
        whole = "".join(one for one in pieces[0] if one is not None)
        return lambda text: text == whole
    inner = [_finder(one) for one in pieces[1:-1] if one]
    if len(pieces) >= 3 and not pieces[0] and not pieces[-1] and len(inner) == 1 and len(_letters(pieces)) == 1:
        needle = _letters(pieces)[0]
        return lambda text: needle in text
    first, last = pieces[0], pieces[-1]
    is_exact = len(pieces) == 1

    def match(text: str) -> bool:
        if is_exact:
            return len(text) == len(first) and _stands(first, text, 0)
        end = len(text) - len(last)
        if end < len(first) or not _stands(first, text, 0) or not _stands(last, text, end):
            return False
        at = len(first)
        for find, size in inner:
            at = find(text, at, end)
            if at < 0:
                return False
            at += size
        return True

    return match


def _letters(pieces: list[list[str | None]]) -> list[str]:
    """The inner pieces as texts, where none has a `?`."""
    inner = [one for one in pieces[1:-1] if one]
    return ["".join(c for c in one if c is not None) for one in inner if None not in one]


def _stands(piece: list[str | None], text: str, at: int) -> bool:
    return all(c is None or text[at + offset] == c for offset, c in enumerate(piece))


def _finder(piece: list[str | None]) -> tuple[Callable[[str, int, int], int], int]:
    if None not in piece:
        needle = "".join(one for one in piece if one is not None)
        return (lambda text, start, end: text.find(needle, start, end)), len(piece)
    compiled = re.compile("".join("." if one is None else re.escape(one) for one in piece), re.DOTALL)

    def find(text: str, start: int, end: int) -> int:
        found = compiled.search(text, start, end)
        return found.start() if found else -1

    return find, len(piece)
