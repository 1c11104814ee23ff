"""Recording a run in the store, where a command may do so.

In: a Session and results. Out: what changed since the run before. A default store that cannot be written never costs the result;
a store that was asked for by name does.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from afterguard import __version__
from afterguard.cli.options import Session
from afterguard.errors import AfterguardError, UsageError
from afterguard.jobs.onboard import with_change
from afterguard.model import App, Change, Exchange, Hit, Lookback, Loss, OnboardResult, Survey
from afterguard.store.database import Store, open_store
from afterguard.store.evidence import Vault
from afterguard.store.keys import load_key
from afterguard.store.pseudonym import pseudonyms

DATABASE = "store.db"
KEY = "pseudonym.key"
HITS = 20_000
"""Hits of one application kept with a run; the incidents made of them are always kept."""


def data_folder() -> Path:
    """The user's data folder for Afterguard; the platform's own place."""
    base = os.environ.get("XDG_DATA_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else "")
    return (Path(base) if base else Path.home() / ".local" / "share") / "afterguard"


def target(session: Session) -> str | Path:
    """Where the store is. UsageError for a server under --offline."""
    url = session.config.store.url
    if url.startswith(("postgres://", "postgresql://")) and session.common.offline:
        raise UsageError(
            "--offline refuses a PostgreSQL store", hint="use an SQLite file or --no-store", slug="bad-usage"
        )
    return url or data_folder() / DATABASE


def beside(session: Session, name: str) -> Path:
    """A file or folder beside an SQLite store; in the data folder when the store is a server."""
    where = target(session)
    return (
        (where if isinstance(where, Path) else Path(where)).parent / name
        if "://" not in str(where)
        else data_folder() / name
    )


def opened(session: Session) -> Store | None:
    """The store, or None where nothing is to be recorded or the default place cannot be written (which is said)."""
    if not session.config.store.enabled:
        return None
    where = target(session)
    try:
        if "://" not in str(where):
            Path(where).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return open_store(where)
    except (AfterguardError, OSError) as error:
        if session.config.store.url:
            raise
        session.say(f"not recorded: {error}")
        return None


@contextmanager
def vault(session: Session) -> Iterator[Vault]:
    """Open store and vault. Raises UsageError without store or key."""
    chosen = session.config.evidence
    key = load_key(chosen.key_file, chosen.key_command)
    store = opened(session)
    if store is None:
        raise UsageError("evidence needs a store", hint="drop --no-store, or set store.url", slug="no-store")
    folder = Path(chosen.folder) if chosen.folder else beside(session, "evidence")
    with store:
        yield Vault(store, folder, key, chosen.retention_days)


def pseudonym(session: Session) -> Callable[[str], str]:
    """Identities as keyed hashes: the same person the same hash in every run that is recorded, and in this run otherwise."""
    if session.config.store.enabled:
        file = beside(session, KEY)
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return pseudonyms(file, session.config.tenant)
        except (AfterguardError, OSError) as error:
            if session.config.store.url:
                raise
            session.say(f"callers get new pseudonyms in every run: {error}")
    key = os.urandom(32)
    return lambda text: hmac.digest(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()[:20]


class Witness:
    """Sees every exchange with hits: collects the hits for the store and, where evidence is kept, the encrypted original."""

    def __init__(self, vault: Vault | None = None) -> None:
        self.vault = vault
        self.hits: dict[str, list[Hit]] = {}
        self.left_out = 0

    def of(self, app: App) -> Callable[[Exchange, Sequence[Hit]], None]:
        """What a look-back of one application calls."""
        rows = self.hits.setdefault(app.name, [])

        def seen(exchange: Exchange, hits: Sequence[Hit]) -> None:
            room = max(0, HITS - len(rows))
            rows.extend(hits[:room])
            self.left_out += len(hits) - len(hits[:room])
            if self.vault is not None:
                classes = sorted({name for hit in hits for name in hit.data_classes})
                self.vault.keep(app, exchange.id, msgspec.json.encode(exchange), *classes)

        return seen


@contextmanager
def witness(session: Session) -> Iterator[Witness]:
    """A Witness for one command, with a vault where the configuration keeps evidence. UsageError for a vault without key."""
    if session.config.evidence.keep:
        with vault(session) as kept:
            one = Witness(kept)
            yield one
    else:
        one = Witness()
        yield one
    if one.left_out:
        session.say(
            f"{one.left_out:,} hits beyond {HITS:,} are not recorded one by one; the incidents made of them are"
        )


def record(
    session: Session,
    survey: Survey | None,
    past: Lookback | None,
    command: str,
    started: float,
    app: App | None = None,
    hits: Sequence[Hit] = (),
) -> Change | None:
    """Keep one run; what changed since the one before, None where nothing was kept or there was none."""
    store = opened(session)
    if store is None:
        return None
    with store:
        change = _save(store, survey, past, None, command, started, app, hits)
    if change is not None:
        session.say(said(change))
    return change


def record_all(session: Session, result: OnboardResult, hits: Mapping[str, Sequence[Hit]]) -> OnboardResult:
    """Keep one run for each application; the result with what changed."""
    store = opened(session)
    if store is None:
        return result
    with store:
        changes = {
            one.survey.app.name: change
            for one in result.apps
            if (
                change := _save(
                    store,
                    one.survey,
                    one.lookback,
                    one.loss,
                    "onboard",
                    result.created_at,
                    None,
                    hits.get(one.survey.app.name, ()),
                )
            )
            is not None
        }
    return with_change(result, changes)


def _save(
    store: Store,
    survey: Survey | None,
    past: Lookback | None,
    loss: Loss | None,
    command: str,
    started: float,
    app: App | None,
    hits: Sequence[Hit],
) -> Change | None:
    run = store.save_run(survey, past, loss, started=started, command=command, version=__version__, app=app, hits=hits)
    change = store.diff(run)
    return change if change.previous_run else None


def said(change: Change) -> str:
    """One line on what changed."""
    parts = [f"{len(change.new)} new", f"{len(change.fixed)} gone", f"{sum(change.unchanged.values())} unchanged"]
    if change.not_examined:
        parts.append(f"{len(change.not_examined)} not examined this time")
    return "since the last run: " + ", ".join(parts)


def probe(session: Session) -> tuple[str, str]:
    """(ok, optional or wrong; where) of the store, for doctor."""
    if not session.config.store.enabled:
        return "optional", "switched off"
    quiet = msgspec.structs.replace(session.config.store, url=str(target(session)))
    try:
        where = target(session)
        if "://" not in str(where):
            Path(where).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open_store(where) as store:
            runs = len(store.history(limit=10_000))
        return "ok", f"{_shown(quiet.url)}, {runs} runs"
    except (AfterguardError, OSError) as error:
        return "wrong", str(error)


def _shown(url: str) -> str:
    from afterguard.postgres import redacted

    return redacted(url) if "://" in url else url
