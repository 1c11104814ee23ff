"""One exchange with a predictive model inside the guard, without I/O: a Session whose texts are rows of features and whose reply is scores.

In and out as session.py. A request is read into a Batch by the protocol its path belongs to; hits come from the schema of the model, from what its inputs are usually like, and from what goes on over time. A verdict rounds or withholds
scores in the reply, byte for byte as it came elsewhere, sends the request to the version that was agreed, asks for a further check, or refuses. What cannot be read is an `Unjudged` row; where a verdict wants scores changed
that cannot be found, the route decides, as for everything the guard cannot do.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from afterguard.detect import Past
from afterguard.guard.brain import Brain
from afterguard.guard.models import Model
from afterguard.guard.route import Route
from afterguard.guard.session import Answer, Session
from afterguard.guard.who import Headers
from afterguard.model import Action, Batch, Exchange, Hit, Verdict
from afterguard.wire import kserve_grpc, predictive
from afterguard.wire.endpoint import Endpoint, pinned
from afterguard.wire.scores import Told
from afterguard.wire.splice import Unspliceable
from afterguard.wire.table import Table, Unreadable

STEP_UP = b"x-afterguard-step-up"
"""Header of a reply whose caller the application should check further: the id of the rule that wants it."""
PINNED = ("kserve", "tfserving", "torchserve", "kserve_grpc")
"""Dialects whose path or message has a place for a version."""
REFUSALS = (Action.block, Action.ask, Action.throttle)


class PredictSession(Session):
    """State of one exchange with a predictive model."""

    may_stream = False

    def __init__(self, brain: Brain, route: Route, spot: Endpoint, identifier: str, headers: Headers) -> None:
        super().__init__(brain, route, spot, identifier, headers)
        self.asked_heads = dict(headers)
        self.protocol = "predict" if spot.operation == "predict" else ""
        self.version = spot.version
        self.table: Table | None = None
        self.said: Told | None = None
        self.plain = b""
        """The reply, decompressed."""
        self.known_model: Model | None = None
        self.is_usual = False
        """Whether nothing is wrong with its features."""
        self.is_learned = False
        """Whether a model has answered, so that its rows are for the watch over time."""

    # -- the request

    def hears(self, body: bytes, encoding: str = "") -> bool:
        """Read a request; whether there is anything to judge."""
        self.body, self.size = body, len(body)
        self.parts.model = self.spot.model
        if self.spot.operation != "predict":
            if body:
                self.parts.skip("unsupported_operation", "request", len(body))
            return False
        plain = self._plain(body, encoding, "request")
        if plain is None:
            return True
        try:
            read = predictive.request(self.spot.dialect, plain, self.asked_heads, self.route.scoring)
        except Unreadable as error:
            self.parts.skip(str(error), "request", len(plain))
            return True
        self.table, self.rows = read.table, read.table.rows
        if read.model or read.version:
            self.spot = self.spot._replace(model=read.model[:256], version=read.version[:256])
            self.parts.model, self.version = self.spot.model, self.spot.version
        if read.identity and not self.identity:
            self.identity, self.known_by = self.brain.context.pseudonym(read.identity), "name"
        return True

    def exchange(self) -> Exchange:
        """What is known so far."""
        table, said = self.table, self.said
        if table is None:
            return super().exchange()
        batch = Batch(
            table.names,
            table.kinds,
            table.numbers,
            table.texts,
            self.version,
            said.scores if said else (),
            said.decisions if said else (),
            table.is_named,
        )
        return msgspec.structs.replace(super().exchange(), batch=batch)

    def forward(self, body: bytes, exchange: Exchange, hits: Sequence[Hit], past: Past) -> bytes | Answer:
        """The request to send on, or a refusal."""
        self.past = past
        self.hits = [*hits, *self._looked(exchange)]
        self.verdict = verdict = self.decide(exchange, self.hits, "request")
        if verdict.action in REFUSALS:
            return self.refuse(verdict)
        if verdict.answer is not None:
            return self._stepped_up(verdict)
        if verdict.version:
            self._pin(verdict.version)
            if self.spot.dialect == "kserve_grpc":
                return kserve_grpc.pinned(body, verdict.version)
        return body

    def _looked(self, exchange: Exchange) -> list[Hit]:
        """Hits in the features."""
        batch = exchange.batch
        if batch is None or not self.brain.detectors:
            return []
        models = self.brain.models
        self.known_model = model = models.find(self.route.name, self.spot.model, self.route.schemas)
        found = models.look(model, batch, self.id)
        self.is_usual = not found
        return found + models.suspected(self.route.name, models.callers(self), self.id)

    def _pin(self, version: str) -> None:
        """Send it to that version. Raises Unspliceable where the path has no place for one and the route fails closed."""
        if self.spot.dialect in PINNED:
            self.model = version
            self.version = version
        elif not self.ruling.is_open:
            raise Unspliceable("nothing in the path says which version is to answer")
        else:
            self.parts.skip("not_pinned", "request", self.size)

    def target(self, path: bytes) -> bytes:
        """The path to send on, with the version that was agreed."""
        if not self.model:
            return path
        found = pinned(self.spot, path.decode("latin-1"), self.model)
        return path if found is None else found.encode("latin-1")

    def _stepped_up(self, verdict: Verdict) -> Answer:
        """The reply of a rule that wants a further check."""
        headers = [(b"content-type", b"application/json"), (STEP_UP, verdict.step_up.encode())]
        return Answer(200, headers, msgspec.json.encode(verdict.answer))

    # -- the reply

    def reads(self, status: int, body: bytes, encoding: str = "") -> bool:
        """Read a reply; whether there is anything to judge."""
        self.status = status
        if status >= 400 or self.spot.operation != "predict" or not body:
            return False
        plain = self._plain(body, encoding, "response")
        if plain is None:
            return True
        self.plain = plain
        try:
            self.said = predictive.response(self.spot.dialect, plain, self._heads(), self.route.scoring)
        except Unreadable as error:
            self.parts.skip(str(error), "response", len(plain))
            return True
        self.version = self.said.version or self.version
        return True

    def _heads(self) -> dict[bytes, bytes]:
        return {name.lower(): value for name, value in self.heads}

    def passed(self, status: int, content_type: str, encoding: str, reply: bytes) -> bool:
        """Read a reply that has already passed; whether there is anything to judge."""
        return self.reads(status, reply, encoding)

    def backward(self, body: bytes, exchange: Exchange, hits: Sequence[Hit]) -> bytes | Answer:
        """The reply to send back, or a refusal. Raises Unspliceable."""
        fresh = list(hits)
        self._learn(exchange)
        self.hits += fresh
        self.replied = verdict = self.decide(exchange, fresh, "response")
        if verdict.action in REFUSALS:
            return self.refuse(verdict)
        if verdict.answer is not None:
            return self._stepped_up(verdict)
        rule = verdict.step_up or self.verdict.step_up
        if rule:
            self.heads = [*self.heads, (STEP_UP, rule.encode())]
        return self._rescored(body)

    def _rescored(self, body: bytes) -> bytes:
        """The reply with as much of its scores as both verdicts leave."""
        both = (self.verdict, self.replied)
        withheld = any(one.withheld for one in both)
        digits = min((one.digits for one in both if one.digits >= 0), default=-1)
        if not withheld and digits < 0:
            return body
        if self.said is None:
            raise Unspliceable("scores are to be changed in a reply that nobody can read")
        new, changed = predictive.rescored(self.plain, self.said, digits, withheld=withheld)
        if new == self.plain:
            return body
        self.rescored = "withheld" if withheld else "rounded"
        self.heads = [(name, changed.get(name.lower(), value)) for name, value in self.heads]
        return new

    def _learn(self, exchange: Exchange) -> None:
        """A model has answered: rows without a hit are learned, and all are for the watch over time (patrol.py)."""
        batch, model = exchange.batch, self.known_model
        if batch is None or model is None or not self.brain.detectors:
            return
        self.brain.models.keep(self.route.name, self.spot.model, model)
        if self.is_usual:
            model.profile.learn(batch, self.identity)
        self.is_learned = True
