"""What an attack ended with: rates of families, hits with what was said, what may still be there.

In: techniques and how their trials ended. Out: `Assessment`, and what risk and store need of it. It sends nothing and knows no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from afterguard.attack.contract import Prompt, Reply
from afterguard.attack.effective import effective
from afterguard.attack.left import Left
from afterguard.attack.trial import Result, Verdict
from afterguard.model import Attacked, Family, Severity

FORMAT = "afterguard.attack/1"


class Known(Protocol):
    """What has to be known of a technique, of whatever kind it is, for its family to be shown and priced."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def taxonomies(self) -> tuple[str, ...]: ...
    @property
    def fix(self) -> str: ...
    @property
    def rule(self) -> str: ...


class Hit(msgspec.Struct, frozen=True):
    """One success, to be replayed."""

    id: str
    technique: str
    oracle: str
    evidence: str
    turns: tuple[tuple[Prompt, Reply], ...]


class Assessment(msgspec.Struct, frozen=True):
    """The result."""

    target: str
    run: str
    families: tuple[Family, ...]
    hits: tuple[Hit, ...]
    requests: int
    seconds: float
    dollars: float
    stopped: str = ""
    """Why it ended before everything was tried."""
    manner: str = ""
    """What is odd about how the target talks."""
    left: tuple[Left, ...] = ()
    """What was planted and is not known to be gone."""
    host: str = ""
    through: str = "direct"
    seed: str = ""
    ended: float = 0.0
    """Seconds since the epoch, UTC."""
    format: str = FORMAT


def family(technique: Known, ends: Iterable[tuple[str, Result]], skipped: str) -> Family:
    """What became of a technique, of (trial, how it ended) of all techniques."""
    mine = [(trial.split("/")[1], one) for trial, one in ends if trial.split("/")[0] == technique.id]
    forms: dict[str, tuple[int, int]] = {}
    for form, one in mine:
        if one.verdict is not Verdict.not_assessed:
            hits, of = forms.get(form, (0, 0))
            forms[form] = (hits + (one.verdict is Verdict.succeeded), of + 1)
    hits, of = (sum(one[place] for one in forms.values()) for place in (0, 1))
    return Family(
        technique.id,
        hits,
        of - hits,
        sum(one.verdict is Verdict.resisted and one.reason == "blocked" for _, one in mine),
        dict(Counter(one.reason for _, one in mine if one.verdict is Verdict.not_assessed)),
        skipped,
        technique.title,
        technique.kind,
        technique.severity,
        technique.taxonomies,
        forms,
        effective(of for _, of in forms.values()),
        technique.fix,
        technique.rule,
    )


def attacked(found: Assessment) -> Attacked:
    """The rates alone."""
    return Attacked(found.target, found.run, found.families, found.ended, found.through, found.requests, found.stopped)


def families(techniques: Sequence[Known], ends: Sequence[tuple[str, Result]], skipped: dict[str, str]) -> tuple[Family, ...]:  # fmt: skip
    """Every family. One with trials was tried, whatever the last run that went on with the journal could not do; one with no trial and no reason was not reached."""
    tried = {trial.split("/")[0] for trial, _ in ends}
    return tuple(family(one, ends, "" if one.id in tried else skipped.get(one.id, "not-reached")) for one in techniques)
