"""An assessment of a predictive model: honest rows first, then techniques in turns, within the owner's leave.

In: a target with its part `scoring` and the files it names, techniques, a leave, a journal. Out: `Scored`: an Assessment with what was measured beside. Leave, limits, journal, resumption and replay are those of jobs/attack.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from afterguard.attack import calibrate
from afterguard.attack.assessment import Assessment
from afterguard.attack.contract import Prompt
from afterguard.attack.scoring import manner as manners
from afterguard.attack.scoring import order, spelled
from afterguard.attack.scoring.contract import Aim, Answer, Cell, Technique
from afterguard.attack.scoring.totals import Measured, measured
from afterguard.attack.scoring.trial import RowTrial, heard
from afterguard.attack.trial import Result
from afterguard.detect.feature_schema import Feature, Schema
from afterguard.errors import UsageError
from afterguard.guard import schema as schemas
from afterguard.jobs.attack import BUSY, Estimate, Row, Run, Stopped
from afterguard.model import Coverage
from afterguard.tap import feature_rows
from afterguard.targets.document import Target
from afterguard.targets.scored import Scoring, labels
from afterguard.wire import predict

ROWS = 5_000
"""Rows that are read of a file."""
LEAST = 8
Rows = tuple[dict[str, Cell], ...]


class Data(NamedTuple):
    """What the files of a target hold."""

    rows: Rows
    members: Rows = ()
    strangers: Rows = ()


class Scored(Assessment, frozen=True):
    """The result."""

    measured: tuple[Measured, ...] = ()


def opened(target: Target, path: Path) -> tuple[Target, Data]:
    """The target with the features that its schema and rows name, and its rows. Raises UsageError."""
    one = target.scoring
    assert one is not None
    features = dict(one.features)
    if one.schema:
        features = {**_schema(path.parent / one.schema).features, **features}
    texts = frozenset(name for name, feature in features.items() if feature.kind == "text")
    drop = frozenset(one.ignore)
    rows = _rows(path.parent / one.rows, texts, drop | {one.truth})
    # A row may have less than the schema says, and nothing that it does not say.
    features = features or {name: Feature(_kind(value)) for name, value in rows[0].items()}
    _known(one, features, rows, path)
    sets = [_rows(path.parent / name, texts, drop) if name else () for name in (one.members, one.strangers)]
    full = msgspec.structs.replace(target, scoring=msgspec.structs.replace(one, features=features))
    return full, Data(_only(rows, features), _only(sets[0], features, one.truth), _only(sets[1], features, one.truth))


def _schema(path: Path) -> Schema:
    try:
        return schemas.load(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the schema {path}: {error}", hint="afterguard guard schema SAMPLE... -o FILE", slug="bad-schema") from None  # fmt: skip


def _rows(path: Path, texts: frozenset[str], drop: frozenset[str]) -> Rows:
    why: list[Coverage] = []
    out: list[dict[str, Cell]] = []
    if not path.is_file():
        raise UsageError(f"there is no {path}", hint="name a file with rows, beside the target file", slug="no-such-path")  # fmt: skip
    for number, record in feature_rows.read(path, str(path), why.append, texts=texts):
        if record is None:
            raise UsageError(f"{path}:{number}: no row", hint="CSV, JSON lines or Parquet, one row a line", slug="bad-target")  # fmt: skip
        out.append({name: _cell(value, name in texts) for name, value in record.items() if name not in drop})
        if len(out) >= ROWS:
            break
    if len(out) < LEAST:
        raise UsageError(f"{path} has {len(out)} rows{f' ({why[0].reason})' if why else ''}", hint=f"at least {LEAST}: CSV, JSON lines or Parquet", slug="bad-target")  # fmt: skip
    return tuple(out)


def _cell(value: Any, is_text: bool) -> Cell:
    """A cell as it is sent: a whole number stays one."""
    found = value if is_text and isinstance(value, str) else predict.feature(value)
    return int(found) if isinstance(found, float) and found == int(found) and abs(found) < 1 << 53 else found


def _kind(value: Cell) -> Any:
    return "bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number" if value is not None else "any"  # fmt: skip


def _known(one: Scoring, features: dict[str, Feature], rows: Rows, path: Path) -> None:
    for name in (*one.changes, *([one.money.column] if one.money.column else [])):
        if name not in features or all(name not in row for row in rows):
            raise UsageError(f"{path}: no feature of {one.rows} is called {name[:100]!r}", hint=f"there are: {', '.join(list(features)[:20])}", slug="bad-target")  # fmt: skip


def _only(rows: Rows, features: dict[str, Feature], more: str = "") -> Rows:
    """Rows with the model's features in its order, and nothing else but the column that says what is true."""
    return tuple({name: row[name] for name in (*features, *([more] if more else [])) if name in row} for row in rows)


def aim_of(target: Target, data: Data, seed: str) -> Aim:
    """What techniques may know, before anything was heard."""
    one = target.scoring
    assert one is not None
    return Aim(
        seed=seed,
        features=one.features,
        changes=one.changes,
        rows=data.rows,
        wanted=one.labels,
        threshold=one.threshold,
        is_below=one.wanted_side == "below",
        money=one.money,
        most_cost=math.inf if one.most_cost is None else one.most_cost,
        members=data.members,
        strangers=data.strangers,
        truth=one.truth,
        against=labels(one.against),
        batch=one.batch,
    )


