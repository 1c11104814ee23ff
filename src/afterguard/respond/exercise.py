"""A tabletop from the team's own findings: what comes in when, what should be done by when, and how well it was.

In: a playbook, what was found in the team's own applications, and later what people did. Out: an `Exercise`, a `Score`, the after-action report. Nothing is carried out and nobody is called; the live-fire drill is drill.py.

The clock of an exercise runs in minutes from its first inject. What is expected has a step of the playbook and a time; done in time counts 2, later 1, not at all 0; containing before any evidence is kept costs 1 each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from afterguard.errors import UsageError
from afterguard.model import Alert, Case
from afterguard.respond.playbook import Playbook, Step
from afterguard.safe import line

IN_TIME, LATE, TOO_SOON = 2, 1, -1
DECIDE = "decide-"
"""Before the number of a question that a person settles."""


class Occasion(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that was found in the team's own applications: what makes the exercise theirs."""

    says: str
    app: str
    kind: str = ""
    source: str = ""
    """alert, attack, scan, look-back, and its id."""
    taxonomies: tuple[str, ...] = ()


class Expected(msgspec.Struct, frozen=True):
    """What should be done, by when."""

    step: str
    by: float
    """Minute of the exercise."""


class Inject(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the players are told."""

    minute: float
    who: str
    says: str
    expects: tuple[Expected, ...] = ()


class Exercise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A script for the one who leads it."""

    id: str
    title: str
    playbook: str
    app: str
    injects: tuple[Inject, ...]
    steps: dict[str, str]
    """Id -> what it is, for those who note what was done."""
    phases: dict[str, str]
    sources: tuple[str, ...]
    format: Literal["afterguard.exercise/1"] = "afterguard.exercise/1"


class Did(msgspec.Struct, frozen=True, omit_defaults=True):
    """What somebody did, and when."""

    minute: float
    step: str
    who: str
    text: str = ""


class Row(msgspec.Struct, frozen=True):
    """One expectation."""

    step: str
    says: str
    phase: str
    by: float
    done: float | None
    points: int


class Score(msgspec.Struct, frozen=True):
    """How well it was."""

    rows: tuple[Row, ...]
    too_soon: tuple[str, ...]
    """Containment before evidence."""
    points: int
    most: int
    minutes_to_evidence: float | None
    minutes_to_contain: float | None
    phases: dict[str, tuple[int, int]]
    """Points and most, a phase."""

    @property
    def share(self) -> float:
        return max(0.0, self.points / self.most) if self.most else 0.0


def choose(occasions: Sequence[Occasion], among: Sequence[Playbook]) -> tuple[Playbook, tuple[Occasion, ...]]:
    """The playbook that most of what was found calls for, and what of it does. Raises UsageError where none fits."""
    best: tuple[int, Playbook | None, tuple[Occasion, ...]] = (0, None, ())
    for playbook in sorted(among, key=lambda one: one.id):
        fitting = tuple(one for one in occasions if fits(one, playbook))
        weight = sum(2 if one.kind in playbook.triggers else 1 for one in fitting)
        if weight > best[0]:
            best = (weight, playbook, fitting)
    if best[1] is None:
        raise UsageError("nothing that was found fits a playbook", hint="name one: --playbook ID (afterguard respond playbooks)", slug="bad-exercise")  # fmt: skip
    return best[1], best[2]


def fits(one: Occasion, playbook: Playbook) -> bool:
    """Whether a playbook is about what was found."""
    return one.kind in playbook.triggers or bool(set(one.taxonomies) & set(playbook.taxonomies))


def made(playbook: Playbook, occasions: Sequence[Occasion], *, id: str, app: str) -> Exercise:
    """The script. Its first inject is what was really found; the rest follows the playbook's phases."""
    of = {phase: [step for step in playbook.steps if step.phase == phase] for phase in ("evidence", "contain", "eradicate", "recover", "notify", "money")}  # fmt: skip
    harsh = [step for step in of["contain"] if not step.optional] or of["contain"]
    first = [line(one.says) for one in occasions[:3]] or [f"Something is reported that looks like this: {playbook.title}."]  # fmt: skip
    questions = tuple(Expected(f"{DECIDE}{at}", 20) for at in range(1, len(playbook.decide) + 1))
    injects = [
        Inject(0, "the SOC", f"In {app}: {first[0]}", _by(of["evidence"], 15)),
        Inject(5, "the SOC", first[1] if len(first) > 1 else "It is still going on. Nobody knows yet how many it touches.", _by(harsh[:1], 30)),
        Inject(10, "the application's owner", "Must it be switched off? What do you know, and what do you not?", questions),
        Inject(30, "the SOC", first[2] if len(first) > 2 else "The same is seen again, from another caller. What you did first was not enough, or not proven.", _by(harsh[1:], 45)),
        Inject(50, "the engineers", "It has stopped. Tell us what to take out for good, and how we see that it is gone.", _by(of["eradicate"], 65) + _by(of["recover"], 75)),
        Inject(60, "a customer, then Legal", "A customer has seen it and asks. Whom do we have to tell, and by when?", _by(of["notify"], 80)),
        Inject(80, "the finance department", "What has it cost, what can it still cost, and what would have been cheaper?", _by(of["money"], 90)),
    ]  # fmt: skip
    names = {step.id: step.says for step in playbook.steps}
    names |= {f"{DECIDE}{at}": text for at, text in enumerate(playbook.decide, 1)}
    phases = {step.id: step.phase for step in playbook.steps} | {name: "decide" for name in names if name.startswith(DECIDE)}  # fmt: skip
    sources = tuple(dict.fromkeys(one.source for one in occasions if one.source))
    return Exercise(id, f"{playbook.title}: {app}", playbook.id, app, tuple(injects), names, phases, sources)


def _by(steps: Sequence[Step], minute: float) -> tuple[Expected, ...]:
    return tuple(Expected(one.id, minute) for one in steps)


def scored(exercise: Exercise, done: Sequence[Did]) -> Score:
    """How well it was. Raises UsageError for a step that the exercise does not have."""
    for one in done:
        if one.step not in exercise.steps:
            raise UsageError(f"the exercise has no step {one.step[:80]}", hint=f"one of: {', '.join(exercise.steps)}", slug="bad-exercise")  # fmt: skip
    when: dict[str, float] = {}
    for one in done:
        when[one.step] = min(one.minute, when.get(one.step, one.minute))
    rows = []
    for wanted in (expected for inject in exercise.injects for expected in inject.expects):
        at = when.get(wanted.step)
        points = 0 if at is None else IN_TIME if at <= wanted.by else LATE
        rows.append(Row(wanted.step, exercise.steps[wanted.step], exercise.phases[wanted.step], wanted.by, at, points))
    evidence, contain = _first(exercise, when, "evidence"), _first(exercise, when, "contain")
    too_soon = tuple(step for step, at in when.items() if exercise.phases[step] == "contain" and (evidence is None or at < evidence))  # fmt: skip
    phases: dict[str, tuple[int, int]] = {}
    for row in rows:
        had, most = phases.get(row.phase, (0, 0))
        phases[row.phase] = (had + row.points, most + IN_TIME)
    points = sum(row.points for row in rows) + TOO_SOON * len(too_soon)
    return Score(tuple(rows), too_soon, points, IN_TIME * len(rows), evidence, contain, phases)


def _first(exercise: Exercise, when: dict[str, float], phase: str) -> float | None:
    return min((at for step, at in when.items() if exercise.phases[step] == phase), default=None)


def script(exercise: Exercise) -> str:
    """For the one who leads it, as Markdown."""
    out = [f"# Exercise: {line(exercise.title)}", "", f"Playbook `{exercise.playbook}`. Made from: {', '.join(map(line, exercise.sources)) or 'the playbook alone'}. Nothing in it is carried out.", "", "Read each inject aloud at its minute. Note what is done, when and by whom; say nothing of what is expected.", ""]  # fmt: skip
    for inject in exercise.injects:
        out += [f"## Minute {inject.minute:.0f}, {inject.who}", "", f"> {line(inject.says)}", ""]
        out += [f"- expected by minute {one.by:.0f}: `{one.step}` {line(exercise.steps[one.step])}" for one in inject.expects]  # fmt: skip
        out.append("")
    return "\n".join(out)


def report(exercise: Exercise, done: Sequence[Did], score: Score) -> str:
    """The after-action report, as Markdown."""
    out = [f"# After the exercise: {line(exercise.title)}", "", f"**{score.points} of {score.most} points ({score.share:.0%}).**", ""]  # fmt: skip
    for what, minutes in (("evidence was kept", score.minutes_to_evidence), ("something was contained", score.minutes_to_contain)):  # fmt: skip
        out.append(f"- {what} after {minutes:.0f} minutes" if minutes is not None else f"- it never came that {what}")
    out += ["", "| phase | points |", "|---|---|"]
    out += [f"| {phase} | {had} of {most} |" for phase, (had, most) in score.phases.items()]
    missed = [row for row in score.rows if row.points < IN_TIME]
    out += ["", "## What to mend", ""]
    out += [f"- `{row.step}` ({row.phase}): {line(row.says)} - {'not done' if row.done is None else f'minute {row.done:.0f}, wanted by {row.by:.0f}'}" for row in missed] or ["- nothing was missed"]  # fmt: skip
    out += [f"- `{step}` was done before any evidence was kept: what it changed can no longer be shown" for step in score.too_soon]  # fmt: skip
    out += ["", "## What happened", ""]
    out += [f"- minute {one.minute:.0f}, {line(one.who)}: `{one.step}` {line(one.text)}" for one in sorted(done, key=lambda one: one.minute)]  # fmt: skip
    return "\n".join(out) + "\n"


class Timed(msgspec.Struct, frozen=True, omit_defaults=True):
    """How long it took, of one case: a drill or the real thing. Seconds; None where it did not come to that."""

    case: str
    app: str
    kinds: tuple[str, ...]
    began: float
    """First sign in the records."""
    detect: float | None
    """Until somebody was told."""
    contain: float | None
    """Until a containment was proven to have taken effect."""
    is_drill: bool = False


def timed(case: Case, alerts: Sequence[Alert], contained: float | None) -> Timed:
    """The times of a real case. `contained`: when its first act of containment was proven, None where none was."""
    if not alerts:
        raise UsageError(f"case {case.id} has no alerts", hint="it takes their times", slug="bad-exercise")
    began, told = min(one.first_seen for one in alerts), min(one.raised or one.observed for one in alerts)
    return Timed(case.id, case.app, case.kinds, began, max(0.0, told - began), max(0.0, contained - began) if contained is not None else None)  # fmt: skip
