"""The key that wraps all others: from a key file, a mounted secret, or a command's output; and wrapping itself.

In: where the key is. Out: 32 bytes that stay in memory, and data keys sealed with AES-256-GCM. It never writes the key anywhere
but into a key file it creates itself, and never prints it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shlex
import subprocess  # noqa: TID251 - the key command of the configuration, run as a list without a shell and with a time limit
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from afterguard.errors import Unreachable, UsageError
from afterguard.files import open_file

SIZE = 32
NONCE = 12
MAX_TEXT = 4096
Random = Callable[[int], bytes]


class WrappingKey(msgspec.Struct, frozen=True):
    """A key-encryption key. `id` names it without telling anything about it."""

    secret: bytes
    id: str

    def __repr__(self) -> str:
        """Without the key, so that no log or traceback shows it."""
        return f"WrappingKey(id={self.id!r})"


def load_key(key_file: str = "", key_command: str = "", timeout: float = 10.0) -> WrappingKey:
    """The key from a file (32 bytes, or as hex or base64) or from the standard output of a command. UsageError, Unreachable."""
    if key_command:
        return _key(_output(key_command, timeout), "the key command")
    if not key_file:
        raise UsageError(
            "originals cannot be kept: no key is configured",
            hint="set evidence.key_file or evidence.key_command",
            slug="evidence-no-key",
        )
    try:
        with open_file(Path(key_file)) as handle:
            raw = handle.read(MAX_TEXT)
    except OSError as error:
        raise UsageError(
            f"the key file {key_file} cannot be read: {error.strerror}",
            hint="check evidence.key_file and its permissions",
            slug="evidence-key-unreadable",
        ) from error
    return _key(raw, f"the key file {key_file}")


def create_key_file(path: Path, random: Random = os.urandom) -> None:
    """Write a new key, readable by the owner only, whole or not at all. FileExistsError when there is one already."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(f".{path.name}.{random(6).hex()}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(base64.b64encode(random(SIZE)) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        os.link(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def _output(command: str, timeout: float) -> bytes:
    try:
        words = shlex.split(command)
        done = subprocess.run(  # noqa: S603 - a list from our own configuration, no shell
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unreachable(
            f"the key command gave no answer within {timeout:g} s",
            hint="run evidence.key_command by hand to see what it waits for",
            slug="evidence-key-command",
        ) from error
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(
            f"the key command cannot be run: {error}", hint="check evidence.key_command", slug="evidence-key-command"
        ) from error
    if done.returncode != 0:
        raise Unreachable(
            f"the key command ended with code {done.returncode}",
            hint="run evidence.key_command by hand to see why",
            slug="evidence-key-command",
        )
    return done.stdout[: MAX_TEXT + 1]


def _key(raw: bytes, source: str) -> WrappingKey:
    secret = raw if len(raw) == SIZE else _decoded(raw.strip())
    if secret is None or len(set(secret)) < 4:
        raise UsageError(
            f"{source} holds no key of 32 bytes",
            hint="give 32 random bytes, raw, as 64 hex digits or as base64; `openssl rand -base64 32` makes one",
            slug="evidence-key-shape",
        )
    return WrappingKey(secret, hashlib.sha256(b"afterguard wrapping key\0" + secret).hexdigest()[:16])


def _decoded(text: bytes) -> bytes | None:
    for decode in (bytes.fromhex, lambda one: base64.b64decode(one, validate=True), base64.urlsafe_b64decode):
        try:
            found = decode(text.decode("ascii"))
        except (ValueError, binascii.Error):
            continue
        if len(found) == SIZE:
            return found
    return None


def seal(secret: bytes, plain: bytes, bound: bytes, random: Random = os.urandom) -> bytes:
    """Nonce and ciphertext; `bound` must be the same when opening."""
    nonce = random(NONCE)
    return nonce + AESGCM(secret).encrypt(nonce, plain, bound)


def unseal(secret: bytes, sealed: bytes, bound: bytes) -> bytes | None:
    """The plain bytes, None when anything was changed or the key is another."""
    try:
        return AESGCM(secret).decrypt(sealed[:NONCE], sealed[NONCE:], bound)
    except (InvalidTag, ValueError):
        return None
