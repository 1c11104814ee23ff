"""Lines of a case's journal -> what a SOC is told of them. Pure.

In: a case, its plan, lines of its journal. Out: Deeds: what became of each act (done, partly, failed, unsure; undone, partly, expired, not taken back), and who agreed to it or did not. What only prepares (planned, requested, begun) and what a
person was asked is not told; the answer is, when the act is done. The same line is the same deed with the same id, however often it is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from afterguard.model import Case, Deed, Severity
from afterguard.respond.act import Act
from afterguard.respond.journal import Line

DONE = ("done", "partly", "failed", "unsure", "undone", "undo_partly", "expired")
AGREED = ("approved", "denied", "break_glass")
SEVERITIES = {
    "failed": Severity.high, "not_undone": Severity.high, "unsure": Severity.high, "break_glass": Severity.high, "partly": Severity.medium, "undo_partly": Severity.medium,
}  # fmt: skip


def deeds(case: Case, acts: Sequence[Act], lines: Sequence[Line]) -> Iterator[Deed]:
    """What the lines say was done and agreed to, in their order. An act that is not in the plan any more is told by its id."""
    known = {one.id: one for one in acts}
    asked: dict[str, str] = {}
    until: dict[str, float] = {}
    going_back: set[str] = set()
    for line in lines:
        if line.what == "requested":
            asked[line.act] = line.who
        elif line.what == "begun":
            until[line.act] = _number(line.body.get("until"))
        elif line.what == "undo_begun":
            going_back.add(line.act)
        elif line.act and line.what in (*DONE, *AGREED):
            what = "not_undone" if line.what == "failed" and line.act in going_back else line.what
            if what in DONE and what != "undo_partly":
                going_back.discard(line.act)
            yield _deed(case, known.get(line.act), line, what, asked.get(line.act, ""), until.get(line.act, 0.0))


def _deed(case: Case, act: Act | None, line: Line, what: str, asked: str, until: float) -> Deed:
    made = Deed(
        name_of(case, line), what, line.at, line.who, case.app, case.tenant, SEVERITIES.get(what, Severity.info), case.id, line.act,
        says=line.text, asked=asked if what in AGREED else "", until=until if what == "done" else 0.0, drill=case.drill,
    )  # fmt: skip
    if act is None:
        return made
    return msgspec.structs.replace(made, do=act.do, on=act.on, target=act.target, phase=act.phase, playbook=act.playbook, step=act.step, title=act.title)  # fmt: skip


def name_of(case: Case, line: Line) -> str:
    """What a line is told as."""
    return f"{case.id}.{line.n}.{line.hash[:12]}"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e12 else 0.0
