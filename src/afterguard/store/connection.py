"""One door to two databases: SQLite by path, PostgreSQL by URL, with the same statements.

In: statements with `?` placeholders in the SQL both take. Out: rows as tuples. It turns every database error into one a person
can act on and never prints a password (postgres.py). The only file that knows which database it is.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from afterguard import postgres
from afterguard.errors import AfterguardError, Unreachable, UsageError
from afterguard.postgres import redacted

Row = tuple[Any, ...]
APPLICATION_ID = 0x41465244
MIGRATION_LOCK = 0x41465244
BATCH = 1000
SCHEMES = ("postgresql://", "postgres://")


class Connection:
    """An open database. One per thread; `close` when done."""

    def __init__(self, raw: Any, name: str, postgres: bool) -> None:
        self.raw, self.name, self.postgres = raw, name, postgres
        self.depth = 0

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run one statement; its rows, [] for none."""
        with self._errors():
            cursor = self.raw.execute(self._sql(sql), tuple(values))
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Insert rows in batches; how many. Table and columns are our own names, never input."""
        marks = ", ".join("?" for _ in columns)
        sql = self._sql(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})")  # noqa: S608
        count = 0
        with self._errors():
            for batch in _batches(rows):
                cursor = self.raw.cursor()
                cursor.executemany(sql, batch)
                count += len(batch)
        return count

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; writers wait for each other. Nested ones join the outer one."""
        if self.depth:
            yield
            return
        with self._errors():
            self.raw.execute("BEGIN" if self.postgres else "BEGIN IMMEDIATE")
        self.depth += 1
        try:
            yield
        except BaseException:
            self._roll_back()
            raise
        else:
            with self._errors():
                self.raw.execute("COMMIT")
        finally:
            self.depth -= 1

    def serialise(self) -> None:
        """Inside a transaction: wait until no other is between this call and its end. SQLite's own lock is enough."""
        if self.postgres:
            self.execute("SELECT pg_advisory_xact_lock(?)", (MIGRATION_LOCK,))

    def forget(self, table: str) -> None:
        """Make sure that deleted values of one of our small tables are gone from the database's files too."""
        self.execute(f"VACUUM FULL {table}" if self.postgres else "PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close; an unfinished transaction is rolled back by the database."""
        self.raw.close()

    def _roll_back(self) -> None:
        try:
            self.raw.execute("ROLLBACK")
        except Exception:
            # The connection is broken; the database rolls back by itself and the first error is the one to tell.
            self.raw.close()

    def _sql(self, sql: str) -> str:
        return sql.replace("%", "%%").replace("?", "%s") if self.postgres else sql

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except AfterguardError:
            raise
        except sqlite3.Error as error:
            raise _sqlite_error(error, self.name) from error
        except Exception as error:
            if type(error).__module__.startswith("psycopg"):
                raise _postgres_error(error, self.name) from error
            raise


def _batches(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    batch: list[Sequence[Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def connect(target: str | Path, timeout: float = 10.0) -> Connection:
    """Open the database a path or URL names, creating an SQLite file with mode 0600. UsageError or Unreachable."""
    text = str(target)
    if text.startswith(SCHEMES):
        return _postgres(text, timeout)
    if re.match(r"\A[a-z][a-z0-9+.-]+://", text) and not text.startswith("sqlite://"):
        raise UsageError(
            f"the store cannot be kept at {redacted(text)}",
            hint="give the path of a file, or a URL that starts with postgresql://",
            slug="store-url",
        )
    return _sqlite(Path(text.removeprefix("sqlite://")), timeout)


def _sqlite(path: Path, timeout: float) -> Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _private(path)
        raw = sqlite3.connect(path, timeout=timeout, isolation_level=None)
    except (OSError, sqlite3.Error, ValueError) as error:
        raise UsageError(
            f"the store {path} cannot be opened: {error}",
            hint="give a path you can write to with --store, or set store.enabled = false",
            slug="store-unwritable",
        ) from error
    connection = Connection(raw, str(path), postgres=False)
    try:
        _prepare(connection, timeout)
    except BaseException:
        raw.close()
        raise
    return connection


def _private(path: Path) -> None:
    """Make sure that only the owner can read the file, before anything is written to it."""
    flags = (
        os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    )
    handle = os.open(path, flags, 0o600)
    try:
        info = os.fstat(handle)
        if info.st_mode & 0o077 and hasattr(os, "fchmod"):
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def _prepare(connection: Connection, timeout: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {int(timeout * 1000)}")
    # In this order: another run that is just making the store marks it before it makes tables.
    tables = connection.execute("SELECT COUNT(*) FROM sqlite_master")[0][0]
    owner = connection.execute("PRAGMA application_id")[0][0]
    if tables and owner != APPLICATION_ID:
        raise UsageError(
            f"{connection.name} is a database of another program",
            hint="give another path for the store",
            slug="store-foreign",
        )
    for pragma in (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
        "trusted_schema = OFF",
        "secure_delete = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
    if not tables:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _postgres(url: str, timeout: float) -> Connection:
    try:
        raw = postgres.connect(url, max(1, int(timeout)))
        raw.execute(f"SET lock_timeout = {int(timeout * 1000)}")
    except postgres.driver().Error as error:
        raise _postgres_error(error, redacted(url)) from error
    return Connection(raw, redacted(url), postgres=True)


def _sqlite_error(error: sqlite3.Error, name: str) -> AfterguardError:
    text = str(error)
    if "locked" in text or "busy" in text:
        return Unreachable(
            f"the store {name} is busy: another run holds it",
            hint="wait for the other run to end, then try again",
            slug="store-busy",
        )
    if "full" in text:
        return UsageError(
            f"the disk of the store {name} is full", hint="free some space, then run again", slug="store-full"
        )
    if "not a database" in text or "malformed" in text or "corrupt" in text or "encrypted" in text:
        return UsageError(
            f"the store {name} is damaged or not a database: {text}",
            hint="move the file away to begin a new store; `sqlite3 FILE .recover` may save what is in it",
            slug="store-damaged",
        )
    return UsageError(
        f"the store {name} failed: {text}", hint="check the path and its permissions", slug="store-failed"
    )


def _postgres_error(error: Exception, name: str) -> AfterguardError:
    text = " ".join(str(error).split())[:300]
    return Unreachable(
        f"the store {name} did not answer as it should: {text}",
        hint="check the URL, the server and the rights of the user; then run `afterguard doctor`",
        slug="store-unreachable",
    )