def estimate(target: Target, techniques: Sequence[Technique], data: Data) -> Estimate:
    """Requests, minutes and dollars at most, were half of the honest rows refused."""
    aim = aim_of(target, data, "")
    half = len(aim.rows) // 2
    aim = msgspec.structs.replace(aim, has_scores=True, refused=aim.rows[:half], granted=aim.rows[half:])
    asked = manners.asked(aim)
    wanted = sum(math.ceil(len(rows) / aim.batch) for rows in (*asked, asked.rows)) + sum(t.requests(aim) * t.trials(aim) for t in techniques)  # fmt: skip
    requests = min(wanted, target.limits.requests)
    return Estimate(requests, requests / max(1e-9, target.limits.per_second) / 60, 0.0)


class ScoringRun(Run):
    """See the file."""

    def __init__(self, target: Target, techniques: Sequence[Technique], leave: Any, journal: Any, *, data: Data, **how: Any) -> None:  # fmt: skip
        super().__init__(target, (), leave, journal, **how)
        self.tried, self.data = tuple(techniques), data
        self.known = tuple(techniques)
        self.aim = aim_of(target, data, journal.head.seed)

    def waits(self, trial: str) -> tuple[float, ...]:
        """A technique that looks for a limit is told of it; others wait."""
        hears = {technique.id for technique in self.tried if technique.hears_refusals}
        return () if trial.split("/")[0] in hears else BUSY

    def whole(self) -> Scored:
        """Everything, or as far as it may go."""
        stopped, manner = "", manners.Manner()
        skipped: dict[str, str] = {}
        past: list[order.Past] = []
        try:
            manner = self._honest()
            skipped = order.offered(self.tried, self.aim, manner)
            open_ = [technique for technique in self.tried if not skipped[technique.id]]
            while (pick := order.following(open_, past, self.aim, self._left_for(past))) is not None:
                technique = next(one for one in open_ if one.id == pick.technique)
                past.append(order.Past(pick, self._once(technique, pick).verdict))
        except Stopped as end:
            stopped = str(end)
        found = self._assessment(stopped, skipped, calibrate.Manner())
        told = {field: getattr(found, field) for field in found.__struct_fields__}
        return Scored(**{**told, "manner": SAYS.get(manner.odd, ""), "measured": self._measured()})

    def _left_for(self, past: Sequence[order.Past]) -> int:
        """What is left of the requests, as it was when the trial that comes next came: what a broken-off one took is not counted twice."""
        names = {one.pick.name for one in past}
        spent = sum(len(self._turns(name)) for name in names) + sum(row.kind == "control" for row in self.journal.rows)
        return self.leave.limits.requests - spent

    def _honest(self) -> manners.Manner:
        """What honest rows are told; the aim knows it from then on."""
        asked = manners.asked(self.aim)
        first = self._told("first", asked.rows)
        rows = [(row, answer) for row, answer in zip(asked.rows, first, strict=False)]
        again, slight = self._told("again", asked.again), self._told("slight", asked.slight)
        self.aim = manners.learned(self.aim, rows)
        few = manners.more(self.aim, len(asked.rows))
        if rows and few and min(len(self.aim.refused), len(self.aim.granted)) < manners.ENOUGH:
            more = self._told("more", few)
            self.aim = manners.learned(self.aim, [*rows, *zip(few, more, strict=False)])
        found = manners.manner(self.aim, first, again, slight)
        if found.is_noisy:
            self.aim = msgspec.structs.replace(self.aim, has_scores=False)
        return found

    def _told(self, what: str, rows: Sequence[dict[str, Cell]]) -> list[Answer]:
        """The answers to these rows, as far as there are any; asked once, over all runs of a journal."""
        have = {row.trial: row.reply for row in self.journal.rows if row.kind == "control" and row.reply}
        out: list[Answer] = []
        for at in range(0, len(rows), self.aim.batch):
            some, name = rows[at : at + self.aim.batch], f"control/{what}-{at}"
            reply = have.get(name) or self.ask(Prompt(spelled.rows(some), is_new=True), "control", name)
            found = heard(reply, len(some))
            if found.error or found.is_blocked:
                break
            out += found.answers
        return out

    def _once(self, technique: Technique, pick: order.Pick, time: str = "") -> Result:
        """One trial, with what is drawn for it; `time` tells repetitions of it apart."""
        name = pick.name + time
        known = next((row.result for row in self.journal.rows if row.kind == "end" and row.trial == name), None)
        if known is not None:
            return known
        aim = msgspec.structs.replace(self.aim, seed=f"{self.journal.head.seed} {pick.name}", number=pick.number)
        trial = RowTrial(technique, aim, pick.variant)
        self.journal.write(Row("begin", name))
        step = trial.begin()
        while isinstance(step, Prompt):
            step = trial.hear(self.ask(step, "turn", name))
        self.journal.write(Row("end", name, result=step))
        return step

    def _measured(self) -> tuple[Measured, ...]:
        by = {technique.id: [row.result for row in self.journal.rows if row.kind == "end" and row.result and row.trial.split("/")[0] == technique.id] for technique in self.tried}  # fmt: skip
        found = [measured(id, results, self.aim.has_money) for id, results in by.items()]
        return tuple(one for one in found if one.figures)


SAYS = {
    "says-the-same-to-everything": "says the same to everything",
    "answers-at-random": "gives the same row other decisions",
    "any-change-changes-the-answer": "changes its answer with changes that mean nothing",
    "no-answer-to-honest-rows": "does not answer honest rows",
    "no-decision": "says nothing that the target file calls a decision",
}
