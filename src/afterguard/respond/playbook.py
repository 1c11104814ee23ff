"""A playbook as people write it: YAML -> `Playbook`; and which of them answer an alert.

In: the text of a file; alerts. Out: a frozen struct, checked: phases in their order, evidence before containment, containment from mild to harsh, each with its end or its undo; the playbooks that fit, and for what none does. It opens no file but the catalogue's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Annotated, Literal, NamedTuple, NoReturn

import msgspec
from msgspec import Meta

from afterguard.errors import UsageError
from afterguard.model import Alert
from afterguard.policy.misfit import fitted
from afterguard.respond.kinds import KINDS, PHASES
from afterguard.watch.kinds import OWN_RULE
from afterguard.watch.triage import HITS_OF

Word = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,79}$")]
Sentence = Annotated[str, Meta(min_length=1, max_length=600)]
TTL = 14 * 86_400.0
"""No measure holds longer without a person saying so again."""
UNKNOWN = "unknown-alert"
"""The playbook for what nobody wrote one for."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step."""

    id: Word
    phase: Literal["evidence", "contain", "eradicate", "recover", "notify", "money"]
    do: str
    says: Sentence
    on: str = "case"
    """Kind of entity: one act for each of the case's."""
    which: Literal["all", "sources", "others"] = "all"
    """Of documents: `sources` are those in which the evidence stands, all where it does not say; `others` are the rest, none where it does not say."""
    value: str = ""
    hook: str = ""
    approvals: Annotated[int, Meta(ge=0, le=5)] = 0
    role: Word = "responder"
    wait: Annotated[float, Meta(gt=0, le=86_400)] = 3600.0
    without: Literal["fail", "skip"] = "fail"
    ttl: Annotated[float, Meta(ge=0, le=TTL)] = 0.0
    """Seconds."""
    timeout: Annotated[float, Meta(gt=0, le=3_600)] = 30.0
    optional: bool = False
    """Only on request: the harshest ones."""


