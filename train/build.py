"""From banks and labelled text to the weights that ship: python train/build.py --train TRAIN.jsonl.gz --dev DEV.jsonl.gz --base FOLDER.

Stages, each kept in train/out/ and made again only when missing: two parts of tier two, its opinion of fresh rows, the glance, a third part with it,
tier one, files, calibration and operating points (on dev alone). Seeded throughout; with another number of threads or another torch the last digits differ. About two hours on two cores,
minutes on a GPU (--device cuda). Dev is for choosing only: nothing is trained on it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

import glance
import sources
import tier_one
import tier_two
from afterguard.detect.judge.tier_one import CLASSES, ORIGINS
from compose import Composer, Row
from folding import tables
from meanings import meanings

OUT = Path(__file__).parent / "out"
SHIPPED = Path(__file__).parent.parent / "src" / "afterguard" / "catalog" / "judge"
BASE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sentence-transformers/all-MiniLM-L6-v2, model.safetensors at revision 1110a243fdf4706b3f48f1d95db1a4f5529b4d41."""
BENIGN_CAP = {"t0_p3_tasks": 5_000, "clinc_oos": 2_000, "gpteacher_roleplay": 2_000, "bfcl": 2_000}
"""Rows of one benign set that tier two sees; tier one sees all of them."""
OLD = 6_000
"""Rows of the training file that tier two sees again in its second part."""


def origins(rows: list[Row]) -> np.ndarray:
    return np.array([ORIGINS.index(row.origin) for row in rows])


def labels(rows: list[Row]) -> np.ndarray:
    return np.array([CLASSES.index(row.label) for row in rows])


def weights(rows: list[Row]) -> np.ndarray:
    return np.array([1.0 if row.source == "bank" else 0.6 for row in rows])


def capped(rows: list[Row], seed: int) -> list[Row]:
    """Rows with the large benign sets thinned."""
    rows = rows[:]
    random.Random(seed).shuffle(rows)
    seen: dict[str, int] = {}
    out = []
    for row in rows:
        seen[row.source] = seen.get(row.source, 0) + (row.label == "benign")
        if row.label != "benign" or seen[row.source] <= BENIGN_CAP.get(row.source, 10**9):
            out.append(row)
    return out


def margin(logits: np.ndarray) -> np.ndarray:
    """Log odds of attack of class logits."""
    return np.logaddexp.reduce(logits[:, 1:], axis=1) - logits[:, 0]


def encoded(args: argparse.Namespace, rows: list[Row], seed: int) -> list[list[int]]:
    """One window of word pieces a row."""
    words = tier_two.vocabulary(args.base)
    return tier_two.encoded([r.text for r in rows], origins(rows).tolist(), [r.focus for r in rows], words, seed)


def tuned(
    args: argparse.Namespace,
    model: tier_two.Judge,
    rows: list[Row],
    seed: int,
    rate: float,
    early: glance.Glance | None = None,
) -> None:
    """One part of tier two's training, in place."""
    ids = encoded(args, rows, seed)
    print(f"tier two: {len(ids):,} rows, {sum(map(len, ids)):,} pieces", flush=True)
    tier_two.train(
        model,
        ids,
        labels(rows),
        weights(rows),
        seed=seed,
        epochs=args.epochs,
        rate=rate,
        device=args.device,
        log=lambda text: print(text, flush=True),
        early=early,
    )


def first_part(args: argparse.Namespace, rows: list[Row]) -> tier_two.Judge:
    """Tier two from the base model, without the late banks; or as kept."""
    model = tier_two.Judge(args.base)
    kept = OUT / "tier-two.pt"
    if kept.exists():
        model.load_state_dict(torch.load(kept))
        return model.eval()
    tuned(args, model, capped(rows, args.seed), args.seed, 1.2e-4)
    torch.save(model.state_dict(), kept)
    return model


def second_part(args: argparse.Namespace, model: tier_two.Judge, base: list[Row], raw: list[dict[str, Any]]) -> None:
    """It goes on with every bank, the late ones too, at half the rate; or as kept."""
    kept = OUT / "tier-two-second.pt"
    if kept.exists():
        model.load_state_dict(torch.load(kept))
        model.eval()
        return
    seed = args.seed + 2
    tuned(args, model, capped(base, seed)[:OLD] + Composer(seed, raw, late=True).rows(args.second), seed, 6e-5)
    torch.save(model.state_dict(), kept)


