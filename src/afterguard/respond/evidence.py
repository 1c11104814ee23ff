"""Evidence of an incident as one signed archive that anybody can verify offline.

In: members (name, bytes, where they come from), what could not be had, a key. Out: a tar file whose first member is the manifest with the hash of every other one, and whose second is the signature over it. The same members at the same time give the same bytes. Reading one never unpacks it, follows no link and is bounded.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from afterguard.errors import UsageError

FORMAT = "afterguard.evidence/1"
MANIFEST, SIGNATURE = "manifest.json", "signature.json"
MEMBERS = 20_000
MEMBER = 256 << 20
WHOLE = 4 << 30


class Member(msgspec.Struct, frozen=True):
    """One piece of evidence."""

    name: str
    """Path within the archive."""
    data: bytes
    source: str = ""
    """Where it was taken from: file and byte, database, guard."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member as the manifest has it."""

    name: str
    size: int
    sha256: str
    source: str = ""


class Missing(msgspec.Struct, frozen=True):
    """What was asked for and could not be had."""

    what: str
    why: str


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is in the archive, and what is not."""

    case: str
    created: str
    by: str
    product: str
    members: tuple[Entry, ...]
    missing: tuple[Missing, ...] = ()
    facts: dict[str, str] = {}
    """Versions: policies, detectors, judge, prompts, models."""
    format: str = FORMAT


class Signed(msgspec.Struct, frozen=True):
    """Who says that the manifest is what was collected."""

    key: str
    signature: str
    sha256: str


class Checked(msgspec.Struct, frozen=True):
    """What a look at an archive found."""

    manifest: Manifest | None
    key: str
    problems: tuple[str, ...]


def pack(out: IO[bytes], members: Iterable[Member], *, case: str, created: str, at: float, by: str, product: str, key: Ed25519PrivateKey, missing: Sequence[Missing] = (), facts: dict[str, str] | None = None) -> Manifest:  # fmt: skip
    """Write the archive. Raises UsageError for names that leave it, that come twice, or that are too many."""
    kept: dict[str, Member] = {}
    for one in members:
        if not _is_plain(one.name) or one.name in (MANIFEST, SIGNATURE) or one.name in kept:
            raise UsageError(f"{one.name[:200]} is no name for a piece of evidence", hint="a relative path, once", slug="bad-evidence")  # fmt: skip
        if len(kept) >= MEMBERS or len(one.data) > MEMBER:
            raise UsageError("too much evidence for one archive", hint=f"at most {MEMBERS} members of {MEMBER >> 20} MiB; make several", slug="bad-evidence")  # fmt: skip
        kept[one.name] = one
    entries = tuple(Entry(one.name, len(one.data), hashlib.sha256(one.data).hexdigest(), one.source) for one in kept.values())  # fmt: skip
    manifest = Manifest(case, created, by, product, entries, tuple(missing), facts or {})
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    signed = Signed(public, key.sign(text).hex(), hashlib.sha256(text).hexdigest())
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in ((MANIFEST, text), (SIGNATURE, msgspec.json.encode(signed)), *((one.name, one.data) for one in kept.values())):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), int(at), 0o440
            archive.addfile(info, io.BytesIO(data))
    return manifest


def verify(path: Path, trusted: Sequence[str] = ()) -> Checked:
    """Whether an archive is what was signed. `trusted`: public keys in hexadecimal; none: any key, which proves only that nothing was changed since. Raises UsageError for what is no archive."""
    try:
        with tarfile.open(path, mode="r:") as archive:
            return _verified(archive, trusted)
    except FileNotFoundError:
        raise UsageError(f"there is no {path}", hint="give the archive that respond evidence wrote", slug="no-such-path") from None  # fmt: skip
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise UsageError(f"{path} is no archive of evidence: {error}", hint="it is cut off, or not what respond evidence wrote", slug="bad-evidence") from None  # fmt: skip


def _verified(archive: tarfile.TarFile, trusted: Sequence[str]) -> Checked:
    problems: list[str] = []
    text, signature = _next(archive, MANIFEST), _next(archive, SIGNATURE)
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
        signed = msgspec.json.decode(signature, type=Signed)
    except msgspec.MsgspecError as error:
        return Checked(None, "", (f"the manifest or its signature cannot be read: {error}",))
    if manifest.format != FORMAT:
        problems.append(f"it is {manifest.format[:60]}, not {FORMAT}")
    if not _holds(signed, text):
        problems.append("the signature does not hold: the manifest was changed")
    elif trusted and signed.key not in trusted:
        problems.append("it is signed with a key that is not among the trusted ones")
    problems += _compared(archive, {one.name: one for one in manifest.members})
    return Checked(manifest, signed.key, tuple(problems))


def _compared(archive: tarfile.TarFile, wanted: dict[str, Entry]) -> list[str]:
    problems: list[str] = []
    seen: set[str] = set()
    size = 0
    while (info := archive.next()) is not None:
        entry = wanted.get(info.name)
        size += info.size
        if len(seen) > MEMBERS or size > WHOLE:
            return [*problems, "it holds more than any archive of evidence"]
        if entry is None or info.name in seen or not info.isreg():
            problems.append(f"{info.name[:200]!r} does not belong into it")
            continue
        seen.add(info.name)
        if info.size != entry.size or _digest(archive, info) != entry.sha256:
            problems.append(f"{info.name} was changed")
    return problems + [f"{name} is gone" for name in wanted if name not in seen]


def _digest(archive: tarfile.TarFile, info: tarfile.TarInfo) -> str:
    digest, stream = hashlib.sha256(), archive.extractfile(info)
    while stream is not None and (piece := stream.read(1 << 20)):
        digest.update(piece)
    return digest.hexdigest()


def _next(archive: tarfile.TarFile, name: str) -> bytes:
    info = archive.next()
    if info is None or info.name != name or not info.isreg() or info.size > MEMBER:
        raise ValueError(f"it does not begin with {MANIFEST} and {SIGNATURE}")
    stream = archive.extractfile(info)
    return stream.read() if stream is not None else b""


def _holds(signed: Signed, text: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signed.key)).verify(bytes.fromhex(signed.signature), text)
    except (ValueError, InvalidSignature):
        return False
    return signed.sha256 == hashlib.sha256(text).hexdigest()


def _is_plain(name: str) -> bool:
    return bool(name) and len(name) <= 400 and not name.startswith("/") and "\0" not in name and "\\" not in name and not any(part in ("", ".", "..") for part in name.split("/"))  # fmt: skip
