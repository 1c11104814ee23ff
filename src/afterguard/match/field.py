"""One selection -> a test: maps of `field|modifier: value`, lists of maps, lists of words.

In: a selection as decoded from YAML. Out: a `Selection`. Values are compared as text, without regard to case unless `cased`; `*` and `?`
are wildcards, a backslash takes their meaning away. A field that holds a list matches when one of its elements does. Sizes are capped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from afterguard.config import nearest
from afterguard.errors import UsageError
from afterguard.match import value as values_of
from afterguard.match.value import Bad, text_of

Event = Mapping[str, Any]
Test = Callable[[Event], bool]
Single = Callable[[Any], bool]
"""Test of what one field holds."""
VALUES_CAP = 5_000
FIELDS_CAP = 200
MAPS_CAP = 500
COMPARE = ("contains", "startswith", "endswith", "re", "cidr", "lt", "lte", "gt", "gte", "exists", "fieldref")
ENCODE = ("base64", "base64offset", "wide", "utf16", "utf16le", "utf16be", "windash")
FLAGS = ("all", "cased", "neq", "i", "m", "s")
MODIFIERS = (*COMPARE, *ENCODE, *FLAGS)


class Selection(NamedTuple):
    """A compiled selection."""

    test: Test
    fields: frozenset[str]
    required: Mapping[str, frozenset[str]]
    """Field -> lower-case values of which one must be there."""
    has_keywords: bool = False


def refuse(rule: str, what: str, hint: str) -> NoReturn:
    """Say what is wrong with a rule and what to write instead."""
    raise UsageError(f"rule {rule or '(no id)'}: {what}", hint=hint, slug="bad-rule")


def selection(body: Any, rule: str, name: str) -> Selection:
    """Compile one named selection. Raises UsageError."""
    if isinstance(body, dict):
        if list(body) == ["|all"]:
            return _keywords(body["|all"], rule, name, is_all=True)
        return _map(body, rule, name)
    if isinstance(body, list) and body and all(isinstance(one, dict) for one in body):
        if len(body) > MAPS_CAP:
            refuse(rule, f"selection {name} has {len(body)} maps", f"write at most {MAPS_CAP}")
        return _either([_map(one, rule, name) for one in body])
    if isinstance(body, (list, str)) and body:
        return _keywords(body, rule, name, is_all=False)
    refuse(rule, f"selection {name} is empty or of no known shape", "write a map of fields, or a list of maps or words")


def _either(parts: Sequence[Selection]) -> Selection:
    if len(parts) == 1:
        return parts[0]
    shared = set(parts[0].required).intersection(*(part.required for part in parts[1:]))
    required = {field: frozenset[str]().union(*(part.required[field] for part in parts)) for field in shared}
    return Selection(
        values_of.any_of([part.test for part in parts]),
        frozenset[str]().union(*(part.fields for part in parts)),
        required,
    )


def _map(body: dict[Any, Any], rule: str, name: str) -> Selection:
    if not body or len(body) > FIELDS_CAP:
        refuse(rule, f"selection {name} has {len(body)} fields", f"write 1 to {FIELDS_CAP}")
    tests: list[Test] = []
    fields: set[str] = set()
    required: dict[str, frozenset[str]] = {}
    for key, given in body.items():
        field, *modifiers = str(key).split("|")
        values = given if isinstance(given, list) else [given]
        if not field:
            refuse(rule, f"selection {name} has a modifier without a field", "write field|modifier: value")
        if not values or len(values) > VALUES_CAP:
            refuse(rule, f"{key} has {len(values)} values", f"write 1 to {VALUES_CAP}")
        for one in modifiers:
            if one not in MODIFIERS:
                refuse(rule, f"{key}: no modifier {one!r}", nearest(one, list(MODIFIERS)))
        try:
            tests.append(_field(field, modifiers, values))
        except Bad as bad:
            refuse(rule, f"{key}: {bad}", bad.hint)
        fields.add(field)
        if "fieldref" in modifiers:
            fields.update(map(str, values))
        if not modifiers:
            plain = values_of.plain(values)
            if plain is not None:
                required[field] = plain
    return Selection(values_of.all_of(tests), frozenset(fields), required)


def _field(field: str, modifiers: list[str], values: list[Any]) -> Test:
    compare = [one for one in modifiers if one in COMPARE]
    if len(compare) > 1 and not (len(compare) == 2 and "fieldref" in compare):
        raise Bad(f"{' and '.join(compare)} exclude each other", "keep one of them")
    if {"i", "m", "s"} & set(modifiers) and "re" not in modifiers:
        raise Bad("i, m and s belong behind re", "write field|re|i: pattern")
    if "exists" in compare:
        return _exists(field, values)
    if "fieldref" in compare:
        return _reference(field, modifiers, [str(one) for one in values])
    single = _single(modifiers, values)

    def test(event: Event) -> bool:
        return single(event.get(field))

    if "neq" in modifiers:
        return lambda event: not single(event.get(field))
    return test


def _exists(field: str, values: list[Any]) -> Test:
    if values not in ([True], [False]):
        raise Bad("exists takes true or false", "write true or false")
    wanted = values[0]
    return lambda event: (event.get(field) is not None) is wanted


def _reference(field: str, modifiers: list[str], others: list[str]) -> Test:
    how: Callable[[str, str], bool] = str.__eq__
    if "contains" in modifiers:
        how = str.__contains__
    elif "startswith" in modifiers:
        how = str.startswith
    elif "endswith" in modifiers:
        how = str.endswith
    is_all, cased, negated = "all" in modifiers, "cased" in modifiers, "neq" in modifiers

    def same(event: Event, other: str) -> bool:
        theirs = _texts(event.get(other), cased)
        return any(how(one, two) for one in _texts(event.get(field), cased) for two in theirs)

    def test(event: Event) -> bool:
        found = (same(event, other) for other in others)
        return (all(found) if is_all else any(found)) is not negated

    return test


def _texts(held: Any, cased: bool) -> list[str]:
    items = held[:ELEMENTS_CAP] if isinstance(held, (list, tuple)) else [held]
    texts = [text for text in map(text_of, items) if text is not None]
    return texts if cased else [text.lower() for text in texts]


ELEMENTS_CAP = 1_000
"""Elements of a list in an event that are looked at."""


def _single(modifiers: list[str], values: list[Any]) -> Single:
    tests = values_of.tests(modifiers, values)
    if "all" in modifiers and len(tests) > 1:
        return lambda held: all(_held(held, test) for test in tests)
    test = values_of.any_of(tests)

    def single(held: Any) -> bool:
        if type(held) is str:
            return test(held)
        return _held(held, test)

    return single


def _held(held: Any, test: Callable[[Any], bool]) -> bool:
    if isinstance(held, (list, tuple)):
        if not held:
            return test(None)
        return any(test(one) for one in held[:ELEMENTS_CAP])
    return test(held)


def _keywords(given: Any, rule: str, name: str, is_all: bool) -> Selection:
    words = given if isinstance(given, list) else [given]
    if not words or len(words) > VALUES_CAP or any(isinstance(one, (dict, list)) for one in words):
        refuse(rule, f"selection {name}: words are texts and numbers", f"write 1 to {VALUES_CAP} of them")
    try:
        tests = values_of.tests(["contains"], words)
    except Bad as bad:
        refuse(rule, f"selection {name}: {bad}", bad.hint)

    def anywhere(event: Event, test: Single) -> bool:
        return any(_held(held, test) for held in event.values())

    if is_all:
        return Selection(lambda event: all(anywhere(event, test) for test in tests), frozenset(), {}, True)
    either = values_of.any_of(tests)
    return Selection(lambda event: anywhere(event, either), frozenset(), {}, True)
