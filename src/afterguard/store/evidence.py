"""Originals, kept only when asked for: encrypted, for a limited time, with every reading logged and every deletion proven.

In: the original bytes of an exchange and their data class. Out: an id to read them back with. Theory of operation: each application has
a random data key; the store holds it only wrapped by a key from outside. Each original is one file, sealed with the data key
and bound to its own id, so files cannot be swapped. Destroying the wrapped key makes every file of the application unreadable,
copies and backups included. A legal hold stops all deletion of what it covers. Nothing readable is ever written to the database.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from afterguard.catalog import load
from afterguard.errors import UsageError
from afterguard.model import App
from afterguard.store import receipts, rows
from afterguard.store.blobs import Blobs
from afterguard.store.connection import Row
from afterguard.store.database import Store
from afterguard.store.keys import SIZE, WrappingKey, seal, unseal

DAY = 86_400.0
MAGIC = b"AGE1"
CAP = 64 << 20
ORIGINAL = ("id", "tenant", "app", "data_key", "subject", "data_class", "size", "digest", "created", "expires")


class Original(msgspec.Struct, frozen=True):
    """What is known of an original without opening it. `digest` is of the encrypted file."""

    id: str
    tenant: str
    app: str
    data_key: str
    subject: str
    data_class: str
    size: int
    digest: str
    created: float
    expires: float


class Swept(msgspec.Struct, frozen=True):
    """What a sweep did: originals deleted, kept back by a legal hold, rows whose file was gone, files nobody owned."""

    deleted: int = 0
    held: int = 0
    missing: int = 0
    orphans: int = 0


class Vault:
    """The originals of one store in one folder."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        key: WrappingKey,
        retention_days: Mapping[str, int] | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.store, self.folder, self.key, self.random = store, folder, key, random
        self.days: dict[str, int] = {**load("retention")["days"], **(retention_days or {})}
        self.connection = store.connection
        self.blobs = Blobs(folder)

    def retention(self, *classes: str) -> float:
        """Seconds to keep a text of these data classes: the shortest counts."""
        known = [self.days[one] for one in classes if one in self.days]
        return DAY * float(min(known or [self.days["default"]]))

    def _shortest(self, classes: tuple[str, ...]) -> str:
        return min(classes or ("default",), key=lambda one: (self.days.get(one, self.days["default"]), one))

    def keep(self, app: App, subject: str, data: bytes, *classes: str) -> str:
        """Encrypt and keep the original of an exchange; its id. `subject` is the exchange's id or a pseudonym, never a name.

        UsageError when the data is too large or the application's key was destroyed.
        """
        if len(data) > CAP:
            raise UsageError(
                f"an original of {len(data)} bytes is too large to keep",
                hint=f"the cap is {CAP} bytes",
                slug="evidence-size",
            )
        app, data_class = _plain(app), rows.text(self._shortest(classes))
        data_key, secret = self._data_key(app)
        made, now = self.store.made(), self.store.clock()
        blob = MAGIC + seal(secret, data, _bound(made, app.tenant, app.name, data_class), self.random)
        digest = hashlib.sha256(blob).hexdigest()
        self.blobs.write(made, blob)
        row = (
            made, rows.text(app.tenant), rows.text(app.name), data_key, rows.text(subject), rows.text(data_class), len(data), digest,
            now, now + self.retention(*classes),
        )  # fmt: skip
        with self.connection.transaction():
            self.connection.insert("original", ORIGINAL, [row])
        return made

    def read(self, original: str, *, who: str, why: str) -> bytes:
        """The original bytes. The reading is logged first, with its outcome. UsageError when it cannot or must not be read."""
        if not who.strip() or not why.strip():
            raise UsageError(
                "reading an original needs who reads and why", hint="give both --who and --why", slug="evidence-reason"
            )
        known = self.find(original)
        plain, outcome = self._opened(known) if known else (None, "unknown")
        owner = (known.tenant, known.app) if known else ("", "")
        row = (
            self.store.made(),
            *owner,
            rows.text(original),
            rows.text(who),
            rows.text(why),
            outcome,
            self.store.clock(),
        )
        with self.connection.transaction():
            self.connection.insert(
                "original_access", ("id", "tenant", "app", "original", "who", "why", "outcome", "at"), [row]
            )
        if plain is None:
            raise UsageError(
                f"the original {original} cannot be read: {REASONS[outcome]}",
                hint=HINTS[outcome],
                slug="evidence-unreadable",
            )
        return plain

    def find(self, original: str) -> Original | None:
        """What is known of an original."""
        return next(iter(self._originals("id = ?", (original,))), None)

    def originals(self, app: App, subject: str = "") -> tuple[Original, ...]:
        """The originals of an application, of one subject when named."""
        return tuple(
            self._originals(
                "tenant = ? AND app = ? AND (? = '' OR subject = ?)",
                (rows.text(app.tenant), rows.text(app.name), subject, subject),
            )
        )

    def accesses(self, original: str) -> tuple[tuple[str, str, str, float], ...]:
        """Who read an original, why, with what outcome, when."""
        found = self.connection.execute(
            "SELECT who, why, outcome, at FROM original_access WHERE original = ? ORDER BY id", (original,)
        )
        return tuple((row[0], row[1], row[2], row[3]) for row in found)

    def hold(self, app: App, reason: str, who: str, subject: str = "*") -> str:
        """Stop all deletion of a subject's originals, or of the whole application's; the hold's id."""
        if not reason.strip() or not who.strip():
            raise UsageError("a legal hold needs a reason and a name", hint="give both", slug="evidence-reason")
        made = self.store.made()
        row = (
            made,
            rows.text(app.tenant),
            rows.text(app.name),
            rows.text(subject),
            rows.text(reason),
            rows.text(who),
            self.store.clock(),
        )
        with self.connection.transaction():
            self.connection.serialise()
            self.connection.insert("legal_hold", ("id", "tenant", "app", "subject", "reason", "who", "created"), [row])
        return made

    def release(self, hold: str) -> None:
        """End a hold; what it covered goes with the next sweep once its time is up."""
        with self.connection.transaction():
            self.connection.execute(
                "UPDATE legal_hold SET released = ? WHERE id = ? AND released IS NULL", (self.store.clock(), hold)
            )

    def sweep(self, now: float) -> Swept:
        """Delete what has expired by `now`, except what is held, and files that no row owns."""
        deleted = held = missing = 0
        for one in self._originals("expires <= ? ORDER BY id", (now,)):
            outcome = self._destroy(one, "retention ended", now)
            deleted += outcome != "held"
            held += outcome == "held"
            missing += outcome == "missing"
        return Swept(deleted, held, missing, self._strays(now))

    def delete(self, original: str, why: str) -> None:
        """Delete one original now. UsageError when a hold covers it or it is not there."""
        known = self.find(original)
        if known is None:
            raise UsageError(
                f"there is no original {original}",
                hint="it may be deleted already: see the receipts",
                slug="evidence-unknown",
            )
        if self._destroy(known, why, self.store.clock()) == "held":
            raise _held(known.app)

    def delete_subject(self, app: App, subject: str, why: str) -> int:
        """Delete every original of a subject, as a data-protection request asks; how many. UsageError when a hold covers one."""
        found = self.originals(app, rows.text(subject)) if subject else ()
        if any(self._is_held(one) for one in found):
            raise _held(app.name)
        for one in found:
            self._destroy(one, why, self.store.clock())
        return len(found)

    def shred(self, app: App, why: str) -> int:
        """Destroy the application's key and all its originals, so that copies and backups are unreadable too; how many."""
        app, now = _plain(app), self.store.clock()
        with self.connection.transaction():
            self.connection.serialise()
            if any(self._is_held(one) for one in self.originals(app)) or self._held_app(app):
                raise _held(app.name)
            for key, wrapped in self._keys(app):
                digest = hashlib.sha256(wrapped.encode()).hexdigest()
                self.connection.execute("UPDATE original_key SET wrapped = '', destroyed = ? WHERE id = ?", (now, key))
                receipts.write(
                    self.connection, rows.text(app.tenant), rows.text(app.name), "key", key, digest, rows.text(why), now
                )
        self.connection.forget("original_key")
        found = self.originals(app)
        for one in found:
            self._destroy(one, why, now)
        return len(found)

    def rotate(self, new: WrappingKey) -> int:
        """Wrap every application's key with a new key; how many. Keys that the present one does not open stay as they are."""
        count = 0
        with self.connection.transaction():
            self.connection.serialise()
            found = self.connection.execute("SELECT id, tenant, app, wrapped FROM original_key WHERE destroyed IS NULL")
            for key, tenant, app, wrapped in found:
                secret = self._unwrapped(key, tenant, app, wrapped)
                if secret is not None:
                    sealed = base64.b64encode(
                        seal(new.secret, secret, _bound(key, tenant, app, "key"), self.random)
                    ).decode()
                    self.connection.execute(
                        "UPDATE original_key SET wrapped = ?, kek = ? WHERE id = ?", (sealed, new.id, key)
                    )
                    count += 1
        self.connection.forget("original_key")
        self.key = new
        return count

    def _keys(self, app: App) -> list[tuple[str, str]]:
        found = self.connection.execute(
            "SELECT id, wrapped FROM original_key WHERE tenant = ? AND app = ? AND destroyed IS NULL ORDER BY id",
            (rows.text(app.tenant), rows.text(app.name)),
        )
        return [(row[0], row[1]) for row in found]

    def _data_key(self, app: App) -> tuple[str, bytes]:
        """The application's key, made on first use; a new one after the old was destroyed or the wrapping key changed."""
        with self.connection.transaction():
            self.connection.serialise()
            for key, wrapped in reversed(self._keys(app)):
                secret = self._unwrapped(key, app.tenant, app.name, wrapped)
                if secret is not None:
                    return key, secret
            key, secret = self.store.made(), self.random(SIZE)
            sealed = seal(self.key.secret, secret, _bound(key, app.tenant, app.name, "key"), self.random)
            row = (
                key,
                rows.text(app.tenant),
                rows.text(app.name),
                base64.b64encode(sealed).decode(),
                self.key.id,
                self.store.clock(),
            )
            self.connection.insert("original_key", ("id", "tenant", "app", "wrapped", "kek", "created"), [row])
        return key, secret

    def _unwrapped(self, key: str, tenant: str, app: str, wrapped: str) -> bytes | None:
        try:
            return unseal(self.key.secret, base64.b64decode(wrapped), _bound(key, tenant, app, "key"))
        except ValueError:
            return None

    def _opened(self, known: Original) -> tuple[bytes | None, str]:
        found = self.connection.execute("SELECT wrapped, kek FROM original_key WHERE id = ?", (known.data_key,))
        if not found or not found[0][0]:
            return None, "shredded"
        if found[0][1] != self.key.id:
            return None, "other_key"
        blob = self.blobs.read(known.id)
        if blob is None:
            return None, "missing"
        secret = self._unwrapped(known.data_key, known.tenant, known.app, found[0][0])
        if secret is None or hashlib.sha256(blob).hexdigest() != known.digest or not blob.startswith(MAGIC):
            return None, "tampered"
        plain = unseal(secret, blob[len(MAGIC) :], _bound(known.id, known.tenant, known.app, known.data_class))
        return plain, "read" if plain is not None else "tampered"

    def _destroy(self, one: Original, why: str, now: float) -> str:
        """Delete file and row with a receipt: "deleted", "missing" when the file was gone already, or "held"."""
        with self.connection.transaction():
            self.connection.serialise()
            if self._is_held(one):
                return "held"
            there = self.blobs.erase(one.id)
            what = "original" if there else "original (its file was gone)"
            receipts.write(self.connection, one.tenant, one.app, what, one.id, one.digest, rows.text(why), now)
            self.connection.execute("DELETE FROM original WHERE id = ?", (one.id,))
        return "deleted" if there else "missing"

    def _strays(self, now: float) -> int:
        owned = {row[0] for row in self.connection.execute("SELECT id FROM original")}
        return self.blobs.sweep(owned, now)

    def _is_held(self, one: Original) -> bool:
        found = self.connection.execute(
            "SELECT 1 FROM legal_hold WHERE tenant = ? AND app = ? AND released IS NULL AND (subject = '*' OR subject = ?) LIMIT 1",
            (one.tenant, one.app, one.subject),
        )
        return bool(found)

    def _held_app(self, app: App) -> bool:
        found = self.connection.execute(
            "SELECT 1 FROM legal_hold WHERE tenant = ? AND app = ? AND released IS NULL LIMIT 1",
            (rows.text(app.tenant), rows.text(app.name)),
        )
        return bool(found)

    def _originals(self, where: str, values: tuple[object, ...]) -> list[Original]:
        found: list[Row] = self.connection.execute(f"SELECT {', '.join(ORIGINAL)} FROM original WHERE {where}", values)  # noqa: S608
        return [Original(*row) for row in found]


REASONS = {
    "unknown": "there is none of that id",
    "shredded": "the key of its application was destroyed",
    "other_key": "it was kept under another wrapping key",
    "missing": "its file is gone",
    "tampered": "its file or its key was changed or cut",
}
HINTS = {
    "unknown": "it may be deleted: see the receipts",
    "shredded": "this was asked for and cannot be undone: see the receipts",
    "other_key": "give the key file or key command that was set when it was kept",
    "missing": "look for evidence.folder in a backup",
    "tampered": "restore the file from a backup, and find out who changed it",
}


def _held(app: str) -> UsageError:
    return UsageError(f"a legal hold of {app} forbids deletion", hint="release the hold first", slug="evidence-held")


def _plain(app: App) -> App:
    """The application as its rows name it."""
    return App(rows.text(app.name), rows.text(app.tenant))


def _bound(key: str, tenant: str, app: str, what: str) -> bytes:
    return "\0".join((key, tenant, app, what)).encode("utf-8", "replace")
