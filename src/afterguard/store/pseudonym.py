"""Identities as keyed hashes: the same person gives the same pseudonym, and without the key nobody gets back.

In: an identity as logged. Out: 20 hex digits. The key is made on first use, readable by the owner only; a new key makes every
pseudonym new, which is how re-identification ends.
"""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Callable
from pathlib import Path

from afterguard.store.keys import create_key_file, load_key

DIGITS = 20


def pseudonyms(key_file: Path, tenant: str = "default") -> Callable[[str], str]:
    """The function that turns identities of one tenant into pseudonyms; the key file is made when missing. UsageError."""
    if not key_file.exists():
        # Another run may have made it in between: then that one counts.
        with contextlib.suppress(FileExistsError):
            create_key_file(key_file)
    secret = load_key(str(key_file)).secret
    keyed = hmac.digest(secret, b"afterguard pseudonym\0" + tenant.encode("utf-8", "replace"), "sha256")

    def pseudonym(identity: str) -> str:
        return hmac.digest(keyed, identity.encode("utf-8", "surrogatepass"), "sha256").hex()[:DIGITS]

    return pseudonym
