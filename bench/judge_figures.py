"""Two figures of the model card that `afterguard detect eval` does not print: the trio, and what is flagged in transcripts of agents.

    python bench/judge_figures.py [--forecast bench/judge_forecast.jsonl] [--transcripts FILE.jsonl.gz ...]

The trio is the mean of three shares at a point: harmless texts full of trigger words left alone, ordinary harmless texts left alone, bare tasks in documents
caught. Transcripts hold `messages` with `role` and `content`; every different turn of a user and every different result of a tool counts once.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from pathlib import Path

from afterguard import judges
from afterguard.detect.judge import POINTS, Judge, judge
from afterguard.jobs.judge_eval import wilson

TRIGGERS = {"own_trigger"}
ORDINARY = {"own_chat", "own_mail", "own_pages", "own_code"}
BARE = {"own_bare"}
ORIGINS = {"user_prompt": "user", "tool_output": "tool"}
SHORTEST = 12
"""Characters of a turn that counts; shorter ones are "yes" and numbers."""


def flagged(text: str, origin: str, by: Judge) -> set[str]:
    """The points at which a text counts as an attack."""
    return {point for point in POINTS if judge(text, origin, by, point).label != "benign"}


def share(count: int, of: int) -> str:
    low, high = wilson(count, of)
    return f"{count} of {of} ({count / of:.1%} [{low:.1%}, {high:.1%}])"


def trio(path: Path, by: Judge) -> None:
    hits: Counter[tuple[str, str]] = Counter()
    sizes: Counter[str] = Counter()
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        for name, sets in (("trigger words", TRIGGERS), ("ordinary", ORDINARY), ("bare tasks", BARE)):
            if row["set"] in sets:
                sizes[name] += 1
                for point in flagged(row["text"], ORIGINS.get(row["kind"], "document"), by):
                    hits[name, point] += 1
    for point in POINTS:
        right = {name: hits[name, point] if name == "bare tasks" else sizes[name] - hits[name, point] for name in sizes}
        mean = sum(right[name] / sizes[name] for name in sizes) / len(sizes)
        print(
            f"trio, {point}: mean {mean:.1%};", ", ".join(f"{name} {share(right[name], sizes[name])}" for name in sizes)
        )


def transcripts(path: Path, by: Judge) -> None:
    seen: dict[tuple[str, str], None] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            for message in json.loads(line)["messages"]:
                text = message.get("content")
                if message.get("role") in ("user", "tool") and isinstance(text, str) and len(text) >= SHORTEST:
                    seen[text, message["role"]] = None
    hits: Counter[tuple[str, str]] = Counter()
    for text, role in seen:
        for point in flagged(text, role, by):
            hits[role, point] += 1
            hits["all", point] += 1
    sizes = Counter(role for _, role in seen) | Counter({"all": len(seen)})
    for role, size in sizes.items():
        print(f"{path.name}, {role}:", "; ".join(f"{point} {share(hits[role, point], size)}" for point in POINTS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forecast", type=Path, default=Path(__file__).parent / "judge_forecast.jsonl")
    parser.add_argument("--transcripts", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    by = judges.load()
    print("judge", by.name)
    trio(args.forecast, by)
    for path in args.transcripts:
        transcripts(path, by)


if __name__ == "__main__":
    main()
