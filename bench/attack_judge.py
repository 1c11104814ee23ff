"""How often a model is wrong as judge of attacks: a plug-in on the labelled pairs of tests/attack/labelled.

    python bench/attack_judge.py NAME [--out RATING.json] [--journal RUN.jsonl]

In: the name of an installed plug-in (entry point group `afterguard.attack_judges`; its contract: src/afterguard/jobs/opinions.py). Out: of what it calls a success the share that is none, and the share of successes it saw, with Wilson intervals. All splits are counted: nobody tunes the oracles by it. --journal: then, and only then, its
opinions on the trials of that run, beside what the oracles said. They change nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import msgspec

import oracles
from afterguard.jobs import opinions
from afterguard.jobs.attack import Row


def pairs() -> list[opinions.Pair]:
    """The labelled rows as a judge sees them: calls and receipts in words."""
    return [opinions.Pair(row.sent, said(row.reply), row.label == "succeeded") for row in oracles.rows()]


def said(reply: oracles.Reply) -> str:
    """A reply as one text."""
    calls = [f"[called {call.name} with {call.arguments}]" for call in reply.calls]
    return "\n".join([reply.text, *calls, *(f"[outside: {one.kind}: {one.what}]" for one in reply.receipts)]).strip()


def trials(journal: Path) -> Iterator[opinions.Held]:
    """Trials of a run that came to an end."""
    turns: dict[str, list[Row]] = {}
    for line in journal.read_bytes().split(b"\n")[1:]:
        if not line:
            continue
        row = msgspec.json.decode(line, type=Row)
        if row.kind == "turn":
            turns.setdefault(row.trial, []).append(row)
        elif row.kind == "end" and row.result is not None:
            told = turns.get(row.trial, [])
            sent = "\n".join(one.prompt.sent() for one in told if one.prompt)
            heard = "\n".join(said(one.reply) for one in told if one.reply)
            yield opinions.Held(row.trial.partition("/")[0], sent, heard, str(row.result.verdict))


def main() -> None:
    ask = argparse.ArgumentParser()
    ask.add_argument("name")
    ask.add_argument("--out", type=Path)
    ask.add_argument("--journal", type=Path)
    told = ask.parse_args()
    judge = opinions.load(told.name)
    rating = opinions.rated(judge, pairs())
    if told.out:
        told.out.write_bytes(msgspec.json.encode(rating))
    found = opinions.beside(judge, rating, list(trials(told.journal))) if told.journal else opinions.lines(rating)
    print("\n".join(found))


if __name__ == "__main__":
    main()
