"""No password comes out of an address of PostgreSQL: not of one that libpq misreads, nor of one that a real server refuses; through every door that connects to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from afterguard.errors import AfterguardError, UsageError
from afterguard.export.secret import Secret
from afterguard.export.sink import Item, Unavailable
from afterguard.export.sinks.postgres import Postgres as Sink
from afterguard.export.sinks.postgres import PostgresSink
from afterguard.postgres import connect, redacted
from afterguard.respond.vectors import opened, postgres
from afterguard.store.database import open_store

from .conftest import BINARIES, running

SECRET = "s3cr3t-pw"
MISREAD = [
    f"postgresql://u:{SECRET}%zz@h/d",
    f"postgresql://u:p@{SECRET}@h/d",
    f"postgresql://u:{SECRET}@[::1/d",
    f"postgresql://u:{SECRET} x@h/d",
    f'postgresql://u:a" {SECRET} "b@h/d',
    f"postgresql://u:a/{SECRET}@h/d",
    f"postgresql://u:1/{SECRET}@h/d",
    f"postgresql://u:a?b@{SECRET}@h/d",
    f"postgresql://u:a/b?{SECRET}@h/d",
    f"postgresql://u:{SECRET}@h/d?bogus={SECRET}",
    f"postgresql://u:p@h/d?password=a&{SECRET}",
    f"postgresql://u:{SECRET}@h:port/d",
    f"postgresql://u:{SECRET}\0@h/d",
    f"postgresql://u:{SECRET}\ud800@h/d",
]
AWAY = [
    f"postgresql://u:{SECRET}@127.0.0.1:1/d",
    f"postgresql://u:{SECRET}@nowhere.invalid/d",
    f"postgresql://u:{SECRET}@127.0.0.1:99999/d",
    f"postgresql://u@127.0.0.1:1/d?password={SECRET}",
]


def through_store(address: str) -> None:
    open_store(address, timeout=5)


def through_sink(address: str) -> None:
    class Told(Secret, frozen=True):
        def read(self) -> str:
            return address

    PostgresSink(Sink(name="it", dsn=Told(env="X"))).send([Item("i", 0.0, "low", "", b"{}")])


def through_vectors(address: str) -> None:
    with opened(postgres.Postgres(url=address, collection="kb")) as store:
        store.objections()


DOORS = pytest.mark.parametrize("door", [through_store, through_sink, through_vectors])


def said(door: Callable[[str], None], address: str) -> str:
    with pytest.raises((AfterguardError, Unavailable)) as told:
        door(address)
    return f"{told.value} {getattr(told.value, 'hint', '')}"


@DOORS
@pytest.mark.parametrize("address", MISREAD)
def test_an_address_that_is_misread_goes_no_further(door: Callable[[str], None], address: str) -> None:
    assert SECRET not in (words := said(door, address)) and "%40" in words
    assert SECRET not in redacted(address) or "h/d?" in address


@DOORS
@pytest.mark.parametrize("address", AWAY)
def test_a_server_that_is_away(door: Callable[[str], None], address: str) -> None:
    assert SECRET not in said(door, address)


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    """A server that asks for a password; the right one is `right`."""
    if not BINARIES:
        pytest.skip("no PostgreSQL server binaries (initdb) on this machine")
    with running(BINARIES[-1].parent) as url:
        folder = parse_qs(urlsplit(url).query)["host"][0]
        rules = Path(folder, "data", "pg_hba.conf")
        with psycopg.connect(url, autocommit=True) as line:
            line.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
            rules.write_text("local all locked scram-sha-256\n" + rules.read_text())
            line.execute("SELECT pg_reload_conf()")
        yield folder


@pytest.mark.postgres
@DOORS
@pytest.mark.parametrize("user", ["locked", "nobody"])
def test_a_real_server_that_refuses(door: Callable[[str], None], user: str, locked: str) -> None:
    words = said(door, f"postgresql://{user}:{SECRET}@/postgres?host={locked}")
    assert SECRET not in words and user in words


@pytest.mark.postgres
def test_a_password_with_everything_in_it(locked: str) -> None:
    with connect(f"postgresql://postgres@/postgres?host={locked}", 5) as line:
        line.execute("CREATE ROLE odd LOGIN PASSWORD 'p@/:?%# \"'")
    for address in (f"postgresql://odd:p%40%2F%3A%3F%25%23%20%22@/postgres?host={locked}", f"host={locked} user=odd dbname=postgres password='p@/:?%# \"'"):  # fmt: skip
        with connect(address, 5) as line:
            assert line.execute("SELECT current_user").fetchone() == ("odd",)


def test_a_password_is_never_shown() -> None:
    assert redacted("postgresql://u:p:w@h/db?password=x&a=b") == "postgresql://u:***@h/db?password=***&a=b"
    assert redacted("postgresql://u:p@w/x@h/db?sslpassword=x") == "postgresql://u:***@h/db?sslpassword=***"
    with pytest.raises(UsageError):
        connect("postgresql://u:a@b@h/d", 1)
