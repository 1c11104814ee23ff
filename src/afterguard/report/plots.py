"""Charts as small inline SVG: the loss curve, bars of scenarios, a timeline of incidents.

In: numbers and labels. Out: one `<svg>` with title and description, coloured only through CSS classes (`currentColor` and the
page's variables), so that it follows dark, light and print. No script, no style attribute, no font, no request. Each chart has a
table twin on the page; "" comes back where there is nothing to draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar

from markupsafe import Markup, escape

from afterguard.model import ScenarioLoss, Severity
from afterguard.report import words
from afterguard.safe import line as one_line

POINTS = 120
GLYPH = 7.0
"""Width of a letter in a label, px, on the safe side: fonts differ and nothing here measures them."""
CEILINGS = (0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Heights of the probability axis."""
SMALLEST, LARGEST = 1.0, 1e15
"""Amounts outside are no money a curve could show: the axis is logarithmic and starts at one unit of the currency."""
TICKS = (
    (3600, "%H:%M"),
    (6 * 3600, "%d %b %H:%M"),
    (86400, "%d %b"),
    (2 * 86400, "%d %b"),
    (7 * 86400, "%d %b"),
    (30 * 86400, "%d %b %y"),
    (365 * 86400, "%b %Y"),
)
Points = Sequence[tuple[float, float]]
Row = TypeVar("Row")


class Moment(NamedTuple):
    """A row of the timeline: seconds since the epoch, UTC."""

    label: str
    severity: Severity
    first: float
    last: float


def svg(width: float, height: float, ident: str, title: str, description: str, body: Iterable[str]) -> Markup:
    """The frame every chart shares."""
    return Markup(  # noqa: S704 - every text in it is escaped by `text`, and here
        f'<svg class="plot" viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" height="{_n(height)}" role="img" '
        f'aria-labelledby="{ident}-t {ident}-d"><title id="{ident}-t">{escape(one_line(title))}</title>'
        f'<desc id="{ident}-d">{escape(one_line(description))}</desc>{"".join(body)}</svg>'
    )


def text(x: float, y: float, words_: str, kind: str = "", anchor: str = "") -> str:
    """A label; the text is made safe here."""
    marks = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{_n(x)}" y="{_n(y)}"{marks}>{escape(one_line(words_))}</text>'


def path(points: Sequence[tuple[float, float]], kind: str, *, closed: bool = False) -> str:
    """A polyline as a path."""
    steps = " ".join(f"{'L' if index else 'M'}{_n(x)} {_n(y)}" for index, (x, y) in enumerate(points))
    return f'<path class="{kind}" d="{steps}{"Z" if closed else ""}"/>'


def rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"/>'


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def loss_at(points: Points, chance: float) -> float:
    """The loss that a year exceeds with probability `chance`; 0 where even a loss of 0 is exceeded less often."""
    before: tuple[float, float] | None = None
    for loss, share in points:
        if share < chance:
            if before is None:
                return 0.0
            low, high = before
            return low + (loss - low) * (high - chance) / (high - share) if high > share else loss
        before = (loss, share)
    return before[0] if before else 0.0


def chance_at(points: Points, loss: float) -> float:
    """The probability that a year's loss exceeds `loss`."""
    before: tuple[float, float] | None = None
    for at, share in points:
        if at >= loss:
            if before is None or at == before[0]:
                return share
            return before[1] + (share - before[1]) * (loss - before[0]) / (at - before[0])
        before = (at, share)
    return 0.0


def curve_rows(points: Points) -> list[tuple[str, float]]:
    """The table twin of the loss curve: ("1 in 20", loss)."""
    return [(f"1 year in {years}", loss_at(points, 1 / years)) for years in (2, 5, 10, 20, 50, 100)]


class _Frame(NamedTuple):
    """Where a chart's axes lie; x is logarithmic in money, y linear in probability."""

    left: float
    right: float
    top: float
    bottom: float
    low: float
    high: float
    most: float

    def x(self, loss: float) -> float:
        share = math.log(max(loss, self.low) / self.low) / math.log(self.high / self.low)
        return self.left + (self.right - self.left) * min(1.0, share)

    def y(self, chance: float) -> float:
        return self.bottom - (self.bottom - self.top) * min(1.0, max(0.0, chance) / self.most)


