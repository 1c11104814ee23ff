"""Labelled texts -> how good the judge is: AUC, recall at given false-positive rates, false positives of every benign set at each point.

In: lines {"text", "label", "kind", "set"}. Out: a report as a dictionary, and as a table. Intervals are percentile bootstraps over rows (95 %, seeded); shares of few
rows carry Wilson's interval. `harmful_request` is no injection and is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from afterguard.detect import judge as judging
from afterguard.detect.judge import CLASSES, POINTS, Judge

ORIGIN = {
    "user_prompt": "user",
    "document": "document",
    "email": "document",
    "code": "document",
    "tool_output": "tool",
    "system_prompt": "system",
    "model_output": "model",
}
"""What a text is -> the channel it comes through."""
RATES = (0.01, 0.001)
ROUNDS = 400
Scores = NDArray[np.float64]


class Scored(NamedTuple):
    """One judged row."""

    set: str
    label: str
    lang: str
    score: float
    tier: str


def scored(
    lines: Iterable[bytes | None], by: Judge, tier: str, progress: Callable[[int], None] = lambda _: None
) -> tuple[list[Scored], int]:
    """(judged rows, lines that could not be read)."""
    out: list[Scored] = []
    unread = 0
    for line in lines:
        try:
            row = json.loads(line or b"")
            text, label = row["text"], row["label"]
            origin = row.get("origin") or ORIGIN[row.get("kind", "user_prompt")]
        except (ValueError, KeyError, TypeError, RecursionError):
            unread += 1
            continue
        if label == "harmful_request":
            continue
        if label not in CLASSES or not isinstance(text, str) or origin not in judging.ORIGINS:
            unread += 1
            continue
        found = judging.judge(text, origin, by, "balanced", tier)
        out.append(Scored(str(row.get("set", "")), label, str(row.get("lang", "")), found.score, found.tier))
        progress(len(out))
    return out, unread


def auc(attack: Scores, benign: Scores) -> float:
    """Probability that an attack scores above a benign text, ties half (Mann-Whitney)."""
    if not len(attack) or not len(benign):
        return math.nan
    order = np.sort(benign)
    below = np.searchsorted(order, attack, side="left")
    upto = np.searchsorted(order, attack, side="right")
    return float((below + upto).mean() / 2 / len(benign))


def recall(attack: Scores, benign: Scores, rate: float) -> float:
    """Share of attacks above the score that at most `rate` of the benign texts exceed."""
    if not len(attack) or not len(benign):
        return math.nan
    order = np.sort(benign)[::-1]
    return float((attack > order[min(int(rate * len(order)), len(order) - 1)]).mean())


def interval(measure: Callable[[Scores, Scores], float], attack: Scores, benign: Scores, seed: int = 1) -> list[float]:
    """95 % percentile bootstrap."""
    if not len(attack) or not len(benign):
        return [math.nan, math.nan]
    rng = np.random.default_rng(seed)
    values = [measure(rng.choice(attack, len(attack)), rng.choice(benign, len(benign))) for _ in range(ROUNDS)]
    return [float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))]


def wilson(hits: int, count: int) -> list[float]:
    """95 % interval of a share (Wilson 1927)."""
    if not count:
        return [math.nan, math.nan]
    z, p = 1.96, hits / count
    middle, spread = p + z * z / (2 * count), z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return [max(0.0, (middle - spread) / (1 + z * z / count)), min(1.0, (middle + spread) / (1 + z * z / count))]


def report(rows: list[Scored], by: Judge, tier: str, without: tuple[str, ...], unread: int) -> dict[str, Any]:
    """Everything that is known about the judge on these rows."""
    points = by.tier_one_points if tier == "one" or by.two is None else by.points
    pools = {"all": rows}
    if without:
        pools["all but " + ", ".join(without)] = [row for row in rows if row.set not in without]
    found: dict[str, Any] = _without_nan(
        {
            "format": "afterguard.detect-eval/1",
            "model": by.name,
            "tier": tier,
            "rows": len(rows),
            "unread": unread,
            "points": dict(points),
            "pooled": {name: _pooled(part, points) for name, part in pools.items()},
            "sets": {name: _set(name, rows, points) for name in sorted({row.set for row in rows})},
        }
    )
    return found


def _without_nan(found: Any) -> Any:
    """JSON has no NaN: what cannot be said is null."""
    if isinstance(found, dict):
        return {name: _without_nan(value) for name, value in found.items()}
    if isinstance(found, list):
        return [_without_nan(value) for value in found]
    return None if isinstance(found, float) and math.isnan(found) else found


def _split(rows: list[Scored]) -> tuple[Scores, Scores]:
    attack = np.array([row.score for row in rows if row.label != "benign"])
    benign = np.array([row.score for row in rows if row.label == "benign"])
    return attack, benign


def _pooled(rows: list[Scored], points: Any) -> dict[str, Any]:
    attack, benign = _split(rows)
    out: dict[str, Any] = {"attacks": len(attack), "benign": len(benign)}
    out["auc"] = [auc(attack, benign), *interval(auc, attack, benign)]
    for rate in RATES:
        at_rate = partial(recall, rate=rate)
        out[f"recall_at_{rate:g}"] = [at_rate(attack, benign), *interval(at_rate, attack, benign)]
    out["points"] = _points(attack, benign, points)
    out["tier_two"] = {
        "attacks": _share(row.tier == "two" for row in rows if row.label != "benign"),
        "benign": _share(row.tier == "two" for row in rows if row.label == "benign"),
    }
    return out


def _points(attack: Scores, benign: Scores, points: Any) -> dict[str, Any]:
    out = {}
    for name in POINTS:
        caught, alarms = int((attack >= points[name]).sum()), int((benign >= points[name]).sum())
        out[name] = {
            "recall": [caught / len(attack), *wilson(caught, len(attack))] if len(attack) else None,
            "false_positives": [alarms / len(benign), *wilson(alarms, len(benign))] if len(benign) else None,
        }
    return out


def _share(values: Iterable[bool]) -> float:
    rows = list(values)
    return sum(rows) / len(rows) if rows else math.nan


def _set(name: str, rows: list[Scored], points: Any) -> dict[str, Any]:
    """A set has rarely both kinds: its attacks are ranked against the benign rows of all sets where it has none of its own."""
    own = [row for row in rows if row.set == name]
    attack, benign = _split(own)
    against = benign if len(benign) >= 20 else _split(rows)[1]
    out: dict[str, Any] = {"attacks": len(attack), "benign": len(benign), "own_benign": len(benign) >= 20}
    if len(attack):
        out["auc"] = [auc(attack, against), *interval(auc, attack, against)]
    out["points"] = _points(attack, benign, points)
    return out


def table(found: dict[str, Any]) -> str:
    """The report for a person."""
    out = [f"judge {found['model']}, tier {found['tier']}: {found['rows']:,} rows, {found['unread']:,} unread\n"]
    for name, row in found["pooled"].items():
        out.append(f"\nPooled, {name}: {row['attacks']:,} attacks, {row['benign']:,} benign")
        out.append(f"  AUC                       {_three(row['auc'], 1)}")
        for rate in RATES:
            out.append(f"  recall at {rate:.1%} false pos.  {_three(row[f'recall_at_{rate:g}'], 100)} %")
        for point in POINTS:
            one = row["points"][point]
            out.append(
                f"  {point:<9} recall {_three(one['recall'], 100)} %   false positives {_three(one['false_positives'], 100)} %"
            )
        out.append(
            f"  seen by tier two: {_percent(row['tier_two']['attacks'])} of attacks, {_percent(row['tier_two']['benign'])} of benign texts"
        )
    out.append(
        f"\n{'set':<28}{'attacks':>8}{'benign':>8}  {'AUC':<22}" + "".join(f"{p + ' rec/fp %':>20}" for p in POINTS)
    )
    for name, row in found["sets"].items():
        shares = []
        for point in POINTS:
            one = row["points"][point]
            caught = f"{one['recall'][0] * 100:.1f}" if one["recall"] else "-"
            alarms = f"{one['false_positives'][0] * 100:.2f}" if one["false_positives"] else "-"
            shares.append(f"{caught + ' / ' + alarms:>20}")
        mark = "" if row["own_benign"] or "auc" not in row else " *"
        curve = _three(row["auc"], 1) + mark if "auc" in row else "-"
        out.append(f"{name[:27]:<28}{row['attacks']:>8}{row['benign']:>8}  {curve:<22}" + "".join(shares))
    out.append("\n* against the benign rows of all sets. Brackets: 95 % intervals (bootstrap; shares: Wilson).\n")
    return "\n".join(out)


def _three(values: list[float] | None, by: float) -> str:
    if not values or None in values:
        return "-"
    digits = 3 if by == 1 else 1
    return f"{values[0] * by:.{digits}f} [{values[1] * by:.{digits}f}, {values[2] * by:.{digits}f}]"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
