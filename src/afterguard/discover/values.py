"""Unresolved models of one file -> the ids that constants, settings and variables of other files give them.

In: assets of every file, unjoined, and Lookup. Out: the assets with every name that could be resolved replaced, inferred, at the place of
use, and the names that changed, by file, for edges. Nothing is resolved to a word that cannot be a model's id.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from afterguard.discover import model_names, signals
from afterguard.discover.lookup import Lookup
from afterguard.discover.reach import Thing
from afterguard.discover.summary import MARK, Summary
from afterguard.model import Asset, AssetKind, Certainty, Edge

STEPS = 6
VALUES = 4
_MODELS = (AssetKind.model, AssetKind.embedding_model)
_SET = re.compile(r"(?:\A|[\s\"'-])([A-Z][A-Z0-9_]{2,80})[\"']?\s*[:=]\s*[\"']?(\S{2,200}?)[\"',;]*\Z")
_IN_FILES = {"config", "infrastructure"}
_WEIGHTS = re.compile(r"\A(?:\.{0,2}/|~/)|\.(?:pkl|joblib|pt|pth|onnx|gguf|bin|h5|keras|safetensors)\Z")


class Settled(NamedTuple):
    """Assets, and path -> thing under its old name -> things under the new ones."""

    assets: list[Asset]
    renamed: dict[str, dict[Thing, list[Thing]]]


def settled(assets: list[Asset], lookup: Lookup) -> Settled:
    """Every model whose id another file gives, under that id."""
    variables = _variables(assets)
    renamed: dict[str, dict[Thing, list[Thing]]] = defaultdict(dict)
    out: list[Asset] = []
    for asset in assets:
        known = _known(asset, lookup, variables)
        if known:
            renamed[asset.evidence[0].path][asset.kind, asset.name] = [(one.kind, one.name) for one in known]
        out.extend(known or [asset])
    return Settled([_edges(asset, renamed) for asset in out], dict(renamed))


def _variables(assets: Iterable[Asset]) -> dict[str, list[str]]:
    """Variables that configuration beside the code sets to the name of a model: OPENAI_MODEL=gpt-4o."""
    out: dict[str, list[str]] = defaultdict(list)
    for asset in assets:
        for seen in asset.evidence if asset.kind in _MODELS else ():
            found = _SET.search(seen.matched) if seen.source in _IN_FILES else None
            if found and found.group(2) == asset.name and asset.name not in out[found.group(1)]:
                out[found.group(1)].append(asset.name)
    return dict(out)


def _known(asset: Asset, lookup: Lookup, variables: dict[str, list[str]]) -> list[Asset]:
    if asset.confidence is not Certainty.unresolved or asset.kind not in _MODELS or not asset.evidence:
        return []
    one = lookup.by_path.get(asset.evidence[0].path)
    text = one.open_names.get(asset.name) if one is not None else None
    if one is None or not text:
        return []
    words = texts(text, one.path, lookup, variables)
    return [made for word in words if (made := _model(asset, word)) is not None]


def texts(text: str, here: str, lookup: Lookup, variables: dict[str, list[str]], steps: int = STEPS) -> list[str]:
    """Texts that a name of the file `here` stands for."""
    if steps <= 0:
        return []
    for one, symbol, _ in lookup.meanings(text, here):
        found: list[str] = []
        for value in one.constants.get(symbol, ()):
            if not value.startswith(MARK):
                found.append(value)
                continue
            inner = value[len(MARK) :].removesuffix(" variable")
            if (inner, one.path) != (text, here):
                found.extend(texts(inner, one.path, lookup, variables, steps - 1))
        found = found or _from_environment(one, symbol, variables)
        if found:
            return list(dict.fromkeys(found))[:VALUES]
    return variables.get(text, [])[:VALUES]


def _from_environment(one: Summary, symbol: str, variables: dict[str, list[str]]) -> list[str]:
    """A field of a settings class that variables fill: openai_model by OPENAI_MODEL."""
    owner, _, field = symbol.rpartition(".")
    return variables.get(field.upper(), []) if owner in one.from_environment else []


def _model(asset: Asset, text: str) -> Asset | None:
    """The asset under the id, None when the text cannot be one."""
    text = text.strip()
    if not model_names.is_id(text) or not model_names.is_resolved(text) or _WEIGHTS.search(text):
        return None
    signal = signals.model(text)
    prefix, rest = model_names.split(text)
    provider = prefix or asset.attributes.get("provider", "") or (signal.provider if signal else "")
    kind = signal.kind if signal else model_names.kind_of(text)
    if asset.kind is AssetKind.embedding_model and "rerank" not in text.lower():
        kind = AssetKind.embedding_model
    facts = {key: value for key, value in asset.attributes.items() if key not in ("provider", "model")}
    facts |= {"provider": provider} if provider else {}
    facts |= {"model": rest} if prefix and rest else {}
    part = Edge("part_of", AssetKind.provider, provider)
    links = (*asset.edges, part) if provider and part not in asset.edges else asset.edges
    return msgspec.structs.replace(
        asset, kind=kind, name=text[:200], confidence=Certainty.inferred, edges=links, attributes=facts
    )


def _edges(asset: Asset, renamed: dict[str, dict[Thing, list[Thing]]]) -> Asset:
    """Edges to what has another name now."""
    known = renamed.get(asset.evidence[0].path, {}) if asset.evidence else {}
    if not known or not any((one.kind, one.name) in known for one in asset.edges):
        return asset
    out: list[Edge] = []
    for one in asset.edges:
        new = known.get((one.kind, one.name), [(one.kind, one.name)])
        out.extend(Edge(one.relation, kind, name) for kind, name in new)
    return msgspec.structs.replace(asset, edges=tuple(dict.fromkeys(out)))
