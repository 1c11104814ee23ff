"""A document taken out of the vector store that is searched, into a place beside it, and back.

In: an act, the stores that respond.yaml names. Out: points moved, never deleted before they are seen in the other place; the store asked again, also by a search. A target is STORE/DOCUMENT, or DOCUMENT where
there is one store. A document is called as the store calls it, or by the keyed hash that alerts show: then every point's text is hashed as the guard hashes what it sees, and the document of the one that fits
is meant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from afterguard.errors import AfterguardError, UsageError
from afterguard.respond.act import Act
from afterguard.respond.engine import State
from afterguard.respond.vectors import opened
from afterguard.respond.vectors.store import MOST, Store, Vectors, failed

HASHED = 1_000_000
"""Points whose text is hashed to find a document by what alerts call it."""
Named = Callable[[str], str]
"""Text of a point -> the name the guard gives it in decisions and alerts."""


class Documents:
    """See engine.Adapter."""

    def __init__(self, stores: Mapping[str, Vectors], named: Named | None = None) -> None:
        self.stores, self.named = stores, named
        self._known: dict[str, str] = {}
        """Target -> the document it stands for, once it was found."""

    def objections(self, act: Act) -> list[str]:
        """See Adapter."""
        try:
            told, document = self._store(act)
            with opened(told) as store:
                if found := store.objections():
                    return found
                document = self._meant(store, document)
                count = store.count(document, aside=False)
                if not count and not store.count(document, aside=True):
                    return [f"no point of {told.collection} has {told.field} = {document}"]
                return [f"more than {MOST} points are of {document}"] if count > MOST else []
        except AfterguardError as error:
            return [f"{error}"]

    def before(self, act: Act) -> dict[str, Any]:
        """See Adapter."""
        told, document = self._store(act)
        with opened(told) as store:
            document = self._meant(store, document)
            points, digest = _digest(store, document)
            return {"document": document, "collection": told.collection, "points": points, "digest": digest}

    def do(self, act: Act, until: float) -> dict[str, Any]:
        """See Adapter."""
        told, document = self._store(act)
        with opened(told) as store:
            document = self._meant(store, document)
            return {"document": document, "moved": store.move(document, back=False)}

    def undo(self, act: Act, before: dict[str, Any]) -> dict[str, Any]:
        """See Adapter."""
        told, document = self._store(act)
        with opened(told) as store:
            document = str(before.get("document") or document)
            moved = store.move(document, back=True)
            points, digest = _digest(store, document)
            if before.get("digest", digest) != digest:
                raise failed(f"{points} points are back, and they are not the {before.get('points')} that there were", "somebody wrote to the document meanwhile; look at it in the store")  # fmt: skip
            return {"moved": moved, "digest": digest}

    def state(self, act: Act) -> State:
        """See Adapter."""
        try:
            told, document = self._store(act)
            with opened(told) as store:
                document = self._meant(store, document)
                here, there = store.count(document, aside=False), store.count(document, aside=True)
                near = store.found(document)
        except AfterguardError as error:
            return State("unknown", f"{error}")
        says = f"{here} of its points are in {told.collection}, {there} beside it"
        says += "" if near is None else f"; a search with its own vector finds {near} of them"
        return State("in_effect" if not here and there and not near else "not", says)

    def is_repeatable(self, act: Act) -> bool:
        """See Adapter."""
        return True

    def is_provable(self, act: Act) -> bool:
        """See Adapter."""
        return True

    def _meant(self, store: Store, document: str) -> str:
        """The store's own name of a document that an alert names by its hash; as it is where nothing fits."""
        if self.named is None:
            return document
        if document not in self._known:
            if any(store.count(document, aside) for aside in (False, True)):
                return document
            texts = islice(store.texts(), HASHED)
            found = next((name for name, text in texts if self.named(text) == document), "")
            if not found:
                return document
            self._known[document] = found
        return self._known[document]

    def _store(self, act: Act) -> tuple[Vectors, str]:
        name, _, document = act.target.partition("/")
        if name in self.stores and document:
            return self.stores[name], document
        if len(self.stores) == 1:
            return next(iter(self.stores.values())), act.target
        raise UsageError(f"{act.target} names no vector store of respond.yaml", hint=f"STORE/DOCUMENT, one of {', '.join(self.stores)}", slug="no-such-store")  # fmt: skip


def _digest(store: Store, document: str) -> tuple[int, str]:
    """How many points there are, wherever they are now, and a hash of them all: what is half moved has the same one."""
    marks = sorted(set(islice(store.marks(document), 2 * MOST + 1)))
    return len(marks), hashlib.sha256("\n".join(marks).encode()).hexdigest()
