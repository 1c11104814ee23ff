"""What detectors say of an exchange, and what the policy makes of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from afterguard.model.scale import Confidence, Severity


class Span(NamedTuple):
    """UTF-8 byte offsets [start, end)."""

    start: int
    end: int


class Hit(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something a detector saw in one exchange."""

    detector: str
    """Kebab-case id of the detector: detect/<id with underscores>.py"""
    kind: str
    """Snake-case incident kind, for instance secret_in_output; `inventory` for data that is merely present."""
    severity: Severity
    confidence: Confidence
    exchange: str
    taxonomies: tuple[str, ...]
    text: int = -1
    """Index into Exchange.texts, -1 where the hit is about calls or the whole exchange."""
    call: int = -1
    """Index into Exchange.calls of the call it is about, -1 where it is about none in particular."""
    span: Span = Span(0, 0)
    excerpt: str = ""
    """Redacted, at most 240 characters."""
    identifiers: tuple[str, ...] = ()
    """Salted hashes of the distinct personal identifiers or secrets seen."""
    data_classes: tuple[str, ...] = ()
    cause: str = ""
    """What hits of one cause share: a payload family, a key, a host, an identity. Incidents merge on (kind, cause)."""
    rule: str = ""
    """The rule or mechanism that matched, for a person: "argument amount came only from third-party text"."""
    would_change: str = ""
    """What would change the verdict."""


class Judgement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the judge of text says of one text (detect/judge)."""

    score: float
    """Calibrated probability of an attack, 0 to 1."""
    label: str
    """`benign`, injection, jailbreak, extraction or indirect_injection."""
    spans: tuple[Span, ...]
    """Where the attack stands; empty for `benign`."""
    tier: str
    """`one` or `two`: which tier had the last word."""
    model: str
    """Version and checksum of the weights."""
    unjudged: str = ""
    """What was not looked at, and why; "" where everything was."""


class Action(StrEnum):
    """What a policy does about an exchange, weakest first. Order with `ACTIONS.index`."""

    allow = "allow"
    flag = "flag"
    redact = "redact"
    """Mask what was found."""
    tokenise = "tokenise"
    """Put a placeholder in its place and put it back in the reply."""
    neutralise = "neutralise"
    """Cut what was found, keep the rest."""
    round = "round"
    """Of a predictive model: give scores with fewer digits."""
    withhold = "withhold"
    """Of a predictive model: keep the decision, take the scores away."""
    pin_version = "pin_version"
    """Of a predictive model: send it to the version that was agreed."""
    step_up = "step_up"
    """Ask the application for a further check of the caller, or give the reply that was agreed for that."""
    throttle = "throttle"
    step_down = "step_down"
    """Take tools away: from the offer of a request, or the call from a reply."""
    reroute = "reroute"
    """Send it to a safer model."""
    ask = "ask"
    """Hold until a person approves."""
    block = "block"


ACTIONS = tuple(Action)


class Edit(msgspec.Struct, frozen=True):
    """One change to a text of an exchange: bytes [span) of Exchange.texts[text] become `new`."""

    text: int
    span: Span
    new: str
    rule: str = ""


class Matter(NamedTuple):
    """One thing that a person has to approve."""

    rule: str
    """Id of the rule that asks."""
    hit: int = -1
    """Index of the hit it is about; -1 where the rule names none."""
    call: int = -1
    """Index of the call it is about; -1 where the whole message waits."""


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a policy says of one exchange."""

    action: Action = Action.allow
    """What is done. In observe and shadow never more than flag."""
    would: Action = Action.allow
    """What the policy would do if it were enforced everywhere."""
    rule: str = ""
    """Id of the determining rule: the first with the strongest action."""
    says: str = ""
    """The rule as a sentence."""
    matched: tuple[str, ...] = ()
    """Ids of all rules that matched, strongest first."""
    edits: tuple[Edit, ...] = ()
    """Changes to do, in order of text and span, never overlapping. Empty where they are only what would be done."""
    calls: tuple[int, ...] = ()
    """Indexes of Exchange.calls that are taken out of the reply (step_down, ask)."""
    tools: tuple[str, ...] = ()
    """Names of tools that are taken from the offer of a request (step_down)."""
    model: str = ""
    """The model to send it to (reroute)."""
    wait: float = 0.0
    """Seconds until it may be tried again (throttle)."""
    asks: tuple[Matter, ...] = ()
    """What has to be approved (ask)."""
    digits: int = -1
    """Digits behind the point that scores keep (round); negative: all."""
    withheld: bool = False
    """Whether scores are taken out of the reply (withhold)."""
    version: str = ""
    """The version of the model it is sent to (pin_version)."""
    step_up: str = ""
    """Id of the rule that wants a further check of the caller (step_up)."""
    answer: dict[str, Any] | None = None
    """What is answered instead, where the rule has a reply of its own (step_up)."""
    policy: str = ""
    """Revision of the policy: its name and the first 12 hex digits of its SHA-256."""


NOTHING = Verdict()
"""What is said where nobody has anything to say."""
