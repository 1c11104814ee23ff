"""The part of the guard that thinks: one a process, shared by every door and every exchange.

In: Exchanges. Out: Hits and Verdicts. Detectors and policy are pure; here they get what lives longer than one exchange: caches, the learned judge, the
policy in force (swapped whole, between two exchanges, never during one), counters of what went wrong. It opens no socket and no file.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from afterguard.detect import NONE, Context, Past, canary, look_on
from afterguard.detect.detector import Bounded
from afterguard.detect.placeholders import Vault
from afterguard.detect.tool_rules import ToolRules
from afterguard.errors import UsageError
from afterguard.guard.approvals import Book
from afterguard.guard.history import History
from afterguard.guard.models import Models
from afterguard.guard.route import Route
from afterguard.model import NOTHING, Action, Exchange, Hit, Origin, Text, Trust, Verdict
from afterguard.policy import measures
from afterguard.policy.decide import decide
from afterguard.policy.document import Document, Limits
from afterguard.policy.join import joined
from afterguard.policy.load import Policy, settings
from afterguard.policy.measures import Standing

LETTERS = 200_000
"""So many fresh letters double the budget."""


class Agreed(NamedTuple):
    """What a policy tells detectors: what must not come out, which tools are agreed."""

    canaries: dict[str, str]
    tools: ToolRules | None

    def put_into(self, context: Context) -> None:
        """Let the detectors of this process know."""
        context.canaries = self.canaries
        context.tools = self.tools


def _canaries(document: Document) -> dict[str, str]:
    """The policy's own texts that must not leave; $NAME is read from the environment. Raises UsageError where it is not there: a canary that nobody looks for protects nothing."""
    found = {}
    for text in document.canaries:
        told = os.environ.get(text[1:], "") if text.startswith("$") else text
        if not canary.is_long_enough(told):
            raise UsageError(f"the canary {text} is not in the guard's environment, or has fewer than {canary.SHORTEST} letters and digits", hint=f"set {text[1:]} where the guard starts, or take it out of the policy", slug="bad-policy")  # fmt: skip
        found[told] = "the policy"
    return found


def _asks_prompt(policy: Policy | None) -> bool:
    """Whether a rule names the revision of the instructions: else nobody has to hash them before it is decided."""
    return policy is not None and "prompt" in policy.exchange_fields


Judged = tuple[list[Hit], Past]
"""(hits in what was not judged before, the past of the next turn)."""


class Ruling(NamedTuple):
    """How strict a route is."""

    mode: str
    share: float
    is_open: bool
    """Whether it fails open."""
    budget: float

    @property
    def is_inline(self) -> bool:
        """Whether exchanges wait for their judgement."""
        return self.mode != "observe"

    def limit(self, fresh: int) -> float:
        """Seconds for so many letters that were not judged before."""
        return self.budget * (1 + fresh / LETTERS)


def _ruling(route: Route, policy: Policy | None) -> Ruling:
    here = settings(policy, route.name) if policy is not None else None
    on_error = route.on_error or (here.on_error if here else "open")
    return Ruling(
        route.mode or (here.mode if here else "observe"),
        route.share if route.share >= 0 else here.share if here else 1.0,
        on_error == "open",
        route.budget or (here.budget / 1000 if here and here.budget else 0.25),
    )


REFUSED = 10_000
SMALL = 24_000
"""Bytes of fresh text that are inspected on the event loop; more goes to another process."""


