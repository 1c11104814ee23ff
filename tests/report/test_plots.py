"""The charts: titled, escaped, finite, empty where there is nothing to draw; the layout keeps what it promises."""

from __future__ import annotations

import xml.etree.ElementTree as Tree
from itertools import pairwise
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.model import Asset, AssetKind, Certainty, Edge, Range, ScenarioLoss, Severity
from afterguard.report import graph, plots

NUMBERS = st.floats(0, allow_nan=False)
CURVES = st.lists(st.tuples(NUMBERS, st.floats(0, 1)), max_size=30).map(
    lambda rows: list(zip(sorted(x for x, _ in rows), sorted((y for _, y in rows), reverse=True)))
)


DRAWN = {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "d", "width", "height", "viewBox"}


def check(svg: str) -> Tree.Element:
    root = Tree.fromstring(svg)
    assert root.find("title") is not None and root.find("desc") is not None
    drawn = [value for one in root.iter() for key, value in one.items() if key in DRAWN]
    assert not any("nan" in value or "inf" in value or "e+" in value for value in drawn)
    return root


def test_curve_says_its_numbers(sample: ModuleType) -> None:
    loss = sample.loss()
    svg = plots.loss_curve(loss.curve, band=loss.band, appetite=250_000)
    root = check(svg)
    assert "1 year in 20: over $610,000" in svg and "accepted $250k: exceeded with 9 %" in svg
    assert len(root.findall("path")) == 2
    assert len(svg) < 12_000


def test_curve_table_is_its_twin(sample: ModuleType) -> None:
    rows = dict(plots.curve_rows(sample.loss().curve))
    assert rows["1 year in 2"] == 0.0
    assert rows["1 year in 20"] == pytest.approx(605_000, rel=0.02)
    assert plots.chance_at(sample.loss().curve, 605_000) == pytest.approx(0.05, rel=0.02)


@given(CURVES, st.none() | NUMBERS)
def test_any_curve(points: list[tuple[float, float]], appetite: float | None) -> None:
    band = [(x, y * 0.5, min(1.0, y * 1.5)) for x, y in points]
    svg = plots.loss_curve(points, band=band, appetite=appetite)
    if svg:
        check(svg)


@given(st.lists(st.tuples(st.text(max_size=40), st.floats(allow_nan=True)), max_size=20))
def test_any_bars(rows: list[tuple[str, float]]) -> None:
    zero = Range(0, 0, 0)
    svg = plots.scenario_bars(
        [ScenarioLoss(str(n), label, zero, zero, mean, 0) for n, (label, mean) in enumerate(rows)], "USD"
    )
    if svg:
        check(svg)


@given(st.lists(st.tuples(st.text(max_size=60), st.floats(allow_nan=True), st.floats(allow_nan=True)), max_size=30))
def test_any_timeline(rows: list[tuple[str, float, float]]) -> None:
    svg = plots.timeline([plots.Moment(label, Severity.high, min(a, b), max(a, b)) for label, a, b in rows])
    if svg:
        check(svg)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(AssetKind)), st.text(max_size=9), st.sampled_from(list(AssetKind)), st.text(max_size=9)
        ),
        max_size=60,
    )
)
def test_any_inventory(rows: list[tuple[AssetKind, str, AssetKind, str]]) -> None:
    assets = [Asset(kind, name, Certainty.inferred, (), (Edge("uses", to, target),)) for kind, name, to, target in rows]
    svg = graph.inventory(assets)
    if svg:
        check(svg)


def test_sixty_assets_at_most_and_the_rest_counted() -> None:
    tools = [Asset(AssetKind.tool, f"tool {n}", Certainty.declared, ()) for n in range(300)]
    edges = tuple(Edge("uses", AssetKind.tool, f"tool {n}") for n in range(200))
    agents = [Asset(AssetKind.agent, f"agent {n}", Certainty.declared, (), edges) for n in range(30)]
    svg = graph.inventory([*tools, *agents])
    check(svg)
    assert svg.count("<rect") == 2 * graph.ROWS <= graph.MOST
    assert "and 284 more" in svg and "and 14 more" in svg
    assert len(svg) < 200_000


def test_boxes_do_not_overlap(sample: ModuleType) -> None:
    plan = graph.layout(sample.assets())
    boxes = sorted(place for (_, key), place in plan.places.items() if key[0] != "lane")
    for (x1, y1), (x2, y2) in pairwise(boxes):
        assert x1 != x2 or y2 - y1 >= graph.TALL
    assert all(0 <= x <= plan.width - graph.BOX and 0 <= y <= plan.height - graph.TALL for x, y in boxes)


def test_nothing_to_draw() -> None:
    assert plots.loss_curve([]) == plots.scenario_bars([], "USD") == plots.timeline([]) == graph.inventory([]) == ""
