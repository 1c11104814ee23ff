"""Yearly sums as what a report shows: quantiles, the chance to exceed an amount, its band.

In: yearly sums and which parameter draw each year belongs to. Out: plain floats. Nothing is rounded here.
"""

from __future__ import annotations

import numpy as np

from afterguard.model import Range
from afterguard.risk.simulate import Floats

POINTS = 60


def spread(values: Floats) -> Range:
    """10th, 50th and 90th percentile; zeros for no values."""
    if not len(values):
        return Range(0.0, 0.0, 0.0)
    low, middle, high = (float(value) for value in np.quantile(values, (0.1, 0.5, 0.9)))
    return Range(low, middle, high)


def exceedance(years: Floats) -> tuple[tuple[float, float], ...]:
    """(loss, share of years that lose more), ascending in loss; empty where no year loses anything."""
    ordered = np.sort(years)
    return tuple(
        (float(at), float(len(ordered) - np.searchsorted(ordered, at, side="right")) / len(ordered))
        for at in _points(years)
    )


def _points(years: Floats) -> Floats:
    losses = years[years > 0]
    if not len(losses):
        return np.zeros(0)
    low, high = float(np.quantile(losses, 0.02)), float(losses.max())
    out: Floats = np.geomspace(max(low, 1e-9), max(high, low, 1e-9), POINTS)
    return out


def band(years: Floats, size: int) -> tuple[tuple[float, float, float], ...]:
    """(loss, 10th, 90th percentile over parameter draws of the chance to exceed it).

    Each draw has few years, so its share is noisy: deviations are shrunk by the part of their variance that p(1-p)/n
    explains, and what remains is uncertainty about parameters.
    """
    points = _points(years)
    inner = len(years) // size
    if not len(points) or size < 20 or inner < 2:
        return ()
    table = years[: size * inner].reshape(size, inner)
    out = []
    for at in points:
        share = (table > at).mean(axis=1)
        mean = float(share.mean())
        noise = mean * (1 - mean) / inner
        seen = float(share.var())
        keep = np.sqrt(max(0.0, 1.0 - noise / seen)) if seen > 0 else 0.0
        low, high = np.quantile(mean + keep * (share - mean), (0.1, 0.9))
        # Far out most draws never get there and the mean lies above their 90th percentile: the band still holds the curve.
        out.append((float(at), float(max(0.0, min(low, mean))), float(min(1.0, max(high, mean)))))
    return tuple(out)


def where(limits: tuple[tuple[float, float, float], ...], chance: float, middle: float) -> Range:
    """The losses at which the two edges of a band fall to a chance, about the middle curve's loss."""
    low = max((loss for loss, edge, _ in limits if edge > chance), default=0.0 if limits else middle)
    high = max((loss for loss, _, edge in limits if edge > chance), default=middle)
    return Range(min(low, middle), middle, max(high, middle))