class Brain:
    """Detectors with their memory, and the policy in force."""

    def __init__(
        self, context: Context, policy: Policy | None = None, *, key: bytes = b"", detectors: bool = True
    ) -> None:
        self.context = context
        self.own_canaries = dict(context.canaries)
        self._rulings: dict[str, Ruling] = {}
        self.cap = ""
        self.measures = measures.NONE
        """What responders took away, beside the policy."""
        self.acted = self.counted = 0
        """Exchanges that the policy in force blocked or changed, and all of them."""
        self.key = key
        self.refused: Bounded[bool] = Bounded(REFUSED)
        """Texts for which a request was refused."""
        self.swap(policy)
        self.detectors = detectors
        self.approvals: Book | None = None
        """What persons approved, where a door keeps that."""
        self.is_killed = False
        """The kill switch: everything passes, and is counted as unjudged."""
        self.history = History()
        self.models = Models()

    def swap(self, policy: Policy | None) -> None:
        """Put another policy in force. Raises UsageError where it cannot be; the one before stays then."""
        document = policy.document if policy is not None else None
        canaries = _canaries(document) if document else {}
        self.policy = policy
        self.acted = self.counted = 0
        self._rulings.clear()
        self.tokenises = policy is not None and any(rule.action is Action.tokenise for rule in policy.rules)
        self.tells_prompt = _asks_prompt(policy) or _asks_prompt(self.measures.policy)
        self.plants = document is not None and document.plant and len(self.key) >= 16
        self.agreed = Agreed(
            {**self.own_canaries, **canaries},
            ToolRules(frozenset(document.tools.allow), document.tools.pin, arguments=document.tools.arguments)
            if document
            else None,
        )
        self.agreed.put_into(self.context)

    def planted(self, route: Route) -> str:
        """The token planted in the system prompts of a route's application, watched from now on."""
        token = canary.token(self.key, route.app or route.name, "")
        if token not in self.agreed.canaries:
            self.agreed = self.agreed._replace(canaries={**self.agreed.canaries, token: "the system prompt"})
            self.agreed.put_into(self.context)
        return token

    def vault(self, route: Route, conversation: str) -> Vault:
        """Placeholders of a conversation."""
        return Vault(self.key, route.app or route.name, conversation)

    @property
    def is_limited(self) -> bool:
        """Whether anybody's use is counted."""
        return bool(self.measures.caps) or self.limits is not None

    @property
    def limits(self) -> Limits | None:
        """What one caller may use, None where the policy sets no limit."""
        found = self.policy.document.limits if self.policy is not None else None
        return None if found is None or found == Limits(per=found.per) else found

    def ruling(self, route: Route) -> Ruling:
        """How strict a route is: what was set for the mount, else what the policy says."""
        found = self._rulings.get(route.name)
        if found is None:
            found = _ruling(route, self.policy)
            if self.cap and found.mode in ("share", "enforce"):
                found = found._replace(mode=self.cap)
            if route.name in self.measures.routes:
                found = found._replace(mode="enforce")
            elif self.measures.live and not found.is_inline:
                # A measure is for everybody's mode: what is only observed has to be held until it is clear that none speaks of it.
                found = found._replace(mode="shadow")
            self._rulings[route.name] = found
        return found

    def limit(self, cap: str) -> None:
        """Let no route be stricter than `cap` ("" lifts it): a policy that nobody promoted, or that was rolled back."""
        self.cap = cap
        self._rulings.clear()

    def take(self, standing: Standing) -> None:
        """Let these measures of responders hold from now on, and no others."""
        self.measures = standing
        self.tells_prompt = _asks_prompt(self.policy) or _asks_prompt(standing.policy)
        self._rulings.clear()

    def inspect(self, exchange: Exchange, past: Past = NONE, *, is_last: bool = False) -> Judged:
        """(hits in what follows `past`, the past of the next turn)."""
        if not self.detectors:
            return [], past
        hits, after = look_on(exchange, self.context, past, is_last=is_last)
        return [hit for hit in hits if hit.kind != "inventory"], after

    def warm(self) -> None:
        """Make ready what is made on first use: patterns compile for seconds, and the first request should not wait for them."""
        texts = tuple(Text("ready", origin, Trust.user, "warm") for origin in Origin)
        self.inspect(Exchange("warm", "", 0, "openai", texts=texts))

    def decide(self, exchange: Exchange, hits: Sequence[Hit], at: str, facts: Mapping[str, Any]) -> Verdict:
        """What the policy says, and what responders have taken away; nothing where there is neither."""
        said = NOTHING if self.policy is None else decide(exchange, hits, self.policy, at, facts)
        return said if self.measures.policy is None else joined(said, self._measured(exchange, hits, at, facts))

    def measured(self, exchange: Exchange, at: str, facts: Mapping[str, Any]) -> Verdict:
        """What responders have taken away, where nobody looked for hits: it does not wait for detectors."""
        found = NOTHING if self.measures.policy is None else self._measured(exchange, (), at, facts)
        return found if found.matched else NOTHING

    def _measured(self, exchange: Exchange, hits: Sequence[Hit], at: str, facts: Mapping[str, Any]) -> Verdict:
        assert self.measures.policy is not None
        mode = "observe" if facts.get("mode") == "observe" else "enforce"  # what only passes by cannot be stopped
        return decide(exchange, hits, self.measures.policy, at, {**facts, "mode": mode})

    def bucket(self, conversation: str) -> float:
        """0 to 1, the same for the same conversation everywhere: which share it belongs to."""
        return int.from_bytes(hmac.digest(self.key or b"share", conversation.encode(), "sha256")[:6], "big") / (1 << 48)

    def facts(self, route: Route, conversation: str, identity: str) -> dict[str, Any]:
        """What a policy may ask beside the exchange."""
        return {
            "route": route.name,
            "mode": "enforce" if identity in self.measures.identities else self._mode(route, conversation),
            "environment": route.environment,
            "identity": identity,
            "conversation": conversation,
        }

    def _mode(self, route: Route, conversation: str) -> str:
        """observe, shadow or enforce: a share is settled here, the same for a conversation at every worker."""
        ruling = self.ruling(route)
        if ruling.mode != "share":
            return ruling.mode
        return "enforce" if self.bucket(conversation) < ruling.share else "shadow"
