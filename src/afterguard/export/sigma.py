"""Our detections as Sigma rules for a SOC's own tools, each with sample logs, and the pipelines that turn them into queries.

In: the catalogue. Out: texts of rules, lines of samples, texts of pipelines. It converts nothing: that is pySigma's work, and the
pipelines say under which names a destination holds our fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from afterguard import catalog

SAMPLES = "\nsamples:\n"
PIPELINES = ("splunk", "elastic", "sentinel")
KINDS = ("hits", "misses")


def rules() -> dict[str, str]:
    """Name -> text of each rule, as it is given away: without its samples."""
    return {name.partition("/")[2]: _text(name).partition(SAMPLES)[0] + "\n" for name in catalog.names("sigma")}


def pipelines() -> dict[str, str]:
    """Destination -> text of its pipeline."""
    return {name: _text(f"sigma/pipelines/{name}") for name in PIPELINES}


def _text(name: str) -> str:
    return resources.files(catalog).joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def samples(name: str) -> dict[str, list[list[dict[str, Any]]]]:
    """`hits` and `misses` of a rule: each a list of events in the order they came."""
    held = catalog.load(f"sigma/{name}")
    base = catalog.load("sigma_events")[held.get("logsource", {}).get("service", "ai_exchange")]
    return {
        kind: [_events(base, one, f"{name}-{kind}-{n}") for n, one in enumerate(held["samples"][kind])]
        for kind in KINDS
    }


def _events(base: Mapping[str, Any], given: Any, name: str) -> list[dict[str, Any]]:
    several = given if isinstance(given, list) else [given]
    return [_event(base, one, f"{name}-{n}") for n, one in enumerate(several)]


def _event(base: Mapping[str, Any], given: Mapping[str, Any], uid: str) -> dict[str, Any]:
    """The base with what is given; `after` moves its time by seconds."""
    changed = {key: value for key, value in given.items() if key != "after"}
    out = _merged(base, changed | {"metadata": {"uid": uid}})
    out["time"] += int(given.get("after", 0) * 1000)
    return out


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in more.items():
        held = out.get(key)
        out[key] = _merged(held, value) if isinstance(value, Mapping) and isinstance(held, Mapping) else value
    return out
