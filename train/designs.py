"""Designs for tier one that lost, and the one that ships, trained on the same rows: what is the least that ranks well?

    python train/designs.py --train TRAIN.jsonl.gz --dev DEV.jsonl.gz --base FOLDER [--size 40000]

In: the training file's rows and generated ones, without tier two's opinions (but for the row that says so, where train/out/tier-two-second.pt is). Out: one line a
design: area under the curve and recall at 1 % false positives on dev without sep_probes, and microseconds a text of dev.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_union

import sources
import tier_one
import tier_two
from afterguard.jobs.judge_eval import auc, recall
from build import OUT, capped, labels, margin, origins, weights
from compose import Composer, Row
from folding import tables
from meanings import Meanings, meanings

Score = Callable[[list[Row]], np.ndarray]


def linear(rows: list[Row]) -> Score:
    """Words and pairs of words, letters by three to five; the origin as a word."""
    shape = make_union(
        HashingVectorizer(ngram_range=(1, 2), n_features=1 << 19),
        HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), n_features=1 << 19),
    )

    def seen(some: list[Row]) -> list[str]:
        return [f"origin{row.origin} {row.text[:6_000]}" for row in some]

    fit = SGDClassifier(loss="log_loss", alpha=2e-6, random_state=1)
    fit.fit(shape.transform(seen(rows)), labels(rows) > 0, sample_weight=weights(rows))
    return lambda some: fit.decision_function(shape.transform(seen(some)))


def static(rows: list[Row], known: Meanings, fold: np.ndarray, kind: np.ndarray) -> Score:
    """Mean and largest value of the words' fixed vectors, boosted trees on top."""

    def features(some: list[Row]) -> np.ndarray:
        out = np.zeros((len(some), known.word.shape[1] * 2 + 1), np.float32)
        for i, (row, read) in enumerate(zip(some, tier_one.prepared([r.text[:6_000] for r in some], fold, kind))):
            if len(read.word):
                vectors = known.word[read.word]
                out[i] = [*vectors.mean(0), *vectors.max(0), tier_one.ORIGINS.index(row.origin)]
        return out

    fit = HistGradientBoostingClassifier(max_iter=300, random_state=1)
    fit.fit(features(rows), labels(rows) > 0, sample_weight=weights(rows))
    return lambda some: fit.decision_function(features(some))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--size", type=int, default=40_000)
    args = parser.parse_args()
    raw = sources.read(args.train)
    rows = capped([sources.row(one) for one in raw if one["label"] != "harmful_request"], 1)
    rows += Composer(7, raw, late=True).rows(args.size)
    dev = [row for row in sources.rows(args.dev) if row.source != "sep_probes"]
    attack = labels(dev) > 0
    fold, kind = tables()
    known = meanings((row.text for row in rows), args.base, fold, kind)
    read = tier_one.prepared([row.text[:6_000] for row in rows], fold, kind)

    def tell(name: str, score: Score) -> None:
        began = time.perf_counter()
        margins = score(dev)
        took = (time.perf_counter() - began) / len(dev) * 1e6
        a, b = margins[attack], margins[~attack]
        print(f"{name:45s} auc {auc(a, b):.3f}  recall at 1 % {recall(a, b, 0.01):.3f}  {took:.0f} us", flush=True)

    def convolution(vectors: Meanings | None, teacher: np.ndarray | None) -> Score:
        net = tier_one.train(
            read,
            origins(rows),
            labels(rows),
            weights(rows),
            meanings=vectors,
            teacher=teacher,
            focus=[row.focus for row in rows],
            epochs=3,
            log=lambda _: None,
        )
        return lambda some: tier_one.margins(
            net, tier_one.prepared([row.text for row in some], fold, kind), origins(some)
        )

    tell("linear, hashed n-grams", linear(rows))
    tell("static vectors, boosted trees", static(rows, known, fold, kind))
    tell("convolution", convolution(None, None))
    tell("convolution with word meanings", convolution(known, None))
    if (OUT / "tier-two-second.pt").exists():
        model = tier_two.Judge(args.base)
        model.load_state_dict(torch.load(OUT / "tier-two-second.pt"))
        words = tier_two.vocabulary(args.base)

        def opinion(some: list[Row]) -> np.ndarray:
            ids = tier_two.encoded([r.text for r in some], origins(some).tolist(), [r.focus for r in some], words, 1)
            return margin(tier_two.logits(model, ids))

        teacher = np.full(len(rows), np.nan)
        short = [i for i, row in enumerate(rows) if len(row.text) < 450 or row.focus >= 0]
        teacher[short] = opinion([rows[i] for i in short])
        tell("convolution with meanings and tier two's opinion", convolution(known, teacher))
        tell("tier two on everything, one window", opinion)


if __name__ == "__main__":
    main()
