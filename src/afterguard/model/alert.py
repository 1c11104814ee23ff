"""What a person in the SOC is asked to look at, and what was done about it."""

from __future__ import annotations

import msgspec

from afterguard.model.asset import Finding
from afterguard.model.result import Range
from afterguard.model.scale import Confidence, Severity


class Entity(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody or something an alert or a case is about."""

    kind: str
    """One of ENTITIES."""
    name: str
    """A pseudonym (keyed hash) where it names a person or a credential, else what it is called."""
    role: str = "actor"
    """`actor` did it, `target` was done to, `means` was used for it, `source` is the document in which a hit stands."""


ENTITIES = (
    "identity", "key", "address", "device", "tenant", "conversation",
    "tool", "server", "document", "model", "prompt", "policy", "payload", "domain", "mount", "payee",
)  # fmt: skip


class Inside(msgspec.Struct, frozen=True, omit_defaults=True):
    """The hits of one kind inside an alert that is about somebody rather than about one kind."""

    kind: str
    severity: Severity
    """Of the gravest that had its way; of all, where the guard held every one off."""
    count: int = 1
    held_off: int = 0


class Alert(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="format", tag="afterguard.alert/1"):
    """What a person in the SOC is asked to look at: hits of one cause, once, however often they come.

    What a reader needs in every alert is always written, also where it is the default: those fields are made by a function.
    The id stays the same as long as it goes on: what comes later is the same alert with a higher revision.
    """

    id: str
    """al- and 32 hex digits: hash of the fingerprint and the second it began."""
    fingerprint: str
    """Hash of what makes it one: kind, cause, and whose. Suppressions and dispositions stick to it."""
    kind: str
    """As Hit.kind."""
    title: str
    severity: Severity
    confidence: Confidence
    first_seen: float
    last_seen: float
    observed: float
    """When Afterguard told of this revision; event times are the two above. Seconds since the epoch, UTC."""
    app: str
    tenant: str = msgspec.field(default_factory=lambda: "default")
    raised: float = 0.0
    """When it was first told; `observed` is of this revision."""
    revision: int = msgspec.field(default_factory=lambda: 1)
    state: str = msgspec.field(default_factory=lambda: "new")
    """`new`, `updated` or `closed`."""
    detector: str = ""
    rule: str = ""
    """What matched, for a person."""
    would_change: str = ""
    cause: str = ""
    taxonomies: tuple[str, ...] = ()
    data_classes: tuple[str, ...] = ()
    excerpt: str = ""
    """Redacted, at most 240 characters."""
    count: int = msgspec.field(default_factory=lambda: 1)
    """Exchanges that it stands for."""
    held_off: int = 0
    """Of those, how many the guard blocked, edited or withheld."""
    hits: tuple[Inside, ...] = ()
    """What it holds, the worst first, where that is not its own kind alone; at most 50 kinds."""
    exchanges: tuple[str, ...] = ()
    """The first ids, at most 20; `count` is not cut."""
    entities: tuple[Entity, ...] = ()
    """At most 250; `touched` counts them all."""
    touched: dict[str, int] = {}
    """The blast radius: kind of entity -> how many distinct ones."""
    at_least: tuple[str, ...] = ()
    """Kinds of which more were touched than could be kept apart: `touched` is then the least there were."""
    likelihood: float = 0.5
    """That it is what its title says, 0 to 1: the detector's precision as measured or as dispositions taught."""
    money: Range | None = None
    """What it can cost, a row of `risk`; None where nobody priced its kind."""
    currency: str = ""
    risk: int = 0
    """0 to 100, of likelihood, blast radius and money."""
    why: dict[str, float | str] = {}
    """What is usual, what was seen, since when (watch.alarm.Why), where it is about behaviour."""
    mount: str = ""
    model: str = ""
    policy: str = ""
    """Revision of the policy that judged the last one."""
    owner: str = ""
    """Whom it is routed to."""
    case: str = ""
    """The incident it belongs to."""
    linked_by: str = ""
    """What it shares with the others of that incident; "" for the first."""
    suppressed: str = ""
    """Why it is told to nobody, where it is not."""
    disposition: str = ""
    """What a person said of it: `true_positive`, `false_positive`, `benign_positive`, `duplicate`; "" nobody did."""
    drill: str = ""
    """The drill that it is of; "" for the real thing."""


DRILL_TITLE = "Drill: "
"""How titles of what a drill raised, and of what was done in it, begin."""


class Drill(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attack of our own through the guard: whose lines are its, and from when to when."""

    run: str
    app: str
    identities: tuple[str, ...]
    """Pseudonyms under which the guard knows it."""
    begins: float
    ends: float


class Deed(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="format", tag="afterguard.deed/1"):
    """What was done about an incident and what came of it, or that somebody agreed to it: as a SOC is told it."""

    id: str
    """Of this telling; the same however often it is told."""
    what: str
    """done, partly (not everywhere), failed, unsure, undone, undo_partly, not_undone, expired; approved, denied, break_glass."""
    at: float
    """Seconds since the epoch, UTC."""
    who: str
    app: str
    tenant: str = msgspec.field(default_factory=lambda: "default")
    severity: Severity = msgspec.field(default_factory=lambda: Severity.info)
    case: str = ""
    act: str = ""
    """Id of the act: what was done, agreed to and undone of one act shares it."""
    do: str = ""
    """Kind of act, as playbooks name it; `call` for a call that the guard held."""
    on: str = ""
    target: str = ""
    phase: str = ""
    playbook: str = ""
    step: str = ""
    title: str = ""
    says: str = ""
    """What the world said of it, why it failed, or why somebody agreed."""
    asked: str = ""
    """Of an approval: who asked for it."""
    until: float = 0.0
    """When it ends by itself; 0: it does not."""
    conversation: str = ""
    exchange: str = ""
    """Of a call that was held: its exchange."""
    tools: tuple[str, ...] = ()
    """Of a call that was held."""
    drill: str = ""
    """The drill that it was done in; "" for the real thing."""


class Found(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="format", tag="afterguard.found/1"):
    """A finding with whose it is and when, as a SOC is told it."""

    id: str
    app: str
    at: float
    """Seconds since the epoch, UTC."""
    finding: Finding
    is_set_aside: bool = False
    """Whether a person set it aside, with a reason."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a case's timeline. Nothing is ever taken away from it; what is undone is one more entry."""

    at: float
    """When it happened; seconds since the epoch, UTC."""
    recorded: float
    who: str
    """A person, or `afterguard`."""
    what: str
    """alert, evidence, decision, approval, action, verification, task, note, clock, merge, split, undo, ticket."""
    text: str
    ref: str = ""
    """Id of the alert, action, task, evidence it speaks of."""


class Case(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="format", tag="afterguard.case/1"):
    """An incident as responders work it: alerts that belong together, and everything that was done."""

    id: str
    """UUIDv7."""
    title: str
    severity: Severity
    opened: float
    updated: float
    app: str
    tenant: str = msgspec.field(default_factory=lambda: "default")
    status: str = msgspec.field(default_factory=lambda: "open")
    """open, contained, eradicated, recovered, closed, merged."""
    alerts: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    entities: tuple[Entity, ...] = ()
    owner: str = ""
    playbooks: tuple[str, ...] = ()
    money: Range | None = None
    """What it can cost."""
    currency: str = ""
    spent: float = 0.0
    """What it has cost so far, as far as it is counted: wasted tokens, hours, money moved."""
    timeline: tuple[Entry, ...] = ()
    merged_into: str = ""
    drill: str = ""
    """The drill that it is of; "" for the real thing."""
