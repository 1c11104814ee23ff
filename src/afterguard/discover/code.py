"""A parsed program -> every AI asset it shows: one list of finders, run over shared look-ups.

In: Parsed with a module. Out: Assets, each with path, line, masked words, confidence and edges within the file. Prose, comments
and placeholders are no evidence. To add a kind: one file beside this one, one line in FINDERS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from afterguard.code.parse import Parsed
from afterguard.discover import (
    agents,
    clients,
    endpoints,
    libraries,
    models,
    predictive,
    prompts,
    secrets,
    stores,
    tools,
    weights,
)
from afterguard.discover.facts import Facts
from afterguard.discover.reach import Reach
from afterguard.discover.summary import Summary, summarise
from afterguard.discover.worth import says_ai
from afterguard.model import Asset, Certainty

Finder = Callable[[Facts, Reach], Iterator[Asset]]
Keep = Callable[[Summary], None]


class Overflow(Exception):
    """A file with more assets than a program has. Those found before it stand."""


LIMIT = 5_000
"""Assets of one file: beyond it a file is a list, not a program."""
FINDERS: tuple[Finder, ...] = (
    secrets.find,
    clients.find,
    models.find,
    predictive.find,
    weights.find,
    stores.find,
    prompts.find,
    tools.find,
    agents.find,
    endpoints.find,
)


def find(parsed: Parsed, keep: Keep | None = None) -> Iterator[Asset]:
    """Assets of one file, and to `keep` what its names and routes mean to other files.

    The order of finders matters: later ones draw edges to what earlier ones marked. Raises Overflow at the end of a file with
    more assets than a program has.
    """
    if parsed.module is None or not parsed.module.functions:
        return
    facts = Facts(parsed, parsed.module)
    reach = Reach(facts)
    found: list[Asset] = []
    over: Overflow | None = None
    if says_ai(parsed.source.data):
        try:
            for asset in _first_of_each(facts, reach):
                found.append(asset)
                yield asset
        except Overflow as error:
            over = error
    if keep is not None:
        keep(summarise(facts, reach, found))
    if over is not None:
        raise over


def _first_of_each(facts: Facts, reach: Reach) -> Iterator[Asset]:
    seen: dict[tuple[str, str, int], int] = {}
    for asset in _all(facts, reach):
        key = (asset.kind.value, asset.name, asset.evidence[0].line)
        rank = _SURE[asset.confidence]
        if seen.get(key, 9) < rank or (seen.get(key) == rank and not asset.edges):
            continue
        seen[key] = min(rank, seen.get(key, 9))
        yield asset
        if len(seen) >= LIMIT:
            raise Overflow(f"more than {LIMIT} assets in one file; the rest was left out")


_SURE = {Certainty.declared: 0, Certainty.inferred: 1, Certainty.unresolved: 2}


def _all(facts: Facts, reach: Reach) -> Iterator[Asset]:
    yield from libraries.find(facts)
    for finder in FINDERS:
        yield from finder(facts, reach)
