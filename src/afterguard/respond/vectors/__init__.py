"""The vector stores, one file each: settings, and how a document is taken out of it.

In: nothing. Out: `Told`, the settings of any of them, and `opened`. A client library is imported only when its store is opened.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from afterguard.respond.vectors import chroma, elastic, postgres, qdrant
from afterguard.respond.vectors.store import Store, Vectors

Told = qdrant.Qdrant | postgres.Postgres | chroma.Chroma | elastic.Elastic
OPENED: dict[type[Vectors], Any] = {
    qdrant.Qdrant: qdrant.opened,
    postgres.Postgres: postgres.opened,
    chroma.Chroma: chroma.opened,
    elastic.Elastic: elastic.opened,
}


def opened(settings: Vectors) -> AbstractContextManager[Store]:
    """A store that settings name, until the end of the block. Raises UsageError and Unreachable."""
    made: AbstractContextManager[Store] = OPENED[type(settings)](settings)
    return made
