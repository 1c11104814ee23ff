"""The inventory as a picture: assets in layers from the endpoint to the data, with their edges.

In: assets. Out: one inline SVG, or "" where no two assets are joined. At most 60 assets are drawn, those with the most edges first; the rest is counted
in the picture. Layers follow the kinds, so the same inventory always gives the same picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
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
BOX, TALL, GAP, STEP, LANE = 164, 34, 54, 46, 14
"""Pixels: box width and height, space between layers, height of a row, height of a lane through which a long edge passes a layer."""
SWEEPS = 4

Key = tuple[str, str]
"""(kind, name) of an asset, or ("lane", source) for the long edges of one source passing a layer."""
Edge = tuple[Key, Key]


class Layout(NamedTuple):
    """Where everything stands: left and top by (layer, key), the assets and lanes of each layer, and what is left out."""

    places: dict[tuple[int, Key], tuple[float, float]]
    layers: list[list[Key]]
    chains: list[list[tuple[int, Key]]]
    """Each edge as the stations it passes, from left to right."""
    left_out: dict[int, int]
    width: float
    height: float


def layout(assets: Iterable[Asset]) -> Layout:
    """Layers by kind; inside a layer the order that crosses fewer edges (barycentre sweeps)."""
    items: dict[Key, Asset] = {
        (item.kind, item.name): item for item in sorted(assets, key=lambda one: (one.kind, one.name))
    }
    edges = _edges(items)
    layers, left_out = _layers(items, edges)
    column = {key: index for index, layer in enumerate(layers) for key in layer}
    drawn = [edge for edge in edges if edge[0] in column and edge[1] in column]
    chains = [_chain(edge, column) for edge in drawn]
    stations = [sorted({key for chain in chains for at, key in chain if at == n}) for n in range(len(layers))]
    full = [layer + [key for key in stations[n] if key[0] == "lane"] for n, layer in enumerate(layers)]
    return _place(_untangle(full, chains), chains, left_out)


def _edges(items: Mapping[Key, Asset]) -> list[Edge]:
    every = {(key, (str(edge.kind), edge.name)) for key, item in items.items() for edge in item.edges}
    return sorted(edge for edge in every if edge[1] in items and edge[0] != edge[1])


def _layers(items: Mapping[Key, Asset], edges: list[Edge]) -> tuple[list[list[Key]], dict[int, int]]:
    degree = dict.fromkeys(items, 0)
    for left, right in edges:
        degree[left] += 1
        degree[right] += 1
    wanted = sorted(items, key=lambda key: (-degree[key], key))
    layers: list[list[Key]] = []
    left_out: dict[int, int] = {}
    budget = MOST
    for kinds in LAYERS:
        same = [key for key in wanted if key[0] in kinds and (key[0] != AssetKind.framework or degree[key])]
        if not same:
            continue
        keep = same[: min(ROWS, budget)]
        budget -= len(keep)
        if len(same) > len(keep):
            left_out[len(layers)] = len(same) - len(keep)
        layers.append(keep)
    return layers, left_out


def _chain(edge: Edge, column: Mapping[Key, int]) -> list[tuple[int, Key]]:
    """The stations of an edge, left to right; long edges of one source share a lane in each layer they pass."""
    left, right = sorted(edge, key=lambda key: column[key])
    lane = ("lane", f"{left[0]}:{left[1]}")
    middle = [(at, lane) for at in range(column[left] + 1, column[right])]
    return [(column[left], left), *middle, (column[right], right)]


def _untangle(layers: list[list[Key]], chains: list[list[tuple[int, Key]]]) -> list[list[Key]]:
    near: dict[tuple[int, Key], set[tuple[int, Key]]] = {
        (n, key): set() for n, layer in enumerate(layers) for key in layer
    }
    for chain in chains:
        for left, right in pairwise(chain):
            near[left].add(right)
            near[right].add(left)
    rank = {(n, key): (index + 0.5) / len(layer) for n, layer in enumerate(layers) for index, key in enumerate(layer)}
    for sweep in range(SWEEPS):
        for n in range(len(layers)) if sweep % 2 == 0 else reversed(range(len(layers))):
            weight = {key: _middle([rank[one] for one in near[n, key]], rank[n, key]) for key in layers[n]}
            layers[n] = sorted(layers[n], key=lambda key: (weight[key], key))
            rank.update({(n, key): (index + 0.5) / len(layers[n]) for index, key in enumerate(layers[n])})
    return layers


def _middle(ranks: list[float], alone: float) -> float:
    return sum(ranks) / len(ranks) if ranks else alone


def _tall(key: Key) -> int:
    return LANE if key[0] == "lane" else STEP


def _place(layers: list[list[Key]], chains: list[list[tuple[int, Key]]], left_out: dict[int, int]) -> Layout:
    heights = [sum(map(_tall, layer)) + (STEP if n in left_out else 0) for n, layer in enumerate(layers)]
    height = max(heights, default=0) + 24
    places: dict[tuple[int, Key], tuple[float, float]] = {}
    for n, layer in enumerate(layers):
        top = 12 + (height - 24 - heights[n]) / 2
        for key in layer:
            places[n, key] = (n * (BOX + GAP) + 1, top)
            top += _tall(key)
    return Layout(places, layers, chains, left_out, max(1, len(layers)) * (BOX + GAP) - GAP + 34, height)


def inventory(assets: Iterable[Asset], *, ident: str = "inventory") -> Markup:
    """The picture; "" where there is nothing to join."""
    items: dict[Key, Asset] = {(item.kind, item.name): item for item in assets}
    plan = layout(items.values())
    if not plan.chains:
        return Markup("")
    segments = sorted({(a, b) for chain in plan.chains for a, b in pairwise(chain)})
    body = [_segment(plan, a, b) for a, b in segments]
    boxes = [(key, place) for (_, key), place in sorted(plan.places.items()) if key[0] != "lane"]
    body += [_box(items[key], x, y) for key, (x, y) in boxes]
    for n, number in sorted(plan.left_out.items()):
        last = max((plan.places[n, key][1] + _tall(key) for key in plan.layers[n]), default=12.0)
        body.append(text(n * (BOX + GAP) + 8, last + 18, f"and {number:,} more", "note"))
    said = f"{len(boxes)} of {len(items)} assets, {len(plan.chains)} relations, from endpoints on the left to models and data on the right."
    return svg(plan.width, plan.height, ident, "What uses what", said, body)


def _box(item: Asset, x: float, y: float) -> str:
    known = {Certainty.declared: "box", Certainty.inferred: "box inferred", Certainty.unresolved: "box unresolved"}
    name = one_line(item.name, 21) or "unnamed"
    return (
        f"<g><title>{escape(one_line(f'{words.kind(item.kind)} {item.name}, {item.confidence}'))}</title>"
        f'<rect class="{known[item.confidence]}" x="{x:.0f}" y="{y:.0f}" width="{BOX}" height="{TALL}" rx="4"/>'
        + text(x + 8, y + 13, words.kind(item.kind), "kind")
        + text(x + 8, y + 27, name, "name")
        + "</g>"
    )


def _segment(plan: Layout, left: tuple[int, Key], right: tuple[int, Key]) -> str:
    """A curve between two stations; a lane is crossed in a straight line, a box gets a dot where the edge arrives."""
    (x1, y1), (x2, y2) = plan.places[left], plan.places[right]
    y1, y2 = y1 + (_tall(left[1]) - STEP + TALL) / 2, y2 + (_tall(right[1]) - STEP + TALL) / 2
    if left[0] == right[0]:
        out = x1 + BOX
        return f'<path class="edge" d="M{out:.0f} {y1:.0f} C{out + 30:.0f} {y1:.0f} {out + 30:.0f} {y2:.0f} {out:.0f} {y2:.0f}"/>'
    start, middle = x1 + BOX, (x1 + BOX + x2) / 2
    through = f" L{x2 + BOX:.0f} {y2:.0f}" if right[1][0] == "lane" else ""
    tip = "" if through else f'<circle class="tip" cx="{x2:.0f}" cy="{y2:.0f}" r="2.5"/>'
    return f'<path class="edge" d="M{start:.0f} {y1:.0f} C{middle:.0f} {y1:.0f} {middle:.0f} {y2:.0f} {x2:.0f} {y2:.0f}{through}"/>{tip}'
