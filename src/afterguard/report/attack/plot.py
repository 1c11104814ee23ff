"""Rates with their intervals as a picture: a row for each technique that says anything, worst first.

In: families. Out: one SVG as report/plots.py makes them; "" where nothing was assessed. The table beside it says the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from afterguard.model import Family
from afterguard.report import plots
from afterguard.safe import line

ROW = 30
TWO = 44
"""Height of a row with its label above, where there is no room beside."""
LABEL = 400
MOST = 80
WIDE = 920
"""Width at which it is drawn for a desk: names of techniques are long."""


def rates(families: Sequence[Family], *, width: int = WIDE, ident: str = "rates") -> Markup:
    """The intervals."""
    rows = [one for one in families if one.share.of][:MOST]
    if not rows:
        return Markup("")
    is_narrow = width < 500
    left, right, step = (6, width - 62, TWO) if is_narrow else (LABEL, width - 66, ROW)
    bottom = len(rows) * step + 26
    body = _axis(left, right, bottom)
    for index, one in enumerate(rows):
        top = 26 + index * step
        body += _row(one, left, right, top, step, is_narrow)
    hit = sum(bool(one.succeeded) for one in rows)
    said = f"{hit} of {len(rows)} techniques succeeded at least once. A dot is the rate, the bar its 95 % interval."
    return plots.svg(width, bottom + 6, ident, "Share of trials that succeeded, by technique", said, body)


def _axis(left: float, right: float, bottom: float) -> list[str]:
    body = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + (right - left) * share
        body.append(plots.rule(x, 20, x, bottom, "base" if not share else "grid"))
        body.append(plots.text(x, 12, f"{share:.0%}", "axis", "start" if not share else "middle"))
    return body


def _row(one: Family, left: float, right: float, top: float, step: float, is_narrow: bool) -> list[str]:
    share = one.share
    middle = top + (step - 12 if is_narrow else step / 2)
    low, at, high = (left + (right - left) * value for value in (share.low, share.rate, share.high))
    kind = f"span {one.severity}" if one.succeeded else "held"
    name = line(one.title or one.technique, int((right if is_narrow else LABEL - 12) / plots.GLYPH))
    label = plots.text(left, middle - 12, name, "note") if is_narrow else plots.text(0, middle + 4, name)
    bar = f'<rect class="{kind} thin" x="{low:.1f}" y="{middle - 3:.1f}" width="{max(2.0, high - low):.1f}" height="6" rx="3"/>'
    dot = f'<circle class="{kind}" cx="{at:.1f}" cy="{middle:.1f}" r="5"/>'
    return [label, bar, dot, plots.text(right + 10, middle + 4, f"{share.part} of {share.of}", "axis")]
