"""What the features of a model may be, and what of a request is otherwise: missing, extra, of another type, out of range, an unseen category, not finite.

In: a Batch and a Schema, given by the operator (a file, an MLflow signature, KServe metadata) or learned from traffic (feature_profile). Out: at most one Hit a feature and kind, with how many rows it is about. Values are
never shown beyond what a person needs to tell a slip from an attempt: numbers are, texts are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from afterguard.model import Batch, Confidence, Hit, Severity

ID = "feature-schema"
TAXONOMIES = ("AML.T0015", "AML.T0043", "CWE-20", "CWE-1287")
KINDS = ("feature_missing", "feature_extra", "feature_type", "feature_range", "feature_category", "feature_not_finite")
HITS = 40
"""Hits of one request; of more features the rest is counted in the last."""
Kind = Literal["number", "bool", "text", "any"]


class Feature(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One feature. Where nothing is said everything is allowed."""

    kind: Kind = "any"
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    """Categories, where they are few and known."""
    required: bool = True
    finite: bool = True
    """Whether NaN and infinity are a hit; a missing cell is one of `required`."""


class Schema(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The features of one model."""

    features: dict[str, Feature]
    extra: bool = False
    """Whether other features may come too."""
    learned: int = 0
    """Rows it was learned from; 0: given."""


class _Plan(NamedTuple):
    """A schema laid over the columns of a batch."""

    low: np.ndarray[Any, Any]
    high: np.ndarray[Any, Any]
    missing: tuple[str, ...]
    extra: tuple[str, ...]


class Checked:
    """A schema ready to be asked: what depends on the names alone is worked out once for each order of names."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._values = {name: frozenset(one.values) for name, one in schema.features.items() if one.values}

    def look(self, batch: Batch, exchange: str) -> list[Hit]:
        """What is otherwise than agreed."""
        plan = self._plans.get(batch.names)
        if plan is None:
            if len(self._plans) >= 32:
                self._plans.clear()
            plan = self._plans[batch.names] = self._planned(batch.names)
        found = list(self._found(batch, plan, exchange))
        if len(found) > HITS:
            last = found[HITS - 1]
            rule = f"{last.rule}; and {len(found) - HITS} more"
            found = [*found[: HITS - 1], msgspec.structs.replace(last, rule=rule)]
        return found

    def _planned(self, names: tuple[str, ...]) -> _Plan:
        known = self.schema.features
        rows = [known.get(name) for name in names]
        low = np.array([-np.inf if one is None or one.low is None else one.low for one in rows])
        high = np.array([np.inf if one is None or one.high is None else one.high for one in rows])
        here = set(names)
        missing = tuple(name for name, one in known.items() if one.required and name not in here)
        extra = () if self.schema.extra else tuple(name for name in names if name not in known)
        return _Plan(low, high, missing, extra)

    def _found(self, batch: Batch, plan: _Plan, exchange: str) -> Iterator[Hit]:
        for name in plan.missing:
            yield self._hit("feature_missing", name, exchange, f"feature {name} is missing")
        for name in plan.extra:
            yield self._hit("feature_extra", name, exchange, f"feature {name} is not one of the model's")
        yield from self._typed(batch, exchange)
        yield from self._ranged(batch, plan, exchange)
        yield from self._categories(batch, exchange)

    def _typed(self, batch: Batch, exchange: str) -> Iterator[Hit]:
        for name, kind in zip(batch.names, batch.kinds):
            feature = self.schema.features.get(name)
            if feature is None or feature.kind == "any":
                continue
            if kind == "missing" and feature.required:
                yield self._hit("feature_missing", name, exchange, f"feature {name} has no value")
            elif kind not in ("missing", feature.kind) and not (feature.kind == "bool" and kind == "number"):
                yield self._hit(
                    "feature_type", name, exchange, f"feature {name} is {kind} where {feature.kind} was agreed"
                )

    def _ranged(self, batch: Batch, plan: _Plan, exchange: str) -> Iterator[Hit]:
        with np.errstate(invalid="ignore"):
            out = (batch.numbers < plan.low) | (batch.numbers > plan.high)
        strange = ~np.isfinite(batch.numbers)
        for place in np.flatnonzero(out.any(axis=0)).tolist():
            column = batch.numbers[:, place]
            rows = np.flatnonzero(out[:, place])
            name = batch.names[place]
            said = f"feature {name} is {column[rows[0]]:.6g}, outside {plan.low[place]:.6g} to {plan.high[place]:.6g}"
            yield self._hit("feature_range", name, exchange, said + _rows(len(rows), batch))
        for place in np.flatnonzero(strange.any(axis=0)).tolist():
            name = batch.names[place]
            feature = self.schema.features.get(name)
            if place in batch.texts or batch.kinds[place] == "missing" or (feature is not None and not feature.finite):
                continue
            count = int(strange[:, place].sum())
            yield self._hit(
                "feature_not_finite", name, exchange, f"feature {name} is no finite number" + _rows(count, batch)
            )

    def _categories(self, batch: Batch, exchange: str) -> Iterator[Hit]:
        for place, texts in batch.texts.items():
            known = self._values.get(batch.names[place])
            if known is None:
                continue
            strange = sum(1 for text in texts if text and text not in known)
            if strange:
                said = f"feature {batch.names[place]} has a value that is none of its {len(known)} categories"
                yield self._hit("feature_category", batch.names[place], exchange, said + _rows(strange, batch))

    def _hit(self, kind: str, name: str, exchange: str, rule: str) -> Hit:
        learned = self.schema.learned
        return Hit(
            detector=ID,
            kind=kind,
            severity=Severity.medium if kind != "feature_extra" else Severity.low,
            confidence=Confidence.high if not learned else Confidence.medium if learned >= 5_000 else Confidence.low,
            exchange=exchange,
            taxonomies=TAXONOMIES,
            excerpt=rule[:240],
            cause=f"feature {name}"[:200],
            rule=(rule if not learned else f"{rule} (learned from {learned} rows)")[:500],
            would_change="the application now sends other features"
            if not learned
            else "a schema of your own that allows it",
        )


def _rows(count: int, batch: Batch) -> str:
    return "" if batch.rows == 1 else f", in {count} of {batch.rows} rows"
