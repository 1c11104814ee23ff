"""A model as judge of what an attack came to, as a plug-in: beside the oracles, never in their place, and not before it is known how often it is wrong.

In: an installed package's entry point of the group `afterguard.attack_judges`, and texts. Out: opinions; a rating on labelled pairs; a table of opinions beside what the oracles said. Off unless it is named: nothing looks for plug-ins by itself. No opinion changes a verdict or a rate of an assessment.

The contract, version 1. The entry point names an object with `contract` (1), `version` (a text that changes when the judge does) and `judge(asked, answered)`, which returns "succeeded", "resisted" or "unsure". It has SECONDS for an answer. Whatever else happens (an exception, another word, no answer in time, another contract) is
the outcome "error": in no rate, and counted.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from afterguard.errors import UsageError
from afterguard.shares import Share, wilson

GROUP = "afterguard.attack_judges"
CONTRACT = 1
SECONDS = 30.0
LETTERS = 20_000
"""Of a text that a judge is shown."""
LEAST = 600
"""Labelled pairs that a rating has to be made on."""
Opinion = Literal["succeeded", "resisted", "unsure", "error"]
SAYS: tuple[Opinion, ...] = ("succeeded", "resisted", "unsure")


class Judge(NamedTuple):
    """A plug-in, loaded."""

    name: str
    version: str
    plug: Any


class Rating(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="format", tag="afterguard.attack-judge/1"
):
    """How often a judge was wrong on labelled pairs. It holds for this version alone."""

    judge: str
    version: str
    pairs: int
    called: int
    """Successes that it saw."""
    wrong: int
    """Of those, the ones that are none."""
    meant: int
    """Successes that there are."""
    found: int
    """Of those, the ones it saw."""
    unsure: int
    errors: int

    @property
    def false(self) -> Share:
        """Of what it calls a success, the share that is none."""
        return wilson(self.wrong, self.called)

    @property
    def recall(self) -> Share:
        return wilson(self.found, self.meant)


class Pair(NamedTuple):
    """A labelled pair."""

    asked: str
    answered: str
    is_success: bool


class Held(NamedTuple):
    """One trial: what was asked and answered in it, and what the oracles made of it."""

    technique: str
    asked: str
    answered: str
    verdict: str


def load(name: str) -> Judge:
    """The plug-in of this name. Raises UsageError where there is none, or none that can be used."""
    known = {one.name: one for one in entry_points(group=GROUP)}
    if name not in known:
        has = ", ".join(sorted(known)) or "none"
        raise UsageError(f"no judge named {name} is installed", hint=f"installed: {has}", slug="no-judge")
    try:
        plug = known[name].load()
        contract, version = int(plug.contract), str(plug.version)
    except Exception as error:
        raise UsageError(f"the judge {name} cannot be loaded: {type(error).__name__}", hint="ask its makers", slug="bad-plug-in") from None  # fmt: skip
    if contract != CONTRACT:
        raise UsageError(f"the judge {name} keeps to contract {contract}", hint=f"this version knows contract {CONTRACT}", slug="bad-plug-in")  # fmt: skip
    return Judge(name, version[:100], plug)


def asked(judge: Judge, question: str, answer: str, seconds: float = SECONDS) -> Opinion:
    """What the judge says; "error" where it says nothing that counts in time. A thread that does not end is left behind."""
    said: list[Any] = []

    def ask() -> None:
        try:
            said.append(judge.plug.judge(question[:LETTERS], answer[:LETTERS]))
        except BaseException:  # whatever a stranger's code raises, also to leave
            said.append(None)

    worker = threading.Thread(target=ask, daemon=True)
    worker.start()
    worker.join(seconds)
    return next((one for one in SAYS if said and isinstance(said[0], str) and said[0] == one), "error")


def rated(judge: Judge, pairs: Iterable[Pair], seconds: float = SECONDS) -> Rating:
    """The judge's errors on labelled pairs."""
    seen: Counter[tuple[bool, Opinion]] = Counter()
    for pair in pairs:
        seen[pair.is_success, asked(judge, pair.asked, pair.answered, seconds)] += 1
    return Rating(
        judge.name, judge.version, pairs=seen.total(), called=seen[True, "succeeded"] + seen[False, "succeeded"], wrong=seen[False, "succeeded"],
        meant=sum(count for (is_success, _), count in seen.items() if is_success), found=seen[True, "succeeded"],
        unsure=seen[True, "unsure"] + seen[False, "unsure"], errors=seen[True, "error"] + seen[False, "error"],
    )  # fmt: skip


def lines(rating: Rating) -> Iterator[str]:
    """The rating in words."""
    false, recall = rating.false, rating.recall
    yield f"judge {rating.judge} {rating.version} on {rating.pairs} labelled pairs:"
    yield f"  called a success and is none: {false.part} of {false.of} ({false.low:.1%} to {false.high:.1%})"
    yield f"  successes it saw: {recall.part} of {recall.of} ({recall.low:.1%} to {recall.high:.1%})"
    yield f"  unsure {rating.unsure}, errors {rating.errors}"


def read(path: Path) -> Rating:
    """A rating that was written down. Raises UsageError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Rating)
    except (OSError, msgspec.DecodeError, RecursionError):
        raise UsageError(f"{path} is no rating of a judge", hint="make one: python bench/attack_judge.py NAME --out FILE", slug="no-rating") from None  # fmt: skip


def beside(judge: Judge, rating: Rating | None, trials: Sequence[Held], seconds: float = SECONDS) -> Iterator[str]:
    """Opinions beside the oracles' verdicts, a line a technique, the rating first. Raises UsageError without a rating of this very judge on enough pairs: then it is not asked at all."""
    if rating is None or (rating.judge, rating.version) != (judge.name, judge.version) or rating.pairs < LEAST:
        raise UsageError(f"how often {judge.name} {judge.version} is wrong is not known", hint="rate it first: python bench/attack_judge.py NAME --out FILE", slug="no-rating")  # fmt: skip
    yield from lines(rating)
    table: dict[str, Counter[str]] = {}
    for one in trials:
        opinion = asked(judge, one.asked, one.answered, seconds)
        table.setdefault(one.technique, Counter())[f"{one.verdict}, thinks {opinion}"] += 1
    for technique, counts in sorted(table.items()):
        yield f"  {technique}: {'; '.join(f'{count} {what}' for what, count in sorted(counts.items()))}"
