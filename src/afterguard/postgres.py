"""A connection to PostgreSQL, for the store, a sink or a store of vectors; what is said of it never holds the password.

In: an address. Out: an open connection of psycopg. It knows nothing of tables.

libpq quotes what it cannot read of an address, and takes for a host, a port or a database what follows an @ or / of a password that nobody wrote as %40 or %2F. So what it made of an address is looked at
before anything is asked, and what it says of one that it could not read is told without what it quotes.
"""

from __future__ import annotations

import re
from typing import Any

from afterguard.errors import UsageError

QUOTED = re.compile(r'[ :]*".*"', re.S)
"""From the first quotation mark to the last: a password may hold some itself."""
HINT = "postgresql://USER:PASSWORD@HOST/DATABASE; in the password write @ / : % and blanks as %40 %2F %3A %25 %20"


def driver() -> Any:
    """psycopg. Raises UsageError where it is missing."""
    try:
        import psycopg
    except ImportError:
        raise UsageError("PostgreSQL needs its driver", hint="pip install 'afterguard[postgres]'", slug="missing-extra") from None  # fmt: skip
    return psycopg


def connect(address: str, timeout: int, **more: str) -> Any:
    """A connection in which every statement stands alone; `timeout` in seconds. Raises UsageError for an address that cannot be read, psycopg.Error for whatever the server does."""
    psycopg = driver()
    told = _read(psycopg, address) | more
    try:
        return psycopg.connect(address, autocommit=True, connect_timeout=timeout, application_name="afterguard", **more)
    except (psycopg.Error, UnicodeError) as error:
        text = str(error)
        for secret in (one for key, one in told.items() if key.endswith("password") and one):
            text = text.replace(str(secret), "***")
        raise psycopg.OperationalError(text) from None


def redacted(url: str) -> str:
    """A URL without its password."""
    return re.sub(r"(?i)([?&][a-z]*password=)[^&]*", r"\1***", re.sub(r"(?s)(://[^:/@?]*):.*@", r"\1:***@", url))


def _read(psycopg: Any, address: str) -> dict[str, Any]:
    """What libpq makes of an address."""
    try:
        found: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(address)
    except (psycopg.Error, UnicodeError) as error:
        why = "characters that are none" if isinstance(error, UnicodeError) else QUOTED.sub("", str(error)).strip()
        raise UsageError(f"the address of the database cannot be read: {why}", hint=HINT, slug="store-url") from None
    ports = str(found.get("port", "")).split(",")
    if any("@" in str(found.get(key, "")) for key in ("host", "dbname")) or not all(one.isdigit() or not one for one in ports):  # fmt: skip
        raise UsageError("the address of the database has an @, / or : that belongs to its password", hint=HINT, slug="store-url")  # fmt: skip
    return found
