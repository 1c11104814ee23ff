"""A PostgreSQL table: one row an event, once, whatever is sent twice.

In: batches. Out: rows (id, lane, at, event). The id is the primary key and a row that is there stays: this is the sink that never shows a duplicate. The table is a destination like any other, not Afterguard's store; it is made if it is missing and `create` says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta

from afterguard import postgres
from afterguard.export.secret import Secret
from afterguard.export.sink import Item, Limits, Plain, Sent, Settings, Unavailable, Unfit


class Postgres(Settings, frozen=True, kw_only=True, tag="postgres"):
    """A table of a PostgreSQL database."""

    dsn: Secret
    """Where the database's address lies: postgresql://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full."""
    table: Annotated[str, Meta(pattern=r"^([a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,62}$")] = "afterguard_events"
    """The table, with its schema where it needs one."""
    create: bool = True
    """Make the table if it is missing."""


class PostgresSink(Plain):
    """A connection, made when it is needed."""

    limits = Limits(events=1_000, size=4 << 20, event=4 << 20)

    def __init__(self, settings: Postgres) -> None:
        self._psycopg = postgres.driver()
        self._settings = settings
        self._line: Any = None

    def send(self, batch: Sequence[Item]) -> Sent:
        """Insert what is not there yet, in one transaction."""
        rows = [(one.id, one.lane, datetime.fromtimestamp(one.at, UTC), _text(one)) for one in batch]
        told = self._settings
        insert = f"INSERT INTO {told.table} (id, lane, at, event) VALUES (%s, %s, %s, %s::jsonb) ON CONFLICT DO NOTHING"  # noqa: S608 - the name fits a pattern
        try:
            with self._connected().transaction(), self._line.cursor() as cursor:
                cursor.executemany(insert, rows)
        except self._psycopg.DataError as error:
            raise Unfit(str(error)[:200]) from None
        except self._psycopg.Error as error:
            self.close()
            raise Unavailable(f"{told.table}: {str(error)[:200]}") from None
        return Sent()

    def has(self, id: str) -> bool | None:
        """Whether the row is there."""
        query = f"SELECT 1 FROM {self._settings.table} WHERE id = %s"  # noqa: S608 - the name fits a pattern
        return self._connected().execute(query, (id,)).fetchone() is not None

    def close(self) -> None:
        """Disconnect."""
        if self._line is not None:
            with contextlib.suppress(Exception):
                self._line.close()
        self._line = None

    def _connected(self) -> Any:
        if self._line is None:
            self._line = postgres.connect(self._settings.dsn.read(), timeout=10)
            if self._settings.create:
                self._line.execute(
                    f"CREATE TABLE IF NOT EXISTS {self._settings.table} "
                    "(id text PRIMARY KEY, lane text NOT NULL, at timestamptz NOT NULL, event jsonb NOT NULL)"
                )
        return self._line


def _text(one: Item) -> str:
    """As jsonb, which has no NUL character."""
    import msgspec

    text = one.body.decode("utf-8", "replace")
    return text if one.body[:1] == b"{" else msgspec.json.encode(text).decode()
