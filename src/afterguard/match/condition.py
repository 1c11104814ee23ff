"""A rule's `condition` -> one test over its selections.

In: the condition's text (several are alternatives), the tests of the selections. Out: the test, the selections it asks for, and those
without which it cannot be true. Grammar: `not` before `and` before `or`, parentheses, `1 of`, `any of` and `all of` before `them` or a
name with `*`. Names that begin with an underscore do not belong to `them`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn

from afterguard.config import nearest
from afterguard.match.field import Event, Test, refuse
from afterguard.match.value import all_of, any_of

CONDITION_CAP = 4_000
DEPTH_CAP = 40
TOKEN = re.compile(r"[()]|[^\s()]+")
WORDS = {"and", "or", "not", "of"}


class _Part(NamedTuple):
    test: Test
    needed: frozenset[str]
    """Selections that are true whenever this is."""


def condition(
    texts: Sequence[str], selections: Mapping[str, Test], rule: str
) -> tuple[Test, frozenset[str], frozenset[str]]:
    """(test, selections asked for, selections needed). Raises UsageError."""
    parts = []
    used: set[str] = set()
    for text in texts:
        reader = _Reader(text, selections, rule, used)
        parts.append(reader.whole())
    whole = _any(parts)
    return whole.test, frozenset(used), whole.needed


class _Reader:
    """Recursive descent over the words of one condition; depth is capped."""

    def __init__(self, text: str, selections: Mapping[str, Test], rule: str, used: set[str]) -> None:
        self.words = TOKEN.findall(text)
        self.at = 0
        self.depth = 0
        self.selections, self.rule, self.used = selections, rule, used

    def whole(self) -> _Part:
        if "|" in self.words:
            self.fail("counts after | are not read here", "use limits, or an alert rule, to count")
        part = self.either()
        if self.at < len(self.words):
            self.fail(f"{self.words[self.at]!r} stands where the condition should end", "join selections with and, or")
        return part

    def either(self) -> _Part:
        parts = [self.both()]
        while self.takes("or"):
            parts.append(self.both())
        return _any(parts)

    def both(self) -> _Part:
        parts = [self.negated()]
        while self.takes("and"):
            parts.append(self.negated())
        return _all(parts)

    def negated(self) -> _Part:
        negations = 0
        while self.takes("not"):
            negations += 1
        part = self.primary()
        return part if negations % 2 == 0 else _Part(_not(part.test), frozenset())

    def primary(self) -> _Part:
        word = self.next()
        if word == "(":
            self.depth += 1
            if self.depth > DEPTH_CAP:
                self.fail("parentheses too deep", f"at most {DEPTH_CAP}")
            part = self.either()
            if self.next() != ")":
                self.fail("a parenthesis is not closed", "close it")
            self.depth -= 1
            return part
        if word.lower() in ("1", "any", "all") and self.takes("of"):
            parts = self.several(self.next())
            return _all(parts) if word.lower() == "all" else _any(parts)
        if word not in self.selections:
            hint = nearest(word, list(self.selections))
            self.fail(
                f"the condition asks for {word!r}, which no selection is called" if word else "it ends early", hint
            )
        self.used.add(word)
        return _Part(self.selections[word], frozenset((word,)))

    def several(self, pattern: str) -> list[_Part]:
        wanted = re.compile(fnmatch.translate(pattern.replace("[", "[[]"))).match
        names = [
            name
            for name in self.selections
            if (not name.startswith("_") if pattern.lower() == "them" else wanted(name) is not None)
        ]
        if not names:
            self.fail(f"no selection fits {pattern!r}", nearest(pattern.strip("*"), list(self.selections)))
        self.used.update(names)
        return [_Part(self.selections[name], frozenset((name,))) for name in names]

    def takes(self, word: str) -> bool:
        if self.at < len(self.words) and self.words[self.at].lower() == word and word in WORDS:
            self.at += 1
            return True
        return False

    def next(self) -> str:
        self.at += 1
        return self.words[self.at - 1] if self.at <= len(self.words) else ""

    def fail(self, what: str, hint: str) -> NoReturn:
        refuse(self.rule, what, hint)


def _any(parts: Sequence[_Part]) -> _Part:
    needed = frozenset.intersection(*(part.needed for part in parts))
    return _Part(any_of([part.test for part in parts]), needed)


def _all(parts: Sequence[_Part]) -> _Part:
    needed = frozenset[str]().union(*(part.needed for part in parts))
    return _Part(all_of([part.test for part in parts]), needed)


def _not(test: Test) -> Test:
    def negated(event: Event) -> bool:
        return not test(event)

    return negated
