"""The vault of encrypted originals as the configuration describes it.

In: a Session. Out: an open Vault. It refuses where evidence is not configured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from afterguard.cli.options import Session
from afterguard.cli.recording import beside, opened
from afterguard.errors import UsageError
from afterguard.store.evidence import Vault
from afterguard.store.keys import load_key


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
