"""What the guard knows of each predictive model: the features that were agreed, what its inputs are usually like, and callers that stood out.

In: Batches, and callers that stood out. Out: Hits. One a process, in memory and bounded: MODELS models, SUSPECTS callers. What inputs are usually like can be kept over a restart (`kept`, `take`); what goes on over time is watched in patrol.py. It opens nothing.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from afterguard.detect.feature_profile import Profile, State
from afterguard.detect.feature_schema import Checked, Schema
from afterguard.model import Batch, Hit

MODELS = 200
SUSPECTS = 10_000
CAP = 64 << 20
"""Bytes of what is kept over a restart, about."""
HOLD = 3_600.0
"""Seconds for which every request of a caller that stood out is a hit, so that a policy can act on it."""


NOTHING_AGREED = Checked(Schema({}, extra=True))
"""Where nothing is agreed or learned yet: numbers that are none are told all the same."""


def identities(session: Any) -> tuple[str, ...]:
    """Where nobody says more of callers than their credentials."""
    return (session.identity,)


class Model:
    """What is known of one model behind one mount."""

    __slots__ = ("checked", "given", "profile")

    def __init__(self, given: Schema | None) -> None:
        self.given = given
        self.checked = Checked(given) if given is not None else None
        self.profile = Profile()


class Models:
    """All models of one process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.callers: Callable[[Any], tuple[str, ...]] = identities
        """Session -> the keyed hashes its caller goes by in the watch over time."""
        self._known: OrderedDict[tuple[str, str], Model] = OrderedDict()
        self._suspects: OrderedDict[tuple[str, str], tuple[float, Hit]] = OrderedDict()

    def find(self, route: str, name: str, schemas: Mapping[str, Schema]) -> Model:
        """The model. One that was never seen to answer is made for this once: names that nobody serves push nobody out."""
        given = schemas.get(name) or schemas.get("")
        found = self._known.get((route, name))
        return found if found is not None and found.given is given else Model(given)

    @property
    def seen(self) -> int:
        """Rows learned, of all models."""
        return sum(model.profile.seen for model in self._known.values())

    def kept(self) -> bytes:
        """What was learned of the inputs of every model, newest last, as far as CAP bytes go."""
        rows: list[bytes] = []
        size = 0
        for (route, name), model in reversed(self._known.items()):
            if model.profile.seen and size < CAP:
                rows.append(msgspec.msgpack.encode((route, name, model.profile.state)))
                size += len(rows[-1])
        return msgspec.msgpack.encode([msgspec.Raw(one) for one in reversed(rows)])

    def take(self, data: bytes, schemas: Mapping[str, Mapping[str, Schema]]) -> None:
        """Begin with what was kept; `schemas` by mount. Raises ValueError where it is damaged; what is whole before that is taken."""
        for route, name, state in msgspec.msgpack.decode(data, type=list[tuple[str, str, State]])[-MODELS:]:
            given = schemas.get(route, {})
            model = Model(given.get(name) or given.get(""))
            model.profile = Profile.restored(state)
            self._known[route, name] = model

    def keep(self, route: str, name: str, model: Model) -> None:
        """Remember a model that has answered; the least recent is forgotten."""
        self._known[route, name] = model
        self._known.move_to_end((route, name))
        while len(self._known) > MODELS:
            self._known.popitem(last=False)

    def look(self, model: Model, batch: Batch, exchange: str) -> list[Hit]:
        """What is wrong with the features: against what was agreed, else against what was learned; and how far they are from the usual."""
        if model.checked is not None:
            return model.checked.look(batch, exchange) + model.profile.look(batch, exchange, schema=False)
        if model.profile.is_ready:
            return model.profile.look(batch, exchange)
        return NOTHING_AGREED.look(batch, exchange)

    def suspected(self, route: str, callers: Sequence[str], exchange: str) -> list[Hit]:
        """The hit of a caller that stood out within HOLD, for the exchange at hand. `callers`: all it goes by."""
        for caller in callers:
            found = self._suspects.get((route, caller)) if caller else None
            if found is not None and -HOLD <= self.clock() - found[0] <= HOLD:
                return [msgspec.structs.replace(found[1], exchange=exchange)]
        return []

    def suspect(self, route: str, hit: Hit, since: float) -> None:
        """Callers an alert names are suspects from now on."""
        for caller in hit.identifiers:
            self._suspects[route, caller] = (since, hit)
            self._suspects.move_to_end((route, caller))
        while len(self._suspects) > SUSPECTS:
            self._suspects.popitem(last=False)