def loss_curve(
    points: Points,
    *,
    band: Sequence[tuple[float, float, float]] = (),
    appetite: float | None = None,
    one_in_twenty: float | None = None,
    worst: str = "",
    currency: str = "USD",
    width: int = 720,
    height: int = 270,
    ident: str = "curve",
) -> Markup:
    """The loss exceedance curve with its band of parameter uncertainty, the year in 20 (`worst`: in words) and the appetite."""
    points = _finite(points)
    band = [row for row in _thin(band) if 0 < row[0] < LARGEST and 0 <= row[1] <= row[2] <= 1]
    frame = _curve_frame(points, band, width, height, appetite)
    if frame is None:
        return Markup("")
    body = _curve_axes(frame, currency, narrow=width < 500)
    if band:
        upper = [(frame.x(loss), frame.y(high)) for loss, _, high in band]
        lower = [(frame.x(loss), frame.y(low)) for loss, low, _ in reversed(band)]
        body.append(path(upper + lower, "band", closed=True))
    inside = [(loss, share) for loss, share in _thin(points) if frame.low <= loss <= frame.high]
    start, end = ((at, chance_at(points, at)) for at in (frame.low, min(frame.high, points[-1][0])))
    body.append(path([(frame.x(loss), frame.y(share)) for loss, share in [start, *inside, end]], "line"))
    bad = loss_at(points, 0.05) if one_in_twenty is None else one_in_twenty
    said = "No year in 20 is expected to bring a loss."
    if bad > 0:
        worst = one_line(worst, 60) or words.money(bad, currency, digits=2)
        said = f"One year in 20 is worse than {worst}."
        y = frame.y(0.05)
        body.append(rule(frame.left, y, frame.x(bad), y, "guide"))
        body.append(f'<circle class="dot" cx="{_n(frame.x(bad))}" cy="{_n(y)}" r="4"/>')
        label = f"1 year in 20: over {worst}"
        roomy = frame.left + len(label) * GLYPH < frame.x(bad) - 40
        body.append(text(frame.left + 6, y - 6, label if roomy else "1 year in 20", "note"))
    if appetite is not None and 0 < appetite < LARGEST:
        over = chance_at(points, appetite)
        said += f" The accepted loss of {words.money(appetite, currency)} is exceeded with a chance of {words.percent(over)}."
        body += _appetite(frame, appetite, over, currency)
    return svg(width, height, ident, "Loss exceedance curve", said, body)


def _curve_frame(
    points: Points, band: Sequence[tuple[float, float, float]], width: int, height: int, appetite: float | None
) -> _Frame | None:
    shown = [(loss, share) for loss, share in points if loss >= SMALLEST and share > 0]
    if len(shown) < 2:
        return None
    peak = max(share for _, share in points)
    low = max(loss_at(points, peak * 0.97) or shown[0][0], SMALLEST)
    high = loss_at(points, max(0.004, min(peak / 20, 0.02)))
    if appetite is not None and 0 < appetite < LARGEST:
        high, low = max(high, appetite * 1.3), max(SMALLEST, min(low, appetite / 1.3))
    high = max(high, low * 10)
    most = next((step for step in CEILINGS if max([peak, *(row[2] for row in band)]) <= step), 1.0)
    return _Frame(42, width - 14, 30, height - 40, low, high, most)


def _curve_axes(frame: _Frame, currency: str, *, narrow: bool) -> list[str]:
    body = [text(4, 14, "Chance that a year costs more", "axis")]
    for step in range(5):
        share = frame.most * step / 4
        y = frame.y(share)
        body.append(rule(frame.left, y, frame.right, y, "base" if step == 0 else "grid"))
        label = f"{share * 100:.3g}%"
        body.append(text(frame.left - 6, y + 4, label, "axis", "end"))
    steps = (1,) if narrow or frame.high / frame.low > 3000 else (1, 3)
    at = 10 ** math.floor(math.log10(frame.low))
    while at <= frame.high:
        for step in steps:
            loss = at * step
            if frame.low <= loss <= frame.high:
                x = frame.x(loss)
                body.append(rule(x, frame.bottom, x, frame.bottom + 4, "base"))
                body.append(text(min(x, frame.right - 16), frame.bottom + 18, short(loss, currency), "axis", "middle"))
        at *= 10
    return [*body, text(frame.right, frame.bottom + 34, "Loss in one year, log scale", "axis", "end")]


