"""A policy is promoted by people: two signatures over what exactly is promoted, why, and what it is expected to do.

In: a loaded Policy, a backtest of it, keys (Ed25519, as PEM files read by the caller), the time. Out: a `Promotion`, a JSON file beside the policy. Nothing
here promotes by itself, and only going back is automatic (policy/interval.py). It reads and writes no file and knows no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal, NoReturn

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from afterguard.errors import UsageError
from afterguard.jobs.backtest import Backtest
from afterguard.policy import Policy

FORMAT = "afterguard.promotion/1"
SIGNATURES = 2
SUFFIX = ".promoted.json"
Stage = Literal["observe", "shadow", "share", "enforce"]
ACTING = ("share", "enforce")


class Expected(msgspec.Struct, frozen=True):
    """The share of turns it is expected to block or change, from the backtest: 95 % interval."""

    low: float
    high: float
    turns: int


class Signature(msgspec.Struct, frozen=True):
    """One person's signature over the promotion, the name and the time."""

    name: str
    key: str
    """Public key, hexadecimal."""
    time: str
    signature: str


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who promoted which revision to which stage, why, and what is expected of it."""

    revision: str
    stage: Stage
    share: float
    reason: str
    change: str
    expected: Expected | None
    signatures: tuple[Signature, ...] = ()
    format: Literal["afterguard.promotion/1"] = "afterguard.promotion/1"

    @property
    def is_complete(self) -> bool:
        """Whether enough people signed; `problems` says whether the signatures hold."""
        return len(self.signatures) >= SIGNATURES


def new_key() -> tuple[bytes, bytes]:
    """(private, public) key of one person as PEM."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), public


def private_key(pem: bytes, name: str) -> Ed25519PrivateKey:
    """A private key from a file's bytes. Raises UsageError."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        _refuse(f"{name} is no Ed25519 private key", "make one with: afterguard policy key FILE")
    return key


def public_key(pem: bytes, name: str) -> str:
    """A public key from a file's bytes, hexadecimal. Raises UsageError."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        _refuse(f"{name} is no Ed25519 public key", "give the .pub file that afterguard policy key wrote")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def propose(
    policy: Policy, stage: Stage, *, share: float, reason: str, change: str, tried: Backtest | None, today: date
) -> Promotion:
    """An unsigned promotion. Raises UsageError without a reason or change number, in a freeze window, or without a backtest of it."""
    if not (reason.strip() or change.strip()):
        _refuse("a promotion needs a reason", "add --reason TEXT or --change NUMBER")
    if stage == "share" and not 0 < share < 1:
        _refuse(f"a share of {share} is none", "give --share between 0 and 1, for instance 0.05")
    not_now(policy, today)
    if stage in ACTING and tried is None:
        _refuse(
            f"nobody knows how often it would act as {stage}", "add --backtest FILE, made with policy backtest -f json"
        )
    if tried is not None and tried.policy != policy.revision:
        _refuse(
            f"the backtest is of {tried.policy}, the policy is {policy.revision}",
            "run policy backtest again, then promote",
        )
    expected = Expected(tried.touched.low, tried.touched.high, tried.turns) if tried is not None else None
    return Promotion(policy.revision, stage, share if stage == "share" else 1.0, reason, change, expected)


def not_now(policy: Policy, today: date) -> None:
    """Raises UsageError on a day of a freeze window of the policy."""
    for window in policy.document.freeze:
        start, _, end = window.partition("/")
        try:
            is_frozen = date.fromisoformat(start) <= today <= date.fromisoformat(end)
        except ValueError:
            _refuse(f"the freeze window {window} is none", "write two dates: 2026-12-20/2027-01-03")
        if is_frozen:
            _refuse(
                f"nothing is promoted from {start} to {end}",
                "wait, or change freeze in the policy and have it reviewed",
            )


def sign(promotion: Promotion, key: Ed25519PrivateKey, name: str, now: datetime) -> Promotion:
    """The promotion with one more signature. Raises UsageError where the same person or key signed before."""
    if not name.strip():
        _refuse("a signature needs a name", "add --name")
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    for one in promotion.signatures:
        if one.key == public or one.name.strip().casefold() == name.strip().casefold():
            _refuse(f"{one.name} has signed already", "a second person signs with a key of their own")
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    signature = key.sign(payload(promotion, name, time)).hex()
    return msgspec.structs.replace(
        promotion, signatures=(*promotion.signatures, Signature(name, public, time, signature))
    )


def payload(promotion: Promotion, name: str, time: str) -> bytes:
    """The bytes that are signed: the promotion without signatures, and who signs when."""
    bare = msgspec.to_builtins(msgspec.structs.replace(promotion, signatures=()))
    return msgspec.json.encode({"promotion": bare, "name": name, "time": time}, order="sorted")


def problems(promotion: Promotion, policy: Policy, trusted: Sequence[str] = ()) -> list[str]:
    """Why a promotion does not hold for a policy as it stands now; empty where it does. `trusted` public keys, none: any."""
    out = []
    if promotion.revision != policy.revision:
        out.append(f"it is of {promotion.revision}, the policy is {policy.revision}")
    for one in promotion.signatures:
        if not _holds(promotion, one):
            out.append(f"the signature of {one.name} does not hold")
        elif trusted and one.key not in trusted:
            out.append(f"the key of {one.name} is not among the trusted ones")
    distinct = {one.key for one in promotion.signatures}
    people = {one.name.strip().casefold() for one in promotion.signatures}
    if min(len(distinct), len(people)) < SIGNATURES:
        out.append(f"{min(len(distinct), len(people))} of {SIGNATURES} people signed")
    return out


def _holds(promotion: Promotion, one: Signature) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(one.key))
        key.verify(bytes.fromhex(one.signature), payload(promotion, one.name, one.time))
    except (ValueError, InvalidSignature):
        return False
    return True


def read(data: bytes, name: str) -> Promotion:
    """A promotion from a file's bytes. Raises UsageError."""
    try:
        return msgspec.json.decode(data, type=Promotion)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        _refuse(f"{name} is no promotion: {error}", "remove it and promote again")


def _refuse(what: str, hint: str) -> NoReturn:
    raise UsageError(what, hint=hint, slug="bad-promotion")
