"""The inventory as a picture: assets in layers from the endpoint to the data, with their edges.

In: assets. Out: one inline SVG, or "" where no two assets are joined. At most 60 assets are drawn, those with the most edges first; the rest is counted
in the picture. Layers follow the kinds, so the same inventory always gives the same picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from markupsafe import Markup, escape

from afterguard.model import Asset, AssetKind, Certainty
from afterguard.report import words
from afterguard.report.plots import svg, text
from afterguard.safe import line as one_line

LAYERS = (
    (AssetKind.ai_endpoint,),
    (AssetKind.agent,),
    (AssetKind.tool, AssetKind.mcp_server, AssetKind.prompt, AssetKind.framework),
    (AssetKind.model, AssetKind.embedding_model, AssetKind.inference_server, AssetKind.vector_store),
    (AssetKind.provider, AssetKind.cloud_ai_service, AssetKind.dataset, AssetKind.model_artifact, AssetKind.secret_reference),
)  # fmt: skip
MOST = 60
ROWS = 16
"""Assets a layer; above this the layer ends with "and N more"."""
BOX, TALL, GAP, STEP = 158, 34, 52, 46
SWEEPS = 4

Key = tuple[AssetKind, str]


class Layout(NamedTuple):
    """Where each drawn asset stands (left, top), edges between drawn ones, and how many each layer leaves out."""

    places: dict[Key, tuple[float, float]]
    edges: list[tuple[Key, Key]]
    left_out: dict[int, int]
    layers: list[list[Key]]
    width: float
    height: float


def layout(assets: Iterable[Asset]) -> Layout:
    """Layers by kind; inside a layer the order that crosses fewer edges (barycentre sweeps)."""
    items = {(item.kind, item.name): item for item in sorted(assets, key=lambda one: (one.kind, one.name))}
    edges = sorted({(k, (e.kind, e.name)) for k, item in items.items() for e in item.edges if (e.kind, e.name) in items and (e.kind, e.name) != k})  # fmt: skip
    degree = dict.fromkeys(items, 0)
    for left, right in edges:
        degree[left] += 1
        degree[right] += 1
    drawable = [key for key in items if key[0] != AssetKind.framework or degree[key]]
    wanted = sorted(drawable, key=lambda key: (-degree[key], key))
    layers: list[list[Key]] = []
    left_out: dict[int, int] = {}
    budget = MOST
    for kinds in LAYERS:
        same = [key for key in wanted if key[0] in kinds]
        if not same:
            continue
        keep = same[: max(1, min(ROWS, budget))] if budget > 0 else []
        budget -= len(keep)
        if len(same) > len(keep):
            left_out[len(layers)] = len(same) - len(keep)
        layers.append(keep)
    drawn = {key for layer in layers for key in layer}
    edges = [edge for edge in edges if edge[0] in drawn and edge[1] in drawn]
    layers = _untangle(layers, edges)
    return _place(layers, edges, left_out)


def _untangle(layers: list[list[Key]], edges: list[tuple[Key, Key]]) -> list[list[Key]]:
    near: dict[Key, list[Key]] = {key: [] for layer in layers for key in layer}
    for left, right in edges:
        near[left].append(right)
        near[right].append(left)
    rank = {key: float(index) / max(1, len(layer)) for layer in layers for index, key in enumerate(layer)}
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            weight = {
                key: sum(rank[n] for n in near[key]) / len(near[key]) if near[key] else rank[key] for key in layer
            }
            layer.sort(key=lambda key: (weight[key], key))
            rank.update({key: (index + 0.5) / len(layer) for index, key in enumerate(layer)})
    return layers


def _place(layers: list[list[Key]], edges: list[tuple[Key, Key]], left_out: dict[int, int]) -> Layout:
    rows = max((len(layer) + (index in left_out) for index, layer in enumerate(layers)), default=0)
    height = rows * STEP + 24
    places: dict[Key, tuple[float, float]] = {}
    for column, layer in enumerate(layers):
        free = height - 24 - (len(layer) + (column in left_out)) * STEP
        for row, key in enumerate(layer):
            places[key] = (column * (BOX + GAP) + 1, 22 + free / 2 + row * STEP)
    return Layout(places, edges, left_out, layers, max(1, len(layers)) * (BOX + GAP) - GAP + 2, height)


def inventory(assets: Iterable[Asset], *, ident: str = "inventory") -> Markup:
    """The picture; "" where there is nothing to join."""
    items = {(item.kind, item.name): item for item in assets}
    plan = layout(items.values())
    if not plan.edges:
        return Markup("")
    body = [_edge(plan.places[left], plan.places[right]) for left, right in plan.edges]
    for key, (x, y) in sorted(plan.places.items()):
        body.append(_box(items[key], x, y))
    for column, number in sorted(plan.left_out.items()):
        bottom = max((plan.places[key][1] for key in plan.layers[column]), default=22 - STEP)
        body.append(text(column * (BOX + GAP) + 8, bottom + STEP + 16, f"and {number:,} more", "note"))
    said = f"{len(plan.places)} of {len(items)} assets, {len(plan.edges)} relations, from endpoints on the left to models and data on the right."
    return svg(plan.width, plan.height, ident, "What uses what", said, body)


def _box(item: Asset, x: float, y: float) -> str:
    known = {Certainty.declared: "box", Certainty.inferred: "box inferred", Certainty.unresolved: "box unresolved"}
    name = one_line(item.name, 22) or "unnamed"
    return (
        f"<g><title>{escape(one_line(f'{words.kind(item.kind)} {item.name}, {item.confidence}'))}</title>"
        f'<rect class="{known[item.confidence]}" x="{x:.0f}" y="{y:.0f}" width="{BOX}" height="{TALL}" rx="4"/>'
        + text(x + 8, y + 13, words.kind(item.kind), "kind")
        + text(x + 8, y + 27, name, "name")
        + "</g>"
    )


def _edge(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = start, end
    y1, y2 = y1 + TALL / 2, y2 + TALL / 2
    if x1 == x2:
        x1, x2 = x1 + BOX, x2 + BOX
        bend = f"C{x1 + 30:.0f} {y1:.0f} {x2 + 30:.0f} {y2:.0f}"
    elif x1 < x2:
        x1 += BOX
        middle = (x1 + x2) / 2
        bend = f"C{middle:.0f} {y1:.0f} {middle:.0f} {y2:.0f}"
    else:
        x2 += BOX
        middle = (x1 + x2) / 2
        bend = f"C{middle:.0f} {y1:.0f} {middle:.0f} {y2:.0f}"
    return f'<path class="edge" d="M{x1:.0f} {y1:.0f} {bend} {x2:.0f} {y2:.0f}"/><circle class="tip" cx="{x2:.0f}" cy="{y2:.0f}" r="2.5"/>'
