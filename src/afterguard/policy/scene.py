"""One exchange as rules see it: rows of events, made only when a rule asks.

In: an Exchange, its Hits, a Policy, the side (`request` or `response`) and the caller's facts. Out: rows, and what belongs to the
side: which texts can still be edited, which calls can still be taken out, which calls a hit speaks of. It decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from afterguard.model import Exchange, Hit, Origin, Text
from afterguard.policy.fields import (
    ARGUMENT,
    CALL,
    EXCHANGE,
    FACT,
    FEATURE,
    HIT,
    HIT_TOOL,
    PREDICTION,
    TEXT,
    UNJUDGED,
    argument,
    arguments,
    feature,
)
from afterguard.policy.load import Compiled, Policy, plan_of

ROWS_CAP = 2_000
"""Hits, calls, pairs and unjudged parts of one exchange that rules are asked about, each."""
NAME = re.compile(r"[^\s,;:()\"']+")


class Row(NamedTuple):
    """One thing a rule is asked about."""

    event: Mapping[str, Any]
    hit: int = -1
    call: int = -1


class Scene:
    """Lazily made views of one exchange on one side."""

    def __init__(
        self, exchange: Exchange, hits: Sequence[Hit], policy: Policy, at: str, facts: Mapping[str, Any]
    ) -> None:
        self.exchange, self.hits, self.policy, self.at, self.facts = exchange, hits, policy, at, facts
        self._hit_rows: dict[int, Row] = {}
        # Filled when asked for; cached_property would take a lock each time in Python 3.11.
        self._scope: dict[str, str] | None = None
        self._base: dict[str, Any] | None = None
        self._last_told: int | None = None
        self._reply_calls: tuple[int, ...] | None = None

    def candidates(self) -> Iterator[tuple[Compiled, Row]]:
        """Every rule with every row it must be asked about."""
        plan = plan_of(self.policy, self.at, self.exchange)
        if plan.exchange:
            row = Row(self.base)
            for rule in plan.exchange:
                yield rule, row
        for index, hit in enumerate(self.hits[:ROWS_CAP]):
            for rule in plan.by_kind.get(hit.kind.lower(), plan.hit):
                if rule.group == "pair":
                    for call in self.calls_of(index):
                        yield rule, self.pair_row(index, call)
                else:
                    yield rule, self.hit_row(index)
        if plan.call and self.reply_calls:
            for index in self.reply_calls:
                row = Row(self.call_event(index), -1, index)
                for rule in plan.call:
                    yield rule, row
        if plan.unjudged and self.exchange.unjudged:
            for part in self.exchange.unjudged[:ROWS_CAP]:
                event = {**self.base, **{name: UNJUDGED[name](part) for name in self.policy.unjudged_fields}}
                row = Row(event)
                for rule in plan.unjudged:
                    yield rule, row

    def asked(self, rule: Compiled) -> bool:
        """Whether the rule's scope holds here."""
        return rule.scope is None or rule.scope.holds(self.scope)

    @property
    def scope(self) -> dict[str, str]:
        """What scopes are compared with."""
        if self._scope is None:
            facts = self.facts
            self._scope = {
                "app": self.exchange.app,
                "route": facts.get("route", ""),
                "identity": facts.get("identity") or self.exchange.identity,
                "environment": facts.get("environment", ""),
            }
        return self._scope

    @property
    def base(self) -> dict[str, Any]:
        """Fields of the whole exchange that some rule names."""
        if self._base is None:
            self._base = self._exchange_event()
        return self._base

    def _exchange_event(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name in self.policy.exchange_fields:
            getter = EXCHANGE.get(name)
            if getter is not None:
                out[name] = getter(self.exchange)
            elif name in PREDICTION:
                out[name] = PREDICTION[name](self.exchange)
            elif name.startswith(FEATURE):
                out[name] = feature(self.exchange, name[len(FEATURE) :])
            elif name == "at":
                out[name] = [self.at, "identity"]
            elif name.startswith(FACT):
                out[name] = self.facts.get("fields", {}).get(name[len(FACT) :])
            else:
                out[name] = self.scope.get(name) or self.facts.get(name) or getattr(self.exchange, name, None)
        return out

    def hit_row(self, index: int) -> Row:
        """The row of one hit."""
        known = self._hit_rows.get(index)
        if known is None:
            known = self._hit_rows[index] = Row(self.hit_event(index), index)
        return known

    def hit_event(self, index: int) -> dict[str, Any]:
        """Fields of one hit and of the text it stands in."""
        hit = self.hits[index]
        text = self.text_of(hit)
        out = dict(self.base)
        for name in self.policy.hit_fields:
            getter = HIT.get(name)
            if getter is not None:
                out[name] = getter(hit)
            elif name == HIT_TOOL:
                out[name] = self.tool_of(index)
            else:
                out[name] = TEXT[name](text) if text is not None else None
        if "at" in out:
            out["at"] = self.places(hit, index)
        return out

    def places(self, hit: Hit, index: int) -> list[str]:
        """Every word for where a hit is: the side, and tool, call or identity."""
        text = self.text_of(hit)
        out = [self.at]
        if text is None:
            out.append("identity")
        elif text.origin in (Origin.tool, Origin.document):
            out.append("tool")
        if self.calls_of(index):
            out.append("call")
        return out

    def call_event(self, index: int) -> dict[str, Any]:
        """Fields of one call."""
        call = self.exchange.calls[index]
        out = dict(self.base)
        if "at" in out:
            out["at"] = [self.at, "call"]
        given = arguments(call) if any(name.startswith(ARGUMENT) for name in self.policy.call_fields) else None
        for name in self.policy.call_fields:
            getter = CALL.get(name)
            out[name] = getter(call) if getter is not None else argument(given, name[len(ARGUMENT) :])
        return out

    def pair_row(self, hit: int, call: int) -> Row:
        """The row of a hit with one call that belongs to it."""
        return Row({**self.call_event(call), **self.hit_event(hit)}, hit, call)

    def text_of(self, hit: Hit) -> Text | None:
        """The text a hit stands in."""
        return self.exchange.texts[hit.text] if 0 <= hit.text < len(self.exchange.texts) else None

    def tool_of(self, index: int) -> str | None:
        """The tool a hit speaks of: the one whose result it stands in, or whose call it is about."""
        text = self.text_of(self.hits[index])
        if text is not None and text.name:
            return text.name
        calls = self.calls_of(index)
        return self.exchange.calls[calls[0]].name if calls else None

    @property
    def last_told(self) -> int:
        """Turn of the last text that is not the model's: what the model says after it is the reply."""
        if self._last_told is None:
            self._last_told = max((t.turn for t in self.exchange.texts if t.origin is not Origin.model), default=-1)
        return self._last_told

    @property
    def reply_calls(self) -> tuple[int, ...]:
        """Calls that can still be taken out: those of the reply, or the one that an MCP client sends."""
        if self._reply_calls is None:
            calls = self.exchange.calls
            found: Iterator[int] = iter(())
            if self.exchange.protocol == "mcp":
                # Here a request is the model's call on its way to the server, and the reply holds none.
                found = iter(range(len(calls))) if self.at == "request" else found
            elif self.at == "response" and calls:
                found = (n for n, call in enumerate(calls) if self._is_reply(call.where, call.turn))
            self._reply_calls = tuple(found)[:ROWS_CAP]
        return self._reply_calls

    def is_here(self, text: int) -> bool:
        """Whether a text belongs to this side and can still be edited."""
        one = self.exchange.texts[text]
        if self.at != "response":
            return not one.where.startswith("response")
        if self.exchange.protocol == "mcp":
            return one.where.startswith("response")  # a tool says it, and it is on its way to the model
        return one.origin is Origin.model and self._is_reply(one.where, one.turn)

    def _is_reply(self, where: str, turn: int) -> bool:
        if where.startswith("response"):
            return True
        return not where.startswith("request") and turn > self.last_told

    def calls_of(self, index: int) -> tuple[int, ...]:
        """Calls of the reply that a hit is about: it stands in their arguments, or names their tool."""
        if not self.reply_calls:
            return ()
        hit, calls = self.hits[index], self.exchange.calls
        if hit.call >= 0:
            return (hit.call,) if hit.call in self.reply_calls else ()
        text = self.text_of(hit)
        if text is not None and text.where:
            inside = tuple(n for n in self.reply_calls if calls[n].where and text.where.startswith(calls[n].where))
            if inside:
                return inside
        said = self.said(index)
        return tuple(n for n in self.reply_calls if calls[n].name in said)

    def said(self, index: int) -> set[str]:
        """Words of what a detector says of a hit."""
        hit = self.hits[index]
        return set(NAME.findall(f"{hit.rule[:2000]} {hit.cause[:500]}"))

    def names_a_call(self, index: int) -> bool:
        """Whether a hit names any tool that was called in this conversation."""
        said = self.said(index)
        return any(call.name in said for call in self.exchange.calls[:ROWS_CAP])
