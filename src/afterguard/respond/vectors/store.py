"""What every vector store has in common: what stands of it in respond.yaml, what it is asked, and the limits that hold for all of them.

In: nothing. Out: `Vectors`, `Store`. It speaks to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from afterguard import safe
from afterguard.errors import Unreachable

MOST = 100_000
"""Points of one document."""
NEAREST = 10
"""How many a search is asked for, when the world is asked whether it still finds the document."""
Name = Annotated[str, Meta(min_length=1, max_length=2_000)]


class Vectors(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, tag_field="kind"):  # fmt: skip
    """A vector store."""

    collection: Name
    field: str = "document"
    """What names a point's document: a key of the payload, of the metadata, a field, a column."""
    text: str = ""
    """What holds a point's text, as it is put before the model: with it documents are also found by the hash that alerts show."""


class Store(Protocol):
    """A store that is open. Everything raises AfterguardError, and nothing else."""

    def objections(self) -> list[str]:
        """Why a document cannot be taken out of it; asks, and changes nothing."""

    def count(self, document: str, aside: bool) -> int:
        """Points of a document: where it is searched, or beside it. More than MOST need not be counted."""

    def marks(self, document: str) -> Iterator[str]:
        """A hash of each point of it, where it is searched and beside it: of all that has to be the same when it is back."""

    def texts(self) -> Iterator[tuple[str, str]]:
        """(document, text) of every point, in both places; none where the settings do not say where a text is."""

    def move(self, document: str, back: bool) -> int:
        """Take a document aside, or back; how many points. Can be done again after a crash at any point of it."""

    def found(self, document: str) -> int | None:
        """Ask as the application asks, with a vector of the document that is aside: how many of the nearest are of it. None where it cannot be asked so."""


def failed(what: str, hint: str = "is it there, and may we write?") -> Unreachable:
    """What is raised when a store is away, says no or says nonsense."""
    return Unreachable(f"the vector store does not do it: {safe.line(what, 300)}", hint=hint, slug="vectors-failed")
