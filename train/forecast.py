"""What to expect on sources never seen: whole sets, languages and attack families left out in turn, and ablations. Tier one, smaller runs.

    python train/forecast.py --train TRAIN.jsonl.gz --dev DEV.jsonl.gz --base FOLDER [--size 30000] [--folds 0] [--out train/out/forecast.json]

Each run trains tier one from nothing without one group and ranks that group's attacks against benign rows the run has not seen (dev's, and the group's own
where it has some). Retraining tier two for each of some forty groups takes days on two cores; with --folds N the groups are dealt into N hands and tier two
is fine-tuned N times, each time without a whole hand, which leaves out more than it must. The cascade lies between the two.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import sources
import tier_one
import tier_two
from afterguard.jobs.judge_eval import auc, interval, recall
from build import capped, labels, margin, origins, weights
from compose import Composer, Row
from folding import tables
from meanings import meanings

FAMILIES = {
    "direct": ("direct", "planted_direct", "pasted_planted_direct"),
    "direct_classic": ("direct_classic", "planted_classic", "pasted_planted_classic"),
    "command": ("direct_command", "planted_command", "pasted_planted_command"),
    "extraction": ("extraction",),
    "jailbreak_long": ("jailbreak_long",),
    "jailbreak_short": ("jailbreak_short", "jailbreak_classic", "planted_jailbreak", "pasted_planted_jailbreak"),
    "bare_task": ("bare_task",),
    "addressed": ("addressed", "pasted_addressed"),
    "subtle": ("subtle", "pasted_subtle"),
}
LANGUAGES = ("vi", "zh", "ko", "ru", "es", "de", "ar", "hi", "tr", "ja")
BENIGN_PER_SET = 1_200


class Bench:
    """Rows read once; `without` trains on what a rule keeps."""

    def __init__(self, rows: list[Row], dev: list[Row], base: Path, epochs: int) -> None:
        fold, kind = tables()
        self.rows, self.dev, self.base, self.epochs = rows, dev, base, epochs
        self.meanings = meanings((row.text for row in rows), base, fold, kind)
        self.read = tier_one.prepared([row.text[:6_000] for row in rows], fold, kind)
        self.dev_read = tier_one.prepared([row.text[:6_000] for row in dev], fold, kind)

    def without(self, keeps: Any) -> tuple[np.ndarray, np.ndarray]:
        """(margins of dev, margins of the rows left out)."""
        at = [i for i, row in enumerate(self.rows) if keeps(row)]
        out = [i for i, row in enumerate(self.rows) if not keeps(row)]
        rows = [self.rows[i] for i in at]
        net = tier_one.train(
            [self.read[i] for i in at],
            origins(rows),
            labels(rows),
            weights(rows),
            meanings=self.meanings,
            focus=[row.focus for row in rows],
            epochs=self.epochs,
            log=lambda _: None,
        )
        dev = tier_one.margins(net, self.dev_read, origins(self.dev))
        left = (
            tier_one.margins(net, [self.read[i] for i in out], origins([self.rows[i] for i in out]))
            if out
            else np.zeros(0)
        )
        return dev, left

    def second_without(self, keeps: Any) -> tuple[np.ndarray, np.ndarray]:
        """The same of tier two, which reads one window of every text."""
        words = tier_two.vocabulary(self.base)

        def ids(rows: list[Row]) -> list[list[int]]:
            return tier_two.encoded([r.text for r in rows], origins(rows).tolist(), [r.focus for r in rows], words, 1)

        rows = [row for row in self.rows if keeps(row)]
        left = [row for row in self.rows if not keeps(row)]
        model = tier_two.train(tier_two.Judge(self.base), ids(rows), labels(rows), weights(rows), log=lambda _: None)
        return margin(tier_two.logits(model, ids(self.dev))), margin(tier_two.logits(model, ids(left)))


def figures(attack: np.ndarray, benign: np.ndarray) -> dict[str, Any]:
    return {
        "attacks": len(attack),
        "benign": len(benign),
        "auc": [auc(attack, benign), *interval(auc, attack, benign)],
        "recall_at_0.01": [recall(attack, benign, 0.01), *interval(lambda a, b: recall(a, b, 0.01), attack, benign)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True, help="folder of MiniLM-L6, as for build.py")
    parser.add_argument("--size", type=int, default=30_000)
    parser.add_argument("--folds", type=int, default=0, help="hands of groups left out of tier two")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "forecast.json")
    args = parser.parse_args()
    raw = sources.read(args.train)
    base = capped([sources.row(one) for one in raw if one["label"] != "harmful_request"], 3)
    seen: Counter[str] = Counter()
    thin = []
    for row in base:
        seen[row.source] += row.label == "benign"
        if row.label != "benign" or seen[row.source] <= BENIGN_PER_SET:
            thin.append(row)
    dev = sources.rows(args.dev)
    bench = Bench(thin + Composer(5, raw, late=True).rows(args.size), dev, args.base, args.epochs)
    benign = np.array([row.label == "benign" for row in dev])
    counts = np.array([row.source != "sep_probes" for row in dev])
    found: dict[str, Any] = {"ablation": {}, "family": {}, "language": {}, "set": {}}

    def note(kind: str, name: str, row: dict[str, Any]) -> None:
        found.setdefault(kind, {})[name] = row
        print(kind, name, {key: np.round(value, 3).tolist() for key, value in row.items()}, flush=True)
        args.out.write_text(json.dumps(found, indent=1))

    def on_dev(margins: np.ndarray) -> dict[str, Any]:
        return figures(margins[~benign & counts], margins[benign & counts])

    note("ablation", "everything", on_dev(bench.without(lambda _: True)[0]))
    note("ablation", "no generator", on_dev(bench.without(lambda row: row.source != "bank")[0]))
    note("ablation", "generator alone", on_dev(bench.without(lambda row: row.source == "bank")[0]))
    for name, group in FAMILIES.items():
        margins, left = bench.without(lambda row, group=group: row.family not in group)
        note("family", name, figures(left, margins[benign]))
    for lang in LANGUAGES:
        kept = [row for row in bench.rows if row.lang == lang]
        margins, left = bench.without(lambda row, lang=lang: row.lang != lang)
        attack = np.array([row.label != "benign" for row in kept])
        note("language", lang, figures(left[attack], left[~attack]))
    for name in sorted({row.source for row in bench.rows if row.source != "bank"}):
        kept = [row for row in bench.rows if row.source == name]
        margins, left = bench.without(lambda row, name=name: row.source != name)
        attack = np.array([row.label != "benign" for row in kept])
        row = on_dev(margins)
        if attack.any():
            row["left out"] = figures(left[attack], margins[benign])["auc"]
        if (~attack).any():
            limit = np.sort(margins[benign])[int(0.99 * benign.sum())]
            row["false positives at dev's 1 %"] = [float((left[~attack] > limit).mean())]
        note("set", name, row)
    groups: list[tuple[str, str, Any]] = [
        *(("family", name, lambda row, group=group: row.family in group) for name, group in FAMILIES.items()),
        *(("language", lang, lambda row, lang=lang: row.lang == lang) for lang in LANGUAGES),
        *(
            ("set", name, lambda row, name=name: row.source == name)
            for name in sorted({row.source for row in bench.rows if row.label != "benign" and row.source != "bank"})
        ),
    ]
    for hand in range(args.folds):
        dealt = groups[hand :: args.folds]
        is_out = [any(holds(row) for _, _, holds in dealt) for row in bench.rows]
        out = [row for row, gone in zip(bench.rows, is_out) if gone]
        margins, left = bench.second_without(lambda row, dealt=dealt: not any(holds(row) for _, _, holds in dealt))
        note("tier two, hand", str(hand + 1), on_dev(margins))
        for kind, name, holds in dealt:
            at = np.array([holds(row) and row.label != "benign" for row in out])
            note(f"tier two, {kind}", name, figures(left[at], margins[benign]))


if __name__ == "__main__":
    main()
