"""Leave to attack: a small file that the owner of an application signs.

In: a target, who may do what until when, an Ed25519 key; or the file, trusted keys, the time. Out: the signed file; or `Leave`, or UsageError that says what is missing. Nothing is sent without one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NoReturn

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from afterguard.errors import UsageError
from afterguard.targets.document import Limits

TIME = "%Y-%m-%dT%H:%M:%SZ"


class Leave(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who lets whom attack what, until when, how far."""

    target: str
    host: str
    owner: str
    tester: str
    begins: str
    ends: str
    limits: Limits
    changes: bool = False
    """Whether techniques that leave something behind are allowed."""
    quiet_hours: str = ""
    """UTC, as 08:00-18:00: nothing is sent then."""
    key: str = ""
    signature: str = ""
    format: Literal["afterguard.authorisation/1"] = "afterguard.authorisation/1"


def signed(leave: Leave, key: Ed25519PrivateKey) -> Leave:
    """The same with the owner's signature."""
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    named = msgspec.structs.replace(leave, key=public, signature="")
    return msgspec.structs.replace(named, signature=key.sign(msgspec.json.encode(named)).hex())


def read(data: bytes, name: str, trusted: tuple[str, ...]) -> Leave:
    """A leave whose signature holds and whose key is one of these. Raises UsageError."""
    try:
        leave = msgspec.json.decode(data, type=Leave)
    except (msgspec.DecodeError, RecursionError) as error:
        _refuse(f"{name} is no authorisation: {error}", "make one with: afterguard attack authorise TARGET.yaml")
    if leave.key not in trusted:
        _refuse(f"{name} is signed with a key that is not trusted", "give the owner's public key: --trusted FILE.pub")
    try:
        bare = msgspec.structs.replace(leave, signature="")
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(leave.key)).verify(bytes.fromhex(leave.signature), msgspec.json.encode(bare))  # fmt: skip
    except (InvalidSignature, ValueError):
        _refuse(f"{name} was changed after it was signed", "have it signed again")
    return leave


def check(leave: Leave, target: str, host: str, now: float) -> str:
    """ "" where the leave covers this now, else a sentence."""
    if (leave.target, leave.host) != (target, host):
        return f"the authorisation is for {leave.target} at {leave.host}, not for {target} at {host}"
    begins, ends = _time(leave.begins), _time(leave.ends)
    if now < begins:
        return f"the authorisation begins at {leave.begins}"
    if now >= ends:
        return f"the authorisation ended at {leave.ends}"
    return f"quiet hours: {leave.quiet_hours} UTC" if leave.quiet_hours and _is_quiet(leave.quiet_hours, now) else ""


def left(leave: Leave, now: float) -> float:
    """Seconds until it ends."""
    return _time(leave.ends) - now


def _is_quiet(hours: str, now: float) -> bool:
    first, _, last = hours.partition("-")
    clock = datetime.fromtimestamp(now, UTC).strftime("%H:%M")
    return first <= clock < last if first <= last else clock >= first or clock < last


def _time(text: str) -> float:
    try:
        return datetime.strptime(text, TIME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        _refuse(f"{text!r} is no time", "2026-12-01T08:00:00Z")


def _refuse(says: str, hint: str) -> NoReturn:
    raise UsageError(says, hint=hint, slug="not-authorised")