def _appetite(frame: _Frame, appetite: float, over: float, currency: str) -> list[str]:
    x = frame.x(appetite)
    label = f"accepted {short(appetite, currency)}: exceeded with {words.percent(over)}"
    if frame.right - frame.left < 400:
        label = f"{short(appetite, currency)}: {words.percent(over)}"
    ending = x - len(label) * GLYPH > frame.left
    place = text(x + (-6 if ending else 6), frame.top + 8, label, "note", "end" if ending else "start")
    return [rule(x, frame.top - 6, x, frame.bottom, "limit"), place]


def short(value: float, currency: str) -> str:
    """Money for an axis: $300, $3k, $30M."""
    symbol = words.SYMBOLS.get(currency, "")
    for unit, mark in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{symbol}{value / unit:.3g}{mark}"
    return f"{symbol}{value:.3g}"


def _finite(points: Points) -> list[tuple[float, float]]:
    return [(loss, share) for loss, share in points if 0 <= loss < LARGEST and 0 <= share <= 1]


def _thin(rows: Sequence[Row]) -> list[Row]:
    if len(rows) <= POINTS:
        return list(rows)
    keep = {round(index * (len(rows) - 1) / (POINTS - 1)) for index in range(POINTS)}
    return [row for index, row in enumerate(rows) if index in keep]


def scenario_bars(
    scenarios: Sequence[ScenarioLoss], currency: str, *, width: int = 720, ident: str = "bars", digits: int = 2
) -> Markup:
    """Expected loss a year by scenario, largest first."""
    rows = sorted((one for one in scenarios if 0 <= one.annual_mean < LARGEST), key=lambda one: -one.annual_mean)[:12]
    most = max((row.annual_mean for row in rows), default=0.0)
    if most <= 0:
        return Markup("")
    body: list[str] = []
    room = width - 92
    for index, row in enumerate(rows):
        top = index * 44
        long = max(2.0, room * row.annual_mean / most)
        body.append(text(0, top + 14, one_line(row.title, int(width / GLYPH))))
        body.append(f'<rect class="bar" x="0" y="{top + 21}" width="{_n(long)}" height="13" rx="2"/>')
        body.append(text(long + 8, top + 32, words.money(row.annual_mean, currency, digits=digits), "axis"))
    first = rows[0]
    said = f"Largest: {first.title}, {words.money(first.annual_mean, currency, digits=digits)} a year."
    return svg(width, len(rows) * 44, ident, "Expected loss a year by scenario", said, body)


def timeline(moments: Sequence[Moment], *, width: int = 720, ident: str = "timeline") -> Markup:
    """Suspected incidents from first to last sighting, in order of the first."""
    rows = sorted((row for row in moments if words.iso(row.first) and words.iso(row.last)), key=lambda row: row.first)
    shown = rows[:20]
    if not shown:
        return Markup("")
    start, end = min(row.first for row in shown), max(row.last for row in shown)
    end = max(end, start + 3600)
    bottom = len(shown) * 34 + 8
    scale = (width - 16) / (end - start)
    body: list[str] = []
    for at, label in ticks(start, end, max(2, width // 90)):
        x = 8 + (at - start) * scale
        body.append(rule(x, 0, x, bottom, "grid"))
        body.append(text(min(max(x, 20), width - 22), bottom + 16, label, "axis", "middle"))
    for index, row in enumerate(shown):
        top = index * 34 + 4
        x, long = 8 + (row.first - start) * scale, max(6.0, (row.last - row.first) * scale)
        x = min(x, width - 8 - long) if long < width - 16 else 8
        label = one_line(row.label, int(width / GLYPH))
        body.append(text(max(0.0, min(x, width - len(label) * GLYPH)), top + 10, label, "note"))
        body.append(
            f'<rect class="span {row.severity}" x="{_n(x)}" y="{top + 15}" width="{_n(long)}" height="9" rx="4"/>'
        )
    said = f"{len(rows)} suspected incidents between {words.moment(start)} and {words.moment(end)}."
    return svg(width, bottom + 24, ident, "Timeline of suspected incidents", said, body)


def ticks(start: float, end: float, most: int) -> list[tuple[int, str]]:
    """Whole hours, days or months between two times, at most `most` of them, with short labels."""
    fitting = (row for row in TICKS if (end - start) / row[0] <= most)
    seconds, pattern = next(fitting, (math.ceil((end - start) / most / 86400) * 86400, "%b %Y"))
    first = math.ceil(start / seconds) * seconds
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return [
        (at, (epoch + timedelta(seconds=at)).strftime(pattern)) for at in range(int(first), int(end) + 1, int(seconds))
    ][:most]
