"""Attacks against our own judge: what is left of its recall under each disguise, in ten languages, and against an attacker who asks it again and again.

    python bench/judge_robustness.py [--count 150] [--point balanced] [--out FILE.json]

Texts are the attack rows of judge_forecast.jsonl, which no training saw. Disguises are those of train/text.py with another seed; training knows the kinds. The greedy
attacker appends or inserts the harmless word that lowers the score most, or changes the letter that does, up to a budget of queries.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "train"))

import text as disguises
from afterguard import judges
from afterguard.detect.judge import Judge, judge
from afterguard.jobs.judge_eval import ORIGIN, wilson

WORDS = [
    "thanks",
    "please",
    "garden",
    "meeting",
    "weather",
    "recipe",
    "homework",
    "football",
    "lovely",
    "invoice",
    "holiday",
    "question",
    "family",
    "Tuesday",
    "report",
    "coffee",
    "music",
    "history",
    "library",
    "delivery",
]
QUERIES = 120
"""Times the attacker may ask about one text."""


def caught(by: Judge, text: str, origin: str, point: str) -> bool:
    return judge(text, origin, by, point).label != "benign"


def score(by: Judge, text: str, origin: str) -> float:
    return judge(text, origin, by).score


def diluted(by: Judge, text: str, origin: str, limit: float, r: random.Random) -> tuple[bool, int, int]:
    """(evades, words added, queries): greedy insertion of harmless words."""
    queries, added, best = 0, 0, score(by, text, origin)
    while queries < QUERIES:
        trials = []
        for word in r.sample(WORDS, 8):
            parts = text.split(" ")
            at = r.choice([len(parts), 0, r.randrange(len(parts) + 1)])
            trial = " ".join([*parts[:at], word, *parts[at:]])
            trials.append((score(by, trial, origin), trial))
            queries += 1
        lowest, trial = min(trials)
        if lowest < best:
            best, text = lowest, trial
            added += 1
        if best < limit:
            return True, added, queries
    return False, added, queries


def perturbed(by: Judge, text: str, origin: str, limit: float, r: random.Random) -> tuple[bool, int, int]:
    """(evades, letters changed, queries): greedy change of single letters."""
    queries, changed, best = 0, 0, score(by, text, origin)
    while queries < QUERIES:
        trials = []
        for _ in range(8):
            at = r.randrange(len(text))
            new = r.choice(["", text[at] * 2, r.choice("abcdefghijklmnopqrstuvwxyz"), " "])
            trial = text[:at] + new + text[at + 1 :]
            trials.append((score(by, trial, origin), trial))
            queries += 1
        lowest, trial = min(trials)
        if lowest < best and trial.strip():
            best, text = lowest, trial
            changed += 1
        if best < limit:
            return True, changed, queries
    return False, changed, queries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--point", default="balanced")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    r = random.Random(7)
    by = judges.load()
    rows = [
        json.loads(line)
        for line in (Path(__file__).parent / "judge_forecast.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    attacks = [row for row in rows if row["label"] != "benign"]
    plain = [
        row for row in attacks if row["set"] not in ("own_disguised", "own_multilingual") and len(row["text"]) < 500
    ]
    r.shuffle(plain)
    plain = plain[: args.count]
    found: dict[str, Any] = {"model": by.name, "point": args.point}

    def note(name: str, hits: list[bool]) -> None:
        found[name] = [sum(hits), len(hits), *wilson(sum(hits), len(hits))]
        print(f"{name:<28} {sum(hits):>4} of {len(hits):<4} {sum(hits) / max(1, len(hits)):.0%}", flush=True)

    note("undisguised", [caught(by, row["text"], ORIGIN[row["kind"]], args.point) for row in plain])
    known = [row for row in plain if caught(by, row["text"], ORIGIN[row["kind"]], args.point)]
    mild = {fn.__name__: fn for fn in disguises.MILD}
    for name, fn in {**mild, **disguises.HEAVY}.items():
        note(f"disguise: {name}", [caught(by, fn(row["text"], r), ORIGIN[row["kind"]], args.point) for row in known])
    for lang in sorted({row["lang"] for row in attacks if row["set"] == "own_multilingual"}):
        some = [row for row in attacks if row["set"] == "own_multilingual" and row["lang"] == lang]
        note(f"language: {lang}", [caught(by, row["text"], ORIGIN[row["kind"]], args.point) for row in some])
    limit = by.points[args.point]
    for name, attacker in {"greedy dilution": diluted, "greedy letters": perturbed}.items():
        results = [attacker(by, row["text"], ORIGIN[row["kind"]], limit, r) for row in known[:60]]
        note(name + f", {QUERIES} queries: caught still", [not evades for evades, _, _ in results])
        steps = [count for evades, count, _ in results if evades]
        print(f"   median changes where it evades: {sorted(steps)[len(steps) // 2] if steps else '-'}")
    if args.out:
        args.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