class Playbook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A playbook file."""

    format: Literal["afterguard.playbook/1"]
    id: Word
    title: Sentence
    says: Sentence
    created: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$")]
    modified: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$")]
    triggers: Annotated[list[str], Meta(min_length=1)]
    """Kinds of alerts."""
    decide: Annotated[list[Sentence], Meta(min_length=1)]
    """What a person settles first."""
    steps: Annotated[list[Step], Meta(min_length=4, max_length=60)]
    severity: Annotated[int, Meta(ge=1, le=100)] = 50
    taxonomies: list[str] = []
    money: Sentence = "What it cost is written down from rows, not guessed."


def load(text: str, name: str) -> Playbook:
    """The playbook of a text. Raises UsageError."""
    made = fitted(text, name, Playbook, see="see docs/reference/playbooks.md", slug="bad-playbook")
    _checked(made, name)
    return made


def shipped() -> tuple[Playbook, ...]:
    """Those of the catalogue, by id."""
    folder = resources.files("afterguard.catalog") / "playbooks"
    files = sorted((one for one in folder.iterdir() if one.name.endswith(".yaml")), key=lambda one: one.name)
    return tuple(load(one.read_text(encoding="utf-8"), one.name) for one in files)


class Fit(NamedTuple):
    """Playbooks for a case."""

    books: tuple[Playbook, ...]
    """Those that answer most of it first; the one for what nobody knows last."""
    unmapped: tuple[str, ...]
    """What nobody wrote a playbook for, in words."""


def fitting(alerts: Sequence[Alert], among: Iterable[Playbook]) -> Fit:
    """Playbooks for these alerts. What is unknown is answered by UNKNOWN, and said to be."""
    books = tuple(among)
    answers = {kind: _for_kind(kind, books) for one in alerts for kind in kinds_of(one, books) if kind != OWN_RULE}
    own = [one for one in alerts if OWN_RULE in kinds_of(one, books)]
    answers |= {f"a rule of your own, {one.rule or one.title}": _for_tags(one.taxonomies, books) or _for_kind(OWN_RULE, books) for one in own}  # fmt: skip
    unmapped = tuple(what for what, found in answers.items() if not found)
    count = {one.id: sum(one in found for found in answers.values()) for one in books}
    count[UNKNOWN] = len(unmapped)
    ranked = sorted(books, key=lambda one: (one.id == UNKNOWN, -count[one.id], one.id))
    return Fit(tuple(one for one in ranked if count[one.id]), unmapped)


def kinds_of(alert: Alert, among: Sequence[Playbook]) -> tuple[str, ...]:
    """What an alert is about. One about the many hits of somebody is about the worst kinds inside it for which there is a playbook, where it names them; else about itself."""
    if not alert.kind.startswith(HITS_OF):
        return (alert.kind,)
    known = [one for one in alert.hits if one.kind == OWN_RULE or _for_kind(one.kind, among)]
    if not known:
        return (alert.kind,)
    worst = known[0]
    return tuple(one.kind for one in known if one.severity is worst.severity and (one.held_off < one.count) == (worst.held_off < worst.count))  # fmt: skip


def _for_kind(kind: str, among: Iterable[Playbook]) -> tuple[Playbook, ...]:
    return tuple(one for one in among if kind in one.triggers and one.id != UNKNOWN)


def _for_tags(taxonomies: Iterable[str], among: Iterable[Playbook]) -> tuple[Playbook, ...]:
    """Playbooks that share most with the ids of a rule."""
    scored = [(sum(_shared(name, one.taxonomies) for name in taxonomies), one) for one in among]
    best = max((score for score, _ in scored), default=0)
    return tuple(one for score, one in scored if score == best) if best else ()


def _shared(name: str, own: Sequence[str]) -> int:
    """How much an id says for a playbook: a technique more than its next of kin, that more than a class of weakness."""
    if not name.startswith(("AML.", "T")):
        return int(name in own)
    whole = _technique(name)
    return 3 if name in own else 2 * (any(_technique(one) == whole for one in own))


def _technique(name: str) -> str:
    """A technique without its part: AML.T0051 of AML.T0051.001, T1496 of T1496.004."""
    return ".".join(name.split(".")[: 2 if name.startswith("AML.") else 1])


def _checked(made: Playbook, name: str) -> None:
    """What the structs cannot say. Raises UsageError."""
    ids = [one.id for one in made.steps]
    for one in ids:
        if ids.count(one) > 1:
            _bad(name, f"two steps are called {one}", "give each its own id")
    if len(set(made.triggers)) != len(made.triggers):
        _bad(name, "a trigger stands twice", "name each kind once")
    for step in made.steps:
        _fits(step, name)
    order = [PHASES.index(one.phase) for one in made.steps]
    if order != sorted(order):
        _bad(name, "the phases are out of order", f"write them in this order: {', '.join(PHASES)}")
    missing = set(PHASES) - {one.phase for one in made.steps}
    if missing:
        _bad(name, f"nothing is said of {', '.join(sorted(missing))}", "a playbook has a step of every phase")
    harsh = [KINDS[one.do].harsh for one in made.steps if one.phase == "contain" and one.do != "ask"]
    if harsh != sorted(harsh):
        _bad(name, "containment goes from harsh to mild", "write the mildest first")


def _fits(step: Step, name: str) -> None:
    kind = KINDS.get(step.do)
    if kind is None:
        _bad(name, f"step {step.id}: nothing is called {step.do}", f"known: {', '.join(KINDS)}")
    if step.on not in kind.on:
        _bad(name, f"step {step.id}: {step.do} is not about a {step.on}", f"it is about: {', '.join(kind.on)}")
    if step.which != "all" and step.on != "document":
        _bad(name, f"step {step.id}: which {step.on} the evidence stands in is not said", "which: all, or on: document")
    if step.phase == "evidence" and kind.harsh:
        _bad(name, f"step {step.id}: {step.do} changes something, which evidence must not", "move it to contain")
    if step.phase == "contain" and kind.through not in ("person",):
        if not kind.undo and step.do != "rotate_secret":
            _bad(name, f"step {step.id}: nothing undoes {step.do}", "contain with what can be taken back")
        if kind.through == "guard" and not step.ttl:
            _bad(name, f"step {step.id} has no end", "add ttl: SECONDS")
    if kind.harsh >= 3 and step.phase == "contain" and not step.approvals:
        _bad(name, f"step {step.id}: {step.do} hits hard and asks nobody", "add approvals: 1")
    if kind.through == "hook" and not step.hook:
        _bad(name, f"step {step.id}: {step.do} needs a hook", "add hook: NAME, and say in respond.yaml what it is")


def _bad(name: str, says: str, hint: str) -> NoReturn:
    raise UsageError(f"{name}: {says}", hint=hint, slug="bad-playbook")
