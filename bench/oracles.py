"""How far the oracles of `afterguard attack` can be believed: precision and recall on labelled pairs of what was sent and what came back.

    python bench/oracles.py [--split train|dev|test] [--wrong] [--only first|second]

In: tests/attack/labelled/*.jsonl, and labelled/second/*.jsonl, a second set of other scenarios, each row its own, which names its split. Out: for each split and oracle, successes that are none, successes that were missed, with Wilson intervals, and the table of three outcomes. `--wrong` lists the rows of a split that came out otherwise than
labelled; never of `test`. Each row is judged as a trial judges it. Variants of one base are in one split; what is reported is counted once more with one row a base, since variants are not independent.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from afterguard.attack import effects, oracles
from afterguard.attack.contract import Aim, Attack, Call, Claim, Prompt, Receipt, Reply, Technique
from afterguard.attack.trial import Result, Trial
from afterguard.model import Severity
from afterguard.shares import Share, wilson

FOLDER = ROOT / "tests" / "attack" / "labelled"
SPLITS = ("train", "dev", "test")
OUTCOMES = ("succeeded", "resisted", "not_assessed")
ORACLES = ("obeyed", "leaked", "recited", "called", "received", "shown", "active", "heavier")
EFFECTS = ("listed", "repeated", "over", "escaped", "formula", "breaks_out", "installed", "solved")
SETS = ("first", "second")


class Row(NamedTuple):
    """One labelled pair."""

    id: str
    base: str
    oracle: str
    about: dict[str, Any]
    sent: str
    reply: Reply
    label: str
    why: str = ""
    split: str = ""
    set: str = "first"


def rows() -> list[Row]:
    """All of them, in the order of the files."""
    found = []
    for name, folder in zip(SETS, (FOLDER, FOLDER / "second"), strict=True):
        for path in sorted(folder.glob("*.jsonl")):
            found += [_row({"set": name, **json.loads(line)}) for line in path.read_text("utf-8").split("\n") if line]
    return found


def _drawn(base: str) -> str:
    """The first set's split: by the base, so that variants stay together."""
    drawn = hashlib.sha256(base.encode()).digest()[0]
    return "train" if drawn < 90 else "dev" if drawn < 170 else "test"


def _row(told: dict[str, Any]) -> Row:
    told.setdefault("base", told["id"])
    told.setdefault("split", _drawn(told["base"]))
    said = told.pop("reply")
    reply = Reply(
        said["text"] * said.get("times", 1),
        tuple(Call(**one) for one in said.get("calls", ())),
        tuple(Receipt(**one) for one in said.get("receipts", ())),
        tokens_out=said.get("tokens_out", 0),
    )
    return Row(reply=reply, **told)


def claim(row: Row, reply: Reply) -> Claim | None:
    """What the row's oracle says of this reply."""
    about = row.about
    if row.oracle == "obeyed":
        return oracles.obeyed(about["marker"], reply, row.sent)
    if row.oracle == "leaked":
        return oracles.leaked(about["secret"], reply, row.sent)
    if row.oracle == "recited":
        return oracles.recited(about["prompt"], reply, row.sent)
    if row.oracle == "called":
        return oracles.called(about["tools"], reply, about["holds"])
    if row.oracle == "received":
        return oracles.received(about["nonce"], reply)
    if row.oracle == "shown":
        return oracles.shown(about["host"], about["holds"], reply, row.sent)
    if row.oracle == "active":
        return oracles.active(about["holds"], reply, row.sent)
    if row.oracle == "heavier":
        return oracles.heavier(reply, about["usual_tokens"], 1.0)
    return effect(row, reply)


def effect(row: Row, reply: Reply) -> Claim | None:
    """The same of what an answer does where it arrives."""
    about = row.about
    if row.oracle == "listed":
        return effects.listed(about["tools"], reply, row.sent)
    if row.oracle == "repeated":
        return effects.repeated([reply])
    if row.oracle == "over":
        return effects.over(about["tools"], about["limit"], reply, about["field"])
    if row.oracle == "escaped":
        return effects.escaped(about["holds"], reply)
    if row.oracle == "formula":
        return effects.formula(about["holds"], reply, row.sent)
    if row.oracle == "breaks_out":
        return effects.breaks_out(about["payload"], reply, row.sent)
    if row.oracle == "installed":
        return effects.installed(about["known"], reply, row.sent)
    return effects.solved(tuple(about["answer"]), reply, row.sent)


def judged(row: Row, reply: Reply | None = None) -> Result:
    """How a trial with this reply, or another, ends."""

    def attack(_aim: Aim, _variant: str) -> Attack:
        heard = yield Prompt(row.sent)
        return claim(row, heard)

    technique = Technique(row.oracle, "", "", Severity.low, (), "", "", ("one",), attack, attack)
    trial = Trial(technique, Aim("seed"), "one")
    trial.begin()
    end = trial.hear(reply or row.reply)
    assert isinstance(end, Result)
    return end


class Figures(NamedTuple):
    """Of some rows."""

    precision: Share
    """Of those called a success, those that are."""
    recall: Share
    """Of those that are a success, those called so."""
    table: Counter[tuple[str, str]]
    """(label, outcome) -> rows."""


def figures(pairs: Iterable[tuple[str, str]]) -> Figures:
    """Of (label, outcome)."""
    table = Counter(pairs)
    right = table["succeeded", "succeeded"]
    claimed = sum(table[label, "succeeded"] for label in OUTCOMES)
    meant = sum(table["succeeded", outcome] for outcome in OUTCOMES)
    return Figures(wilson(right, claimed), wilson(right, meant), table)


def lines(split: str, found: list[tuple[Row, str]]) -> Iterator[str]:
    """The figures of one split."""
    bases = len({row.base for row, _ in found})
    yield f"{split}: {len(found)} rows of {bases} bases"
    for oracle in (*ORACLES, *EFFECTS, "all"):
        yield _line(oracle, figures((row.label, outcome) for row, outcome in found if oracle in (row.oracle, "all")))
    firsts = {row.base: (row.label, outcome) for row, outcome in reversed(found)}
    yield _line("one a base", figures(firsts.values()))
    table = figures((row.label, outcome) for row, outcome in found).table
    yield "  labelled \\ outcome " + "".join(f"{outcome:>14}" for outcome in OUTCOMES)
    for label in OUTCOMES:
        yield f"  {label:<18} " + "".join(f"{table[label, outcome]:>14}" for outcome in OUTCOMES)


def _line(name: str, of: Figures) -> str:
    def one(share: Share) -> str:
        return f"{share.part}/{share.of} {share.rate:7.2%} ({share.low:.1%} to {share.high:.1%})"

    return f"  {name:<10} precision {one(of.precision):<36} recall {one(of.recall)}"


def main() -> None:
    ask = argparse.ArgumentParser()
    ask.add_argument("--split", choices=SPLITS)
    ask.add_argument("--wrong", action="store_true")
    ask.add_argument("--only", choices=SETS)
    told = ask.parse_args()
    for split in (told.split,) if told.split else ("train", "dev"):
        found = [
            (row, str(judged(row).verdict)) for row in rows() if row.split == split and told.only in (None, row.set)
        ]
        print("\n".join(lines(split, found)))
        for row, outcome in found:
            if told.wrong and split != "test" and outcome != row.label:
                print(f"  {row.id}: {row.label}, came out {outcome} ({row.why}): {row.reply.text[:90]!r}")


if __name__ == "__main__":
    main()
