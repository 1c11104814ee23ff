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
)
from afterguard.discover.facts import Facts
from afterguard.discover.reach import Reach
from afterguard.model import Asset

Finder = Callable[[Facts, Reach], Iterator[Asset]]
LIMIT = 5_000
"""Assets of one file: beyond it a file is a list, not a program."""
FINDERS: tuple[Finder, ...] = (
    secrets.find,
    clients.find,
    models.find,
    predictive.find,
    stores.find,
    prompts.find,
    tools.find,
    agents.find,
    endpoints.find,
)


def find(parsed: Parsed) -> Iterator[Asset]:
    """Assets of one file. The order of finders matters: later ones draw edges to what earlier ones marked."""
    if parsed.module is None or not parsed.module.functions:
        return
    facts = Facts(parsed, parsed.module)
    reach = Reach(facts)
    count = 0
    yield from libraries.find(facts)
    for finder in FINDERS:
        for asset in finder(facts, reach):
            count += 1
            if count > LIMIT:
                return
            yield asset
