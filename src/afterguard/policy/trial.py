"""The tests that stand inside a policy: each example with the verdict it must get.

In: a Policy and `read`, which turns an example's bodies into Exchanges (parsing belongs to the caller). Out: a `Trial` each. Rules are
tried as if the policy were enforced; a rule in shadow stays in shadow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from afterguard.detect import NONE, Context, look_on
from afterguard.model import (
    ACTIONS,
    Action,
    Batch,
    Confidence,
    Exchange,
    Hit,
    Origin,
    Severity,
    Span,
    Text,
    ToolCall,
    ToolSpec,
    Unjudged,
    Verdict,
)
from afterguard.policy.decide import decide
from afterguard.policy.document import Test
from afterguard.policy.load import Policy, names


class Sides(NamedTuple):
    """An example as the guard would meet it: the request, and the request with its reply."""

    request: Exchange | None
    reply: Exchange | None


def sides(exchange: Exchange) -> Sides:
    """A record of one call, cut in two: what the model said last is the reply."""
    texts = exchange.texts
    told = max((t.turn for t in texts if t.origin is not Origin.model), default=-1)
    cut = next((n for n, t in enumerate(texts) if t.origin is Origin.model and t.turn > told), len(texts))
    calls = next((n for n, call in enumerate(exchange.calls) if call.turn > told), len(exchange.calls))
    has_reply = cut < len(texts) or calls < len(exchange.calls)
    if not has_reply:
        return Sides(exchange, None)
    asked = msgspec.structs.replace(exchange, texts=texts[:cut], calls=exchange.calls[:calls], unjudged=())
    return Sides(asked if cut else None, exchange)


Read = Callable[[Mapping[str, Any]], Sides]
"""Bodies of an example -> Exchanges. Raises ValueError with a sentence for a shape it does not know."""


class Judged(NamedTuple):
    """One side with what was seen and what was said of it."""

    at: str
    exchange: Exchange
    hits: tuple[Hit, ...]
    verdict: Verdict


class Trial(NamedTuple):
    """How one test went; `why` is empty where it passed."""

    name: str
    why: str
    sides: tuple[Judged, ...]


class _Plain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A hit as a test writes it."""

    kind: str
    severity: Severity = Severity.medium
    confidence: Confidence = Confidence.medium
    detector: str = "test"
    text: int = -1
    span: tuple[int, int] = (0, 0)
    rule: str = ""
    cause: str = ""
    data_classes: tuple[str, ...] = ()
    excerpt: str = ""


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of a predictive model as a test writes it."""

    features: dict[str, float | str | bool | None]
    score: float | None = None
    decision: str = ""
    version: str = ""


class _Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An example written as plain hits instead of bodies."""

    hits: tuple[_Plain, ...] = ()
    texts: tuple[Text, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    unjudged: tuple[Unjudged, ...] = ()
    prediction: _Asked | None = None
    provider: str = ""
    model: str = ""
    app: str = ""
    client: str = ""
    key: str = ""
    input_tokens: int | None = None
    bytes: int = 0


BODIES = {"messages", "request", "response", "provider", "tools", "model"}


def trials(policy: Policy, read: Read, context: Callable[[], Context]) -> Iterator[Trial]:
    """Every test of a policy, in order. Nothing is raised for a test that cannot be run: it failed, and says why."""
    for test in policy.document.tests:
        try:
            sides = tuple(judged(test, policy, read, context))
        except (ValueError, msgspec.ValidationError) as error:
            yield Trial(test.name, f"cannot be run: {error}", ())
            continue
        yield Trial(test.name, _why(test, sides), sides)


def judged(test: Test, policy: Policy, read: Read, context: Callable[[], Context]) -> Iterator[Judged]:
    """The sides of a test with their verdicts."""
    facts = {"mode": "enforce", **test.facts}
    if not test.exchange.keys() & {"messages", "request", "response"}:
        plain = msgspec.convert(test.exchange, _Example)
        exchange = _exchange(plain)
        hits = tuple(_hit(one) for one in plain.hits)
        for at in (test.at,) if test.at else ("request", "response"):
            yield Judged(at, exchange, hits, decide(exchange, hits, policy, at, facts))
        return
    unknown = test.exchange.keys() - BODIES
    if unknown:
        raise ValueError(f"an exchange has no {sorted(unknown)[0]!r}")
    yield from both(read(test.exchange), policy, context(), facts, test.at)


def both(
    sides: Sides, policy: Policy, context: Context, facts: Mapping[str, Any], only: str | None = None
) -> Iterator[Judged]:
    """Detect and decide on both sides, as the guard does: the reply is judged by what was not yet seen in the request."""
    past = NONE
    if sides.request is not None:
        hits, past = look_on(sides.request, context)
        if only != "response":
            yield Judged("request", sides.request, tuple(hits), decide(sides.request, hits, policy, "request", facts))
    if sides.reply is not None and only != "request":
        hits, _ = look_on(sides.reply, context, past)
        yield Judged("response", sides.reply, tuple(hits), decide(sides.reply, hits, policy, "response", facts))


def strongest(sides: Sequence[Judged]) -> Verdict | None:
    """The verdict that counts: the strongest, the earlier of two alike."""
    return max((one.verdict for one in sides), key=lambda one: ACTIONS.index(one.action), default=None)


def _exchange(plain: _Example) -> Exchange:
    given = {
        name: getattr(plain, name)
        for name in (
            "texts",
            "calls",
            "tools",
            "unjudged",
            "provider",
            "model",
            "app",
            "client",
            "key",
            "input_tokens",
            "bytes",
        )
    }
    asked = plain.prediction
    if asked is not None:
        return Exchange(id="test", source="test", line=0, protocol="predict", batch=_batch(asked), **given)
    return Exchange(id="test", source="test", line=0, protocol="messages", **given)


def _batch(asked: _Asked) -> Batch:
    values = list(asked.features.values())
    texts: dict[int, tuple[str, ...]] = {place: (one,) for place, one in enumerate(values) if isinstance(one, str)}
    return Batch(
        tuple(asked.features),
        tuple("text" if n in texts else "bool" if isinstance(one, bool) else "number" for n, one in enumerate(values)),
        np.array([[math.nan if one is None or isinstance(one, str) else float(one) for one in values]]),
        texts,
        asked.version,
        () if asked.score is None else (asked.score,),
        (asked.decision,) if asked.decision else (),
    )


def _hit(plain: _Plain) -> Hit:
    given = {name: getattr(plain, name) for name in _Plain.__struct_fields__ if name != "span"}
    return Hit(exchange="test", taxonomies=(), span=Span(*plain.span), **given)


def _why(test: Test, sides: tuple[Judged, ...]) -> str:
    verdict = strongest(sides)
    if verdict is None:
        return "there was nothing to judge"
    expected = test.expect
    if verdict.action != expected.action:
        by = f" by {verdict.rule}" if verdict.rule else ""
        return f"expected {expected.action}, got {verdict.action}{by}"
    if expected.rule and verdict.rule != expected.rule:
        return f"expected rule {expected.rule}, got {verdict.rule or 'none'}"
    would = max((one.verdict.would for one in sides), key=ACTIONS.index)
    if expected.would is not None and would != Action(expected.would):
        return f"expected that it would {expected.would}, got {would}"
    return _why_left(test, sides)


def _why_left(test: Test, sides: tuple[Judged, ...]) -> str:
    after = "\n".join(text for one in sides for text in edited(one))
    for text in names(test.expect.gone):
        if text in after:
            return f"{text!r} is still there"
    for text in names(test.expect.kept):
        if text not in after:
            return f"{text!r} is gone"
    if test.expect.calls is not None:
        taken = [one.exchange.calls[index].name for one in sides for index in one.verdict.calls]
        if taken != test.expect.calls:
            return f"expected calls {test.expect.calls} to be taken out, got {taken}"
    return ""


def edited(side: Judged) -> Iterator[str]:
    """The texts of a side after its edits."""
    for index, text in enumerate(side.exchange.texts):
        data = text.value.encode("utf-8", "surrogatepass")
        for edit in reversed([one for one in side.verdict.edits if one.text == index]):
            data = data[: edit.span.start] + edit.new.encode("utf-8", "surrogatepass") + data[edit.span.end :]
        yield data.decode("utf-8", "replace")