def third_part(
    args: argparse.Namespace, model: tier_two.Judge, early: glance.Glance, base: list[Row], raw: list[dict[str, Any]]
) -> None:
    """Short: network and glance learn together, so that the first layers learn to say what the whole says. Or as kept."""
    kept = OUT / "tier-two-joined.pt"
    if kept.exists():
        both = torch.load(kept)
        model.load_state_dict(both["network"])
        early.load_state_dict(both["glance"])
        return
    seed = args.seed + 4
    rows = capped(base, seed)[: OLD // 2] + Composer(seed, raw, late=True).rows(args.third)
    tuned(args, model, rows, seed, 8e-5, early)
    torch.save({"network": model.state_dict(), "glance": early.state_dict()}, kept)


def opinions(args: argparse.Namespace, model: tier_two.Judge, rows: list[Row]) -> np.ndarray:
    """Tier two's log odds of rows short enough to be read whole; nan for the others."""
    kept = OUT / "opinions.npy"
    if kept.exists():
        return np.load(kept)
    out = np.full(len(rows), np.nan)
    short = [i for i, row in enumerate(rows) if len(row.text) < 450 or row.focus >= 0]
    out[short] = margin(tier_two.logits(model, encoded(args, [rows[i] for i in short], args.seed)))
    np.save(kept, out)
    return out


def first_layers(
    args: argparse.Namespace, model: tier_two.Judge, base: list[Row], raw: list[dict[str, Any]]
) -> glance.Glance:
    """The glance as it begins the third part, trained on the network's opinion of fresh rows; or as kept."""
    kept = OUT / "glance.pt"
    found = glance.Glance()
    if kept.exists():
        found.load_state_dict(torch.load(kept))
        return found.eval()
    rows = capped(base, args.seed + 3)[:5_000]
    rows += Composer(args.seed + 3, raw, late=True).rows(glance.ROWS)
    ids = encoded(args, rows, args.seed + 3)
    found = glance.train(model, ids, margin(tier_two.logits(model, ids)), labels(rows) > 0, args.seed)
    torch.save(found.state_dict(), kept)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument(
        "--base", type=Path, required=True, help="folder with config.json, model.safetensors and vocab.txt of MiniLM-L6"
    )
    parser.add_argument("--size", type=int, default=48_000, help="generated rows for tier two")
    parser.add_argument("--second", type=int, default=40_000, help="generated rows for the second part of tier two")
    parser.add_argument("--third", type=int, default=20_000, help="generated rows for the third part")
    parser.add_argument("--fresh", type=int, default=130_000, help="generated rows of another seed, for tier one")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--version", default="1")
    args = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    if hashlib.sha256((args.base / "model.safetensors").read_bytes()).hexdigest() != BASE_SHA256:
        print("the base model is not the one the model card names; the figures will differ", flush=True)
    raw = sources.read(args.train)
    base = [sources.row(one) for one in raw if one["label"] != "harmful_request"]
    model = first_part(args, base + Composer(args.seed, raw).rows(args.size))
    second_part(args, model, base, raw)
    fresh = base + Composer(args.seed + 1, raw, late=True).rows(args.fresh)
    teacher = opinions(args, model, fresh)
    early = first_layers(args, model, base, raw)
    third_part(args, model, early, base, raw)
    fold, kind = tables()
    net_path = OUT / "tier-one.pt"
    net = tier_one.Net()
    if net_path.exists():
        net.load_state_dict(torch.load(net_path))
        net.eval()
    else:
        read = tier_one.prepared([row.text for row in fresh], fold, kind)
        net = tier_one.train(
            read,
            origins(fresh),
            labels(fresh),
            weights(fresh),
            meanings=meanings((row.text for row in fresh), args.base, fold, kind),
            teacher=teacher,
            focus=[row.focus for row in fresh],
            seed=args.seed,
            epochs=6,
            log=lambda text: print(text, flush=True),
        )
        torch.save(net.state_dict(), net_path)
    write(args, net, model, early, fold, kind)


def write(
    args: argparse.Namespace,
    net: tier_one.Net,
    model: tier_two.Judge,
    early: glance.Glance,
    fold: np.ndarray,
    kind: np.ndarray,
) -> None:
    """The files that ship, with provisional calibration; then the calibration from dev."""
    from calibrate import calibrated

    SHIPPED.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {"fold": fold, "kind": kind, **tier_one.arrays(net)}
    save_file(arrays, SHIPPED / "tier-one.safetensors")
    if not (OUT / "tier-two.onnx").exists():
        tier_two.export(model, early, glance.LAYERS, OUT)
    for name in ("glance.onnx", "tier-two.onnx"):
        shutil.copy(OUT / name, SHIPPED / name)
    shutil.copy(args.base / "vocab.txt", SHIPPED / "vocab.txt")
    sheet = {
        "format": "afterguard.judge/1",
        "version": args.version,
        "classes": list(CLASSES),
        "tier_one": "tier-one.safetensors",
        "glance": "glance.onnx",
        "glance_length": glance.PIECES,
        "tier_two": "tier-two.onnx",
        "vocabulary": "vocab.txt",
        "length": tier_two.LENGTH,
    }
    sheet["sha256"] = {
        name: hashlib.sha256((SHIPPED / name).read_bytes()).hexdigest()
        for name in ("tier-one.safetensors", "glance.onnx", "tier-two.onnx", "vocab.txt")
    }
    sheet |= calibrated(sheet, SHIPPED, sources.rows(args.dev))
    (SHIPPED / "judge.json").write_text(json.dumps(sheet, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: sheet[name] for name in ("calibration", "points", "tier_one_points")}, indent=1))


if __name__ == "__main__":
    main()
