"""PostgreSQL, with pgvector or any other type of vector: a table beside the one that is searched.

In: its settings. Out: `opened`, a store. Rows are moved by one statement in one transaction, which is taken back where a row would come out other than it went in. Names of schema, table and columns come from the
settings, are checked when those are read, and are quoted; whatever an act or a row says is a parameter. `field` and `text` may lead into a JSON column: `cmetadata.source`. It needs no function of pgvector, only
its operator where `vector` is given. Rows that others hang on with a foreign key that deletes or empties are not touched: those others would not come back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from afterguard import postgres
from afterguard.errors import AfterguardError
from afterguard.files import secret
from afterguard.respond.vectors.store import MOST, NEAREST, Name, Store, Vectors, failed

ASIDE = "_quarantine"
NAMED = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}\Z")
LONGEST = 63 - len(ASIDE)
"""Bytes of a table's name: PostgreSQL cuts what is longer without a word."""
CONNECT, WAIT, LOCK, MOVING = 10, 60, 10, 600
"""Seconds for the connection, a statement, a lock, and the statement that moves: an index of vectors is slow to write."""
PAGE = 256
TEXT = 1 << 20
"""Bytes of a text that is hashed."""


class Postgres(Vectors, frozen=True, kw_only=True, tag="postgres"):
    """A table of PostgreSQL; `collection` is its name, or SCHEMA.TABLE."""

    url: Name
    """postgresql://USER@HOST/DATABASE?sslmode=verify-full"""
    password: str = ""
    """File with the password; without one libpq looks where it always does."""
    vector: str = ""
    """The column of the vectors: with it a search by one is asked whether it still finds the document."""
    distance: Literal["<->", "<=>", "<#>", "<+>"] = "<=>"
    """The operator that the application searches with."""
    searched: str = ""
    """The view that the application reads, where it does not read the table."""

    def __post_init__(self) -> None:
        for name, parts in (("collection", _split(self.collection)), ("searched", _split(self.searched or "x"))):
            if len(parts) > 2 or not all(map(NAMED.match, parts)):
                raise ValueError(f"{name} is no name of a table: TABLE or SCHEMA.TABLE")
        if len(_split(self.collection)[-1]) > LONGEST:
            raise ValueError(f"the name of a table has at most {LONGEST} letters, so that {ASIDE} fits")
        for name, value in (("field", self.field), ("text", self.text or "x"), ("vector", self.vector or "x")):
            column, *inside = value.split(".")
            if not NAMED.match(column) or (inside and name == "vector") or not all(inside):
                raise ValueError(f"{name} is no name of a column: COLUMN, or COLUMN.KEY for a JSON column")
        if not self.url.startswith(("postgresql://", "postgres://")):
            raise ValueError("url starts with postgresql://")


@contextmanager
def opened(settings: Postgres) -> Iterator[Store]:
    """A store. Raises UsageError without the library, Unreachable for whatever the server does."""
    psycopg = postgres.driver()
    more = {"password": secret(settings.password)} if settings.password else {}
    connection = None
    try:
        connection = postgres.connect(settings.url, CONNECT, **more)
        # Rows that are hidden from us are an error, and no proof.
        connection.execute(f"SET statement_timeout = {WAIT * 1000}; SET lock_timeout = {LOCK * 1000}; SET row_security = off")  # fmt: skip
        yield _Postgres(connection, settings)
    except AfterguardError:
        raise
    except psycopg.errors.UniqueViolation as error:
        raise failed(f"it was written again meanwhile: {error}", "keep one of them: delete it here or there, then do it again") from None  # fmt: skip
    except (psycopg.Error, UnicodeError) as error:
        raise failed(str(error)) from None
    finally:
        if connection is not None:
            connection.close()


