"""A recorded exchange -> the turns in which a guard would have met it.

In: an Exchange of a log: one request with its reply, or a whole conversation. Out: `Turn`s. Turn N of a conversation is its N-th message
of the model with everything said before it as the request; what comes after the last one is in no turn. It judges nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import msgspec

from afterguard.model import Exchange, Origin
from afterguard.policy.trial import Sides, sides


class Turn(NamedTuple):
    """One request with its reply, as a guard would have seen them."""

    id: str
    """The exchange's id, # and the turn's number, from 1."""
    sides: Sides


def turns(exchange: Exchange) -> Iterator[Turn]:
    """The turns of one exchange, in order; none where it has neither texts nor anything unjudged."""
    if exchange.protocol != "messages":
        if exchange.texts or exchange.calls or (exchange.unjudged and exchange.prediction is None):
            yield Turn(f"{exchange.id}#1", sides(exchange))
        return
    said = [text.turn for text in exchange.texts]
    called = [call.turn for call in exchange.calls]
    replies = sorted({t.turn for t in exchange.texts if t.origin is Origin.model} | set(called))
    if not replies or not (_is_ordered(said) and _is_ordered(called)):
        if exchange.texts or exchange.unjudged:
            yield Turn(f"{exchange.id}#1", sides(exchange))
        return
    for number, reply in enumerate(replies, 1):
        request = _part(exchange, bisect_left(said, reply), bisect_left(called, reply), False)
        whole = _part(exchange, bisect_right(said, reply), bisect_right(called, reply), reply == replies[-1])
        yield Turn(f"{exchange.id}#{number}", Sides(request if request.texts else None, whole))


def _is_ordered(numbers: list[int]) -> bool:
    return all(one <= after for one, after in pairwise(numbers))


def _part(exchange: Exchange, texts: int, calls: int, is_last: bool) -> Exchange:
    """The conversation up to a place. What could not be judged has no place of its own and counts to the last turn."""
    return msgspec.structs.replace(
        exchange,
        texts=exchange.texts[:texts],
        calls=exchange.calls[:calls],
        unjudged=exchange.unjudged if is_last else (),
    )
