"""What a Sigma correlation remembers: for each group the events of its time span, in bounded memory.

In: which rules an event matched, its fields, its time. Out: groups that now fulfil the condition. Theory of operation: every group holds
at most as many events (or values, or one time a rule) as the condition needs; windows slide with the newest event of the group. A
group that has spoken is silent for one time span, so that what goes on is said once a span and not once an event. Groups beyond
the cap are forgotten, those longest unseen first, and counted.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any, NamedTuple

from afterguard.match.value import text_of

GROUPS_CAP = 50_000
COMBINATIONS_CAP = 20
EVENTS_SHOWN = 20


class Correlation(NamedTuple):
    """One correlation as written."""

    id: str
    name: str
    title: str
    level: str
    tags: tuple[str, ...]
    kind: str
    """event_count, value_count, temporal or temporal_ordered."""
    rules: tuple[str, ...]
    group_by: tuple[str, ...]
    span: float
    """Seconds."""
    compare: str
    """gte, gt or eq."""
    number: int
    field: str
    generate: bool
    aliases: Mapping[str, Mapping[str, str]]

    @property
    def needed(self) -> int:
        """Events or values that fulfil the condition."""
        return self.number + 1 if self.compare == "gt" else self.number


class _Group:
    """State of one group."""

    __slots__ = ("chain", "events", "newest", "quiet_until", "values")

    def __init__(self, size: int) -> None:
        self.newest = 0.0
        self.quiet_until = 0.0
        self.events: deque[tuple[float, str]] = deque(maxlen=size)
        self.values: OrderedDict[str, float] = OrderedDict()
        self.chain: dict[int, float] = {}
        """Of temporal_ordered: length of a chain of rules -> its latest possible beginning."""


Found = tuple[dict[str, str], int, tuple[str, ...]]
"""(group, count, ids of events)."""


class Groups:
    """The groups of one correlation, the one seen last at the end."""

    def __init__(self, rule: Correlation) -> None:
        self.rule = rule
        self.size = max(rule.needed, EVENTS_SHOWN)
        self.held: OrderedDict[tuple[str, ...], _Group] = OrderedDict()

    def feed(
        self, named: Sequence[str], fields: Mapping[str, Any], time: float, uid: str, counts: Counter[str]
    ) -> Iterator[Found]:
        """Groups of this event that now fulfil the condition; an event may belong to several where a field is a list."""
        for key in self._keys(named[0], fields):
            group = self._group(key, counts)
            if time < group.newest - self.rule.span:
                counts["late"] += 1
                continue
            group.newest = max(group.newest, time)
            group.events.append((time, uid))
            reached = self._reached(group, named, fields, time, counts)
            if reached >= self.rule.needed and time >= group.quiet_until:
                group.quiet_until = time + self.rule.span
                fresh = [name for at, name in group.events if at >= group.newest - self.rule.span and name]
                yield dict(zip(self.rule.group_by, key, strict=True)), reached, tuple(fresh[-EVENTS_SHOWN:])

    def _group(self, key: tuple[str, ...], counts: Counter[str]) -> _Group:
        group = self.held.get(key)
        if group is None:
            group = self.held[key] = _Group(self.size)
            if len(self.held) > GROUPS_CAP:
                self.held.popitem(last=False)
                counts["forgotten"] += 1
        else:
            self.held.move_to_end(key)
        return group

    def _keys(self, rule: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
        """Values to group by; an event without one of them belongs to no group."""
        each = []
        for name in self.rule.group_by:
            held = fields.get(self.rule.aliases.get(name, {}).get(rule, name))
            each.append(_texts(held))
        return islice(product(*each), COMBINATIONS_CAP)

    def _reached(
        self, group: _Group, named: Sequence[str], fields: Mapping[str, Any], time: float, counts: Counter[str]
    ) -> int:
        kind, since = self.rule.kind, group.newest - self.rule.span
        if kind == "event_count":
            return sum(at >= since for at, _ in group.events)
        if kind == "value_count":
            name = self.rule.aliases.get(self.rule.field, {}).get(named[0], self.rule.field)
            return self._remember(group, _texts(fields.get(name)), time, since, counts)
        if kind == "temporal":
            self._remember(group, named, time, since, counts)
            return int(all(name in group.values for name in self.rule.rules))
        return int(self._chained(group, named, time))

    def _remember(self, group: _Group, values: Sequence[str], time: float, since: float, counts: Counter[str]) -> int:
        """Distinct values of the span; more than a condition can ask for are not kept."""
        for value in values:
            group.values[value] = max(time, group.values.get(value, 0.0))
            group.values.move_to_end(value)
        for value in [value for value, at in group.values.items() if at < since]:
            del group.values[value]
        while len(group.values) > max(self.rule.needed, len(self.rule.rules), EVENTS_SHOWN):
            group.values.popitem(last=False)
            counts["forgotten"] += 1
        return len(group.values)

    def _chained(self, group: _Group, named: Sequence[str], time: float) -> bool:
        """Whether the rules have now been seen in their order within the span."""
        rules = self.rule.rules
        for length in range(len(rules), 0, -1):
            if rules[length - 1] not in named:
                continue
            begin = time if length == 1 else group.chain.get(length - 1)
            if begin is not None and 0 <= time - begin <= self.rule.span:
                group.chain[length] = max(begin, group.chain.get(length, begin))
                if length == len(rules):
                    return True
        return False


def _texts(held: Any) -> list[str]:
    """A field's values as texts; none where it is missing."""
    values = held if isinstance(held, (list, tuple)) else [held]
    return list(dict.fromkeys(text for one in values if (text := text_of(one)) is not None and text))
