"""`afterguard doctor`: whether this installation can do its work."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import sys
from typing import NamedTuple

from afterguard import __version__
from afterguard.cli.options import DEFAULT, Common, Session, open_session, writing


class Row(NamedTuple):
    """One thing looked at: ok, optional (works without) or wrong."""

    what: str
    state: str
    detail: str


def doctor(*, common: Common = DEFAULT) -> int:
    """Check the installation, its optional parts, the configuration and the store. Opens no network connection but the store's."""
    session = open_session(common)
    rows = [*_python(), *_libraries(), _prefilter(), _configuration(session), _store(session)]
    with writing(common.output) as out:
        if common.format == "json":
            out.write(
                json.dumps({"format": "afterguard.doctor/1", "rows": [row._asdict() for row in rows]}, indent=2) + "\n"
            )
        else:
            for row in rows:
                out.write(f"{row.state:<9} {row.what:<22} {row.detail}\n")
    wrong = [row for row in rows if row.state == "wrong"]
    session.next("afterguard onboard PATH --logs LOG" if not wrong else "mend what is wrong, then afterguard doctor")
    return 4 if any(row.what == "store" for row in wrong) else 2 if wrong else 0


def _python() -> list[Row]:
    version = platform.python_version()
    state = "ok" if sys.version_info >= (3, 11) else "wrong"
    return [Row("afterguard", "ok", __version__), Row("python", state, f"{version} on {platform.machine()}")]


def _libraries() -> list[Row]:
    rows = []
    for module, package, why in (
        ("tree_sitter", "tree-sitter", "JavaScript, TypeScript, Java, Kotlin, Go and HCL"),
        ("numpy", "numpy", "money"),
        ("cryptography", "cryptography", "encrypted evidence"),
        ("zstandard", "zstandard", "zst logs"),
    ):
        found = importlib.util.find_spec(module) is not None
        rows.append(Row(package, "ok" if found else "wrong", _version(package) if found else f"missing: {why}"))
    for module, package, why in (
        ("pyarrow", "afterguard[parquet]", "Parquet logs"),
        ("psycopg", "afterguard[postgres]", "a PostgreSQL store"),
        ("hpack", "afterguard[envoy]", "the door for Envoy"),
    ):
        found = importlib.util.find_spec(module) is not None
        rows.append(
            Row(package, "ok" if found else "optional", "installed" if found else f"not installed; needed for {why}")
        )
    return rows


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "installed"


def _prefilter() -> Row:
    from afterguard.detect.prefilter import Pattern, Prefilter

    chosen = Prefilter([Pattern("a", "sk-[a-z]+")])
    works = bool(chosen.scan(b"sk-abc"))
    slow = "" if chosen.backend == "hyperscan" else "; slower than hyperscan, same answers"
    return Row("prefilter", "ok" if works else "wrong", chosen.backend + slow)


def _configuration(session: Session) -> Row:
    return Row("configuration", "ok", session.loaded.file or "defaults and environment, no file")


def _store(session: Session) -> Row:
    from afterguard.cli.recording import probe

    return Row("store", *probe(session))
