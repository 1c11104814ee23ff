"""Regular expressions in time linear in the text, as RE2 does it: no rule can make the matcher slow.

In: a pattern in Python's syntax. Out: a function that says whether it occurs in a text. Look-around, back-references, atomic groups and
possessive repeats are refused; `$` is the end of the text.

Theory of operation (Thompson 1968, lazily made deterministic as in Cox, "Regular Expression Matching Can Be Simple And Fast"): the
pattern becomes a graph of nodes. A state is the set of nodes a search may be in after a letter, with the kind of that letter (for `^`,
`$` and word boundaries). What a letter does to a state is computed once and remembered; when too much is remembered, all is forgotten.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

PATTERN_CAP = 1_000
NODES_CAP = 4_000
TEXT_CAP = 100_000
"""Characters of a text that are searched."""
REMEMBERED = 20_000
EDGE, WORD, BREAK, OTHER = range(4)
END = ""


class Refused(Exception):
    """The pattern cannot be matched in linear time, or is broken; the text says why."""


class _State(dict[str, "_State"]):
    """After a letter: the nodes a search may be in, and what each next letter leads to."""

    __slots__ = ("before", "nodes")

    def __init__(self, nodes: frozenset[int], before: int) -> None:
        super().__init__()
        self.nodes, self.before = nodes, before


Predicate = Callable[[str], bool]
FOUND = _State(frozenset(), EDGE)


class _Graph:
    """Nodes of one pattern. Each is (letter test, next), (None, (next, ...)) or (assertion, next)."""

    def __init__(self) -> None:
        self.tests: list[Predicate | None] = []
        self.follow: list[tuple[int, ...]] = []
        self.asserts: list[Any] = []
        self.steps = 0

    def add(self, test: Predicate | None, follow: tuple[int, ...], asserts: Any = None) -> int:
        if len(self.tests) >= NODES_CAP:
            raise Refused("it unfolds into too many states; use smaller repeats")
        self.tests.append(test)
        self.follow.append(follow)
        self.asserts.append(asserts)
        return len(self.tests) - 1

    def sequence(self, items: Any, then: int, flags: int) -> int:
        for code, value in reversed(list(items)):
            self.steps += 1
            if self.steps > 4 * NODES_CAP:
                raise Refused("it unfolds into too many states; use smaller repeats")
            then = self.item(code, value, then, flags)
        return then

    def item(self, code: Any, value: Any, then: int, flags: int) -> int:
        if code in (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN):
            return self.add(_letter(code, value, flags), (then,))
        if code is op.BRANCH:
            return self.add(None, tuple(self.sequence(one, then, flags) for one in value[1]))
        if code is op.SUBPATTERN:
            return self.sequence(value[3], then, (flags | value[1]) & ~value[2])
        if code in (op.MAX_REPEAT, op.MIN_REPEAT):
            low, high, inner = value
            return self.repeat(low, high, inner, then, flags)
        if code is op.AT:
            return self.add(None, (then,), (value, bool(flags & re.MULTILINE)))
        raise Refused("look-around, back-references and possessive repeats cannot be matched in linear time")

    def repeat(self, low: int, high: Any, inner: Any, then: int, flags: int) -> int:
        if high is op.MAXREPEAT:
            loop = self.add(None, (then,))
            self.follow[loop] = (self.sequence(inner, loop, flags), then)
            then = loop
        else:
            end = then
            for _ in range(int(high) - low):
                self.steps += 1
                then = self.add(None, (self.sequence(inner, then, flags), end))
        for _ in range(low):
            then = self.sequence(inner, then, flags)
            if self.steps > 4 * NODES_CAP:
                raise Refused("it unfolds into too many states; use smaller repeats")
            self.steps += 1
        return then


def _letter(code: Any, value: Any, flags: int) -> Predicate:
    if code is op.ANY:
        return (lambda _: True) if flags & re.DOTALL else (lambda c: c != "\n")
    ascii_only = bool(flags & re.ASCII)
    if code is op.IN:
        negated = value[0][0] is op.NEGATE
        tests = [_member(one, ascii_only) for one in value if one[0] is not op.NEGATE]
    else:
        negated = code is op.NOT_LITERAL
        tests = [_member((op.LITERAL, value), ascii_only)]
    if flags & re.IGNORECASE:
        return lambda c: any(t(v) for v in {c, c.lower(), c.upper()} for t in tests) is not negated
    return lambda c: any(t(c) for t in tests) is not negated


def _member(item: Any, ascii_only: bool) -> Predicate:
    code, value = item
    if code is op.LITERAL:
        letter = chr(value)
        return lambda c: c == letter
    if code is op.RANGE:
        low, high = chr(value[0]), chr(value[1])
        return lambda c: len(c) == 1 and low <= c <= high
    test, wanted = _CATEGORIES[value]
    return lambda c: (test(c) and (not ascii_only or c.isascii())) is wanted


def _is_word(c: str) -> bool:
    return c.isalnum() or c == "_"


_CATEGORIES: dict[Any, tuple[Predicate, bool]] = {
    op.CATEGORY_DIGIT: (str.isdecimal, True),
    op.CATEGORY_NOT_DIGIT: (str.isdecimal, False),
    op.CATEGORY_SPACE: (str.isspace, True),
    op.CATEGORY_NOT_SPACE: (str.isspace, False),
    op.CATEGORY_WORD: (_is_word, True),
    op.CATEGORY_NOT_WORD: (_is_word, False),
}


def _kind(c: str) -> int:
    return EDGE if c == END else BREAK if c == "\n" else WORD if _is_word(c) else OTHER


def _holds(asserts: Any, before: int, after: int, at_start: bool) -> bool:
    where, by_line = asserts
    if where in (op.AT_BEGINNING, op.AT_BEGINNING_STRING):
        return at_start or (by_line and where is op.AT_BEGINNING and before == BREAK)
    if where in (op.AT_END, op.AT_END_STRING):
        return after == EDGE or (by_line and where is op.AT_END and after == BREAK)
    return ((before == WORD) is not (after == WORD)) is (where is op.AT_BOUNDARY)


def search(pattern: str, flags: int = 0) -> Callable[[str], bool]:
    """A function: does the pattern occur in the text? Raises Refused. Texts beyond TEXT_CAP characters are searched that far."""
    if len(pattern) > PATTERN_CAP:
        raise Refused(f"it is longer than {PATTERN_CAP} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = parser.parse(pattern, flags)
    except (re.error, OverflowError) as error:
        raise Refused(str(error)) from None
    except RecursionError:
        raise Refused("it is nested too deeply") from None
    graph = _Graph()
    goal = graph.add(None, ())
    try:
        begin = graph.sequence(tree, goal, tree.state.flags)
    except RecursionError:
        raise Refused("it is nested too deeply") from None
    return _Search(graph, begin, goal).occurs


class _Search:
    """The states met so far."""

    def __init__(self, graph: _Graph, begin: int, goal: int) -> None:
        self.graph, self.begin, self.goal = graph, begin, goal
        self.start = _State(frozenset((begin,)), EDGE)
        self.states: dict[tuple[frozenset[int], int], _State] = {}
        self.remembered = 0

    def occurs(self, text: str) -> bool:
        state = self.start
        for c in text[:TEXT_CAP] if len(text) > TEXT_CAP else text:
            following = state.get(c)
            if following is None:
                following = self.step(state, c)
            if following is FOUND:
                return True
            state = following
        return (state.get(END) or self.step(state, END)) is FOUND

    def step(self, state: _State, c: str) -> _State:
        """What letter `c` does to a state; remembered."""
        after = _kind(c)
        consuming = self.reach(state.nodes, state.before, after, state is self.start)
        if self.goal in consuming:
            following = FOUND
        else:
            nodes = {self.begin}
            for node in consuming if c else ():
                test = self.graph.tests[node]
                if test is not None and test(c):
                    nodes.update(self.graph.follow[node])
            key = frozenset(nodes), after
            following = self.states.get(key) or self.states.setdefault(key, _State(*key))
        self.remembered += 1 + len(following.nodes) // 16
        if self.remembered > REMEMBERED:
            self.states, self.remembered = {}, 0
            self.start = _State(frozenset((self.begin,)), EDGE)
        else:
            state[c] = following
        return following

    def reach(self, nodes: Iterable[int], before: int, after: int, at_start: bool) -> set[int]:
        """Nodes that can be reached without a letter."""
        seen: set[int] = set()
        todo = list(nodes)
        while todo:
            node = todo.pop()
            if node in seen:
                continue
            seen.add(node)
            if self.graph.tests[node] is None:
                asserts = self.graph.asserts[node]
                if asserts is None or _holds(asserts, before, after, at_start):
                    todo.extend(self.graph.follow[node])
        return seen
