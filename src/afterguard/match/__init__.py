"""The one matcher: Sigma's detection grammar, compiled to closures. Policy, hunting and SOC rules are one dialect.

In: a `detection` as decoded from YAML (named selections and a `condition`). Out: a `Matcher`, called with one event: a flat mapping
of field names to values. It reads no file, keeps no state between events, and no rule can make it take more than time linear in the
event (times the size of the rule). Source: Sigma specification 2.1, detection and modifier sections; time and correlation are not
read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afterguard.match.condition import CONDITION_CAP, condition
from afterguard.match.field import Event, Test, refuse, selection

__all__ = ["Event", "Matcher", "Test", "compile"]

RESERVED = ("condition", "timeframe")
SELECTIONS_CAP = 200


class Matcher:
    """A compiled detection. Call it, or call `test`, which is one call less."""

    __slots__ = ("fields", "has_keywords", "required", "selections", "test", "unused")

    def __init__(
        self,
        test: Test,
        selections: Mapping[str, Test],
        fields: frozenset[str],
        required: Mapping[str, frozenset[str]],
        unused: tuple[str, ...],
        has_keywords: bool,
    ) -> None:
        self.test = test
        self.selections = selections
        """Name -> test of that selection alone, for explanations."""
        self.fields = fields
        """Every field that some selection names."""
        self.required = required
        """Field -> lower-case values one of which must be there for the rule to match; an index may rest on it."""
        self.unused = unused
        """Selections that the condition does not ask for."""
        self.has_keywords = has_keywords
        """Whether a selection looks for words in any field."""

    def __call__(self, event: Event) -> bool:
        return self.test(event)


def compile(detection: Any, rule: str = "") -> Matcher:
    """The matcher of one detection. Raises UsageError that names the rule, the selection and what to write instead."""
    if not isinstance(detection, dict):
        refuse(rule, "the detection is not a map", "write named selections and a condition")
    if "timeframe" in detection:
        refuse(rule, "timeframe is not read", "count over time with limits, or in an alert rule")
    named = {str(name): body for name, body in detection.items() if name not in RESERVED}
    if not named or len(named) > SELECTIONS_CAP:
        refuse(rule, f"{len(named)} selections", f"write 1 to {SELECTIONS_CAP} named selections")
    built = {name: selection(body, rule, name) for name, body in named.items()}
    asked = detection.get("condition", next(iter(named)) if len(named) == 1 else None)
    if not isinstance(asked, (str, list)) or not asked:
        refuse(rule, "there is no condition", "add, for instance, condition: " + " and ".join(list(named)[:3]))
    texts = [str(one) for one in asked] if isinstance(asked, list) else [asked]
    if sum(map(len, texts)) > CONDITION_CAP:
        refuse(rule, "the condition is too long", f"keep it below {CONDITION_CAP} characters")
    tests = {name: one.test for name, one in built.items()}
    test, used, conjunct = condition(texts, tests, rule)
    required: dict[str, frozenset[str]] = {}
    for name in conjunct:
        for field, values in built[name].required.items():
            required[field] = required[field] & values if field in required else values
    return Matcher(
        test,
        tests,
        frozenset[str]().union(*(one.fields for one in built.values())),
        required,
        tuple(name for name in named if name not in used),
        any(one.has_keywords for one in built.values()),
    )
