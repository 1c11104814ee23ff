"""Proof of deletion: one receipt for each thing destroyed, each chained to the one before.

In: what was deleted, its hash, when and why. Out: receipts whose links show when one was changed, removed or put in between. Whoever
keeps the newest link elsewhere can also show that none was cut off the end.
"""

from __future__ import annotations

import hashlib

import msgspec

from afterguard.store.connection import Connection

FIRST = "0" * 64


class Receipt(msgspec.Struct, frozen=True):
    """One deletion. `digest` is the SHA-256 of the encrypted bytes that were destroyed; `at` in seconds since the epoch."""

    position: int
    id: str
    tenant: str
    app: str
    what: str
    digest: str
    why: str
    at: float
    previous: str
    link: str


def write(
    connection: Connection, tenant: str, app: str, what: str, key: str, digest: str, why: str, at: float
) -> Receipt:
    """Add a receipt inside the caller's transaction."""
    connection.serialise()
    last = connection.execute("SELECT position, link FROM deletion ORDER BY position DESC LIMIT 1")
    position, previous = (last[0][0] + 1, last[0][1]) if last else (1, FIRST)
    link = _link(position, key, tenant, app, what, digest, why, at, previous)
    row = (position, key, tenant, app, what, digest, why, at, previous, link)
    connection.insert("deletion", Receipt.__struct_fields__, [row])
    return Receipt(*row)


def _link(*parts: object) -> str:
    text = "\0".join(repr(float(one)) if isinstance(one, float) else str(one) for one in parts)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def receipts(connection: Connection) -> tuple[Receipt, ...]:
    """All receipts in order."""
    columns = ", ".join(Receipt.__struct_fields__)
    return tuple(Receipt(*row) for row in connection.execute(f"SELECT {columns} FROM deletion ORDER BY position"))  # noqa: S608


def first_broken(connection: Connection) -> int:
    """Position of the first receipt that does not follow from the one before, 0 when all do."""
    previous, expected = FIRST, 1
    for one in receipts(connection):
        link = _link(one.position, one.id, one.tenant, one.app, one.what, one.digest, one.why, one.at, one.previous)
        if one.position != expected or one.previous != previous or one.link != link:
            return expected
        previous, expected = one.link, expected + 1
    return 0