class _Postgres:
    """See Store."""

    def __init__(self, connection: Any, settings: Postgres) -> None:
        from psycopg import errors, sql

        self.no_value = errors.DataError
        self.connection, self.settings, self.sql = connection, settings, sql
        *schema, table = _split(settings.collection)
        self.names = {aside: sql.Identifier(*schema, table + (ASIDE if aside else "")) for aside in (False, True)}
        self.field = self._at(settings.field)

    def objections(self) -> list[str]:
        told = self.settings
        kind = self._one("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)", self._text(False))
        if kind is None:
            return [f"there is no table {told.collection}"]
        if kind == "r" and self._one("SELECT 1 FROM pg_inherits WHERE inhparent = to_regclass(%s)", self._text(False)):
            return [f"other tables inherit from {told.collection}: their rows would come back into another one"]
        if kind not in ("r", "p"):
            return [f"{told.collection} is no table: its rows cannot be moved"]
        columns = self._columns(False)
        wanted = {one.split(".")[0] for one in (told.field, told.text, told.vector) if one}
        if missing := sorted(wanted - set(columns)):
            return [f"{told.collection} has no column {missing[0]} of its own"]
        if self._columns(True) and (gone := sorted(set(self._columns(True)) ^ set(columns))):
            return [f"the columns of {told.collection} changed since {told.collection}{ASIDE} was made: {gone[0]} is in one of them only"]  # fmt: skip
        hanging = self._one("SELECT min(conrelid::regclass::text) FROM pg_constraint WHERE contype = 'f' AND confdeltype IN ('c', 'n', 'd') AND confrelid = to_regclass(%s)", self._text(False))  # fmt: skip
        if hanging:
            return [f"rows of {hanging} would be deleted or emptied with it, and would not come back"]
        if told.vector or told.searched:
            self._one(*self._search(None, self.names[False], "EXPLAIN "))  # whether it can be asked
        return self._rights()

    def _rights(self) -> list[str]:
        """What this user may not."""
        for aside in filter(self._columns, (False, True)):
            for right in ("SELECT", "DELETE", "INSERT"):
                if not self._one("SELECT has_table_privilege(%s, %s)", self._text(aside), right):
                    return [f"this user may not {right.lower()} in {self.settings.collection}{ASIDE if aside else ''}"]
        *schema, _ = _split(self.settings.collection)
        if self._columns(True) or self._one("SELECT has_schema_privilege(coalesce(%s, current_schema()), 'CREATE')", schema[0] if schema else None):  # fmt: skip
            return []
        return [f"there is no {self.settings.collection}{ASIDE}, and this user may not make tables"]

    def count(self, document: str, aside: bool) -> int:
        if aside and not self._columns(True):
            return 0
        query = self._put("SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {field} = %s LIMIT %s) AS x", aside)
        try:
            return int(self._one(query, *self._of(document), MOST + 1))
        except self.no_value:  # a column of numbers or UUIDs, and a name that is none
            return 0

    def marks(self, document: str) -> Iterator[str]:
        for aside in filter(self._columns, (False, True)):
            query = self._put("SELECT md5(ROW({columns})::text) FROM {table} WHERE {field} = %s", aside)
            yield from (str(row[0]) for row in self._rows(query, self._of(document)))

    def texts(self) -> Iterator[tuple[str, str]]:
        if not self.settings.text:
            return
        text, inside = self._at(self.settings.text), _inside(self.settings.text)
        for aside in filter(self._columns, (False, True)):
            query = self._put("SELECT ({field})::text, ({text})::text FROM {table} WHERE octet_length(({text})::text) <= %s", aside, text=text)  # fmt: skip
            for row in self._rows(query, [*_inside(self.settings.field), *inside, *inside, TEXT]):
                if row[0] is not None and row[1] is not None:
                    yield row[0], row[1]

    def move(self, document: str, back: bool) -> int:
        with self.connection.transaction():
            if back and not self._columns(True):
                return 0
            self.connection.execute(f"SET LOCAL statement_timeout = {MOVING * 1000}")
            if found := self.objections():
                raise failed(found[0], "change the table, the rights or the settings")
            if not self._columns(True):
                self.connection.execute(self._put("CREATE TABLE {aside} AS SELECT {columns} FROM {table} WITH NO DATA", False))  # fmt: skip
            if not back and (key := self._key()):  # what was aside under the same key is an older one
                older = self._put("DELETE FROM {aside} WHERE {field} = %s AND ({key}) IN (SELECT {key} FROM {table} WHERE {field} = %s)", False, key=self._list(key))  # fmt: skip
                self.connection.execute(older, self._of(document) * 2)
            query = self._put(
                "WITH gone AS (DELETE FROM {table} WHERE {field} = %s RETURNING *), "
                "put AS (INSERT INTO {other} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM gone RETURNING *), "
                "had AS (SELECT md5(ROW({columns})::text) AS m FROM gone), has AS (SELECT md5(ROW({columns})::text) AS m FROM put) "
                "SELECT (SELECT count(*) FROM had), (SELECT md5(string_agg(m, '' ORDER BY m)) FROM had) IS NOT DISTINCT FROM (SELECT md5(string_agg(m, '' ORDER BY m)) FROM has)",
                back,
            )
            count, is_same = self.connection.execute(query, self._of(document)).fetchone()
            if not is_same:
                raise failed("rows come out other than they went in: a trigger or a rule changes them", "nothing was moved; move it past the trigger")  # fmt: skip
            return int(count)

    def found(self, document: str) -> int | None:
        if not (self.settings.vector or self.settings.searched) or not self._columns(True):
            return None
        return int(self._one(*self._search(document, self.names[True])))

    # -- asking

    def _search(self, document: str | None, of: Any, words: str = "") -> tuple[Any, ...]:
        """The statement that looks for a document with one of its vectors out of the table `of`, and its parameters."""
        told, sql = self.settings, self.sql
        more = {"searched": sql.Identifier(*_split(told.searched or told.collection)), "of": of}
        if not told.vector:
            words += "SELECT count(*) FROM {searched} WHERE {field} = %s"
            return (self._put(words, False, **more), *self._of(document))
        words += (
            "SELECT count(*) FROM (SELECT ({field})::text AS found FROM {searched} ORDER BY {vector} {distance} "
            "(SELECT {vector} FROM {of} WHERE {field} = %s AND {vector} IS NOT NULL LIMIT 1) LIMIT %s) AS near WHERE found = %s"
        )
        more |= {"vector": sql.Identifier(told.vector), "distance": sql.SQL(told.distance)}
        return (self._put(words, False, **more), *_inside(told.field), *self._of(document), NEAREST, document)

    def _text(self, aside: bool) -> str:
        """A table's name as a parameter."""
        return ".".join(f'"{one}"' for one in _split(self.settings.collection + (ASIDE if aside else "")))

    def _at(self, path: str) -> Any:
        """A column, or what stands in one at a path of parameters."""
        column, *inside = path.split(".")
        name = self.sql.Identifier(column)
        return self.sql.SQL("{} #>> %s").format(name) if inside else name

    def _of(self, document: str | None) -> list[Any]:
        """The parameters of `field = document`."""
        if document and "\0" in document:
            raise failed("a name with a NUL in it is no document's")
        return [*_inside(self.settings.field), document]

    def _columns(self, aside: bool) -> list[str]:
        """Names of columns, without those that are computed; [] where there is no table."""
        return [name for (name,) in self.connection.execute("SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum", [self._text(aside)])]  # fmt: skip

    def _key(self) -> list[str]:
        """The columns of the primary key; [] where there is none."""
        return [name for (name,) in self.connection.execute("SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey) WHERE indisprimary AND indrelid = to_regclass(%s)", [self._text(False)])]  # fmt: skip

    def _list(self, names: list[str]) -> Any:
        return self.sql.SQL(", ").join(map(self.sql.Identifier, names))

    def _put(self, words: str, aside: bool, **more: Any) -> Any:
        """A statement with its names in it."""
        return self.sql.SQL(words).format(table=self.names[aside], other=self.names[not aside], aside=self.names[True], field=self.field, columns=self._list(self._columns(False)), **more)  # fmt: skip

    def _one(self, query: Any, *values: Any) -> Any:
        row = self.connection.execute(query, values).fetchone()
        return None if row is None else row[0]

    def _rows(self, query: Any, values: list[Any]) -> Iterator[Any]:
        with self.connection.transaction(), self.connection.cursor(name="afterguard") as cursor:
            cursor.itersize = PAGE
            yield from cursor.execute(query, values)


def _split(name: str) -> list[str]:
    return name.split(".")


def _inside(path: str) -> list[list[str]]:
    """The parameter of a path into a JSON column; none where it is a column."""
    _, *inside = path.split(".")
    return [inside] if inside else []
