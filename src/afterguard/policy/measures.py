"""Measures: what responders take away for a while, whatever the policy and its mode say.

In: the bytes of a sheet of measures, the keys that are trusted, the time. Out: a signed `Sheet`, and the `Standing` it comes to: rules, caps, routes and callers that are enforced. It opens no file and knows
no clock.

A measure can only make things stricter, and ends by itself at `until`. A sheet always says all that holds: what is to be lifted is left out of the next one. `sequence` only grows, so that an older
sheet cannot bring back a quarantine that was lifted, or lift one by its age.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Meta

from afterguard.errors import UsageError
from afterguard.policy.document import Limits
from afterguard.policy.load import Policy, load

FORMAT = "afterguard.measures/1"
CAP = 4 << 20
MOST = 2_000
"""Measures of one sheet."""
REVISION = re.compile("[0-9a-f]{16}")
"""Of a system prompt, as decisions show it."""
PREFIX = "measure-"
"""What the rules of measures are called: measure-ID."""
Kind = Literal[
    "deny_identity", "deny_conversation", "deny_route", "deny_model", "tool_off", "domain_off", "pin_version", "pin_model", "pin_prompt",
    "quota", "enforce_route", "enforce_identity",
]  # fmt: skip
Name = Annotated[str, Meta(min_length=1, max_length=300)]


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing that is taken away."""

    id: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,63}$")]
    kind: Kind
    target: Name
    """Pseudonym of a caller, conversation, mount, model, tool or domain. A tool may be a glob."""
    until: float
    """When it ends by itself: seconds since the epoch, UTC."""
    reason: Name
    value: Annotated[str, Meta(max_length=200)] = ""
    """The version (pin_version), the model (pin_model), the revision of the system prompt (pin_prompt), requests a minute (quota)."""
    case: str = ""
    by: str = ""


class Sheet(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="format", tag=FORMAT
):
    """All that holds."""

    sequence: Annotated[int, Meta(ge=1)]
    created: float
    measures: tuple[Measure, ...] = ()
    key: str = ""
    """Public key of who signed, hexadecimal."""
    signature: str = ""

    @property
    def digest(self) -> str:
        """Of what is signed."""
        return hashlib.sha256(_signed(self)).hexdigest()[:32]


class Cap(NamedTuple):
    """A quota of one caller."""

    id: str
    limits: Limits


class Standing(NamedTuple):
    """What a sheet comes to at one moment."""

    policy: Policy | None
    caps: dict[str, Cap]
    """Identity -> how much it may still use."""
    routes: dict[str, str]
    """Mount -> the measure that enforces the policy there."""
    identities: dict[str, str]
    """The same of callers."""
    ends: float
    """When the next measure ends."""
    live: int
    """How many hold."""


NONE = Standing(None, {}, {}, {}, float("inf"), 0)


class SheetRefused(UsageError):
    """A sheet that is not taken. `reason`: unreadable unsigned untrusted tampered older forked."""

    def __init__(self, reason: str, says: str, hint: str) -> None:
        super().__init__(says, hint=hint, slug="bad-measures")
        self.reason = reason


def own_key(secret: bytes) -> Ed25519PrivateKey:
    """The signing key of who can read the guard's own key: they may do anything to that guard already."""
    return Ed25519PrivateKey.from_private_bytes(hmac.digest(secret, b"afterguard measures", "sha256"))


def public_of(key: Ed25519PrivateKey) -> str:
    """Its public half, hexadecimal."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def sign(sheet: Sheet, key: Ed25519PrivateKey) -> Sheet:
    """The sheet with a signature."""
    named = msgspec.structs.replace(sheet, key=public_of(key), signature="")
    return msgspec.structs.replace(named, signature=key.sign(_signed(named)).hex())


def written(sheet: Sheet) -> bytes:
    """The file."""
    return msgspec.json.format(msgspec.json.encode(sheet), indent=2) + b"\n"


def read(data: bytes, trusted: Sequence[str]) -> Sheet:
    """A sheet from bytes nobody vouches for. Raises SheetRefused."""
    try:
        sheet = msgspec.json.decode(data, type=Sheet)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise SheetRefused("unreadable", f"it is no sheet of measures: {str(error)[:200]}", _AGAIN) from None
    if len(sheet.measures) > MOST or len({one.id for one in sheet.measures}) != len(sheet.measures):
        raise SheetRefused("unreadable", f"more than {MOST} measures, or two with one id", _AGAIN)
    if not sheet.signature:
        raise SheetRefused("unsigned", f"sheet {sheet.sequence} is not signed", _AGAIN)
    if sheet.key not in trusted:
        raise SheetRefused(
            "untrusted",
            f"sheet {sheet.sequence} is signed with a key that is not among guard.responder_keys",
            "put the responder's public key into guard.responder_keys, if you trust it",
        )
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(sheet.key)).verify(
            bytes.fromhex(sheet.signature), _signed(sheet)
        )
    except (ValueError, InvalidSignature):
        raise SheetRefused("tampered", f"the signature of sheet {sheet.sequence} does not hold", _AGAIN) from None
    return sheet


def follows(sheet: Sheet, sequence: int, digest: str) -> bool:
    """Whether it is to take the place of the last that was taken (0 for none); False: it is the same. Raises SheetRefused."""
    if sheet.sequence > sequence:
        return True
    if sheet.sequence < sequence:
        raise SheetRefused("older", f"sheet {sheet.sequence} is older than {sequence}, which is in force", _AGAIN)
    if sheet.digest != digest:
        raise SheetRefused("forked", f"two sheets have the sequence {sequence}", _AGAIN)
    return False


def usable(sheet: Sheet) -> None:
    """Raises SheetRefused where one of its measures makes no rule."""
    try:
        standing(sheet, 0.0)
    except UsageError as error:
        raise SheetRefused("unreadable", f"sheet {sheet.sequence}: {error}", error.hint) from None


def standing(sheet: Sheet | None, now: float) -> Standing:
    """What still holds of a sheet. Raises UsageError for a measure that makes no rule."""
    live = [one for one in sheet.measures if one.until > now] if sheet is not None else []
    if not live:
        return NONE
    rows = [row for one in live for row in _rules(one)]
    caps = {one.target: Cap(one.id, _limits(one)) for one in live if one.kind == "quota"}
    # Who is refused has no quota to use up: "too many, come again" would hide that they are refused.
    refused = {one.target for one in live if one.kind == "deny_identity"}
    return Standing(
        load(_text(rows), "measures") if rows else None,
        {target: cap for target, cap in caps.items() if target not in refused},
        {one.target: one.id for one in live if one.kind == "enforce_route"},
        {one.target: one.id for one in live if one.kind == "enforce_identity"},
        min(one.until for one in live),
        len(live),
    )


def check(one: Measure) -> None:
    """Raises UsageError where a guard could make nothing of it."""
    standing(Sheet(1, 0.0, (msgspec.structs.replace(one, until=1.0),)), 0.0)


def _limits(one: Measure) -> Limits:
    if not one.value.isdigit() or not 0 < int(one.value) < 1_000_000:
        raise UsageError(
            f"measure {one.id}: {one.value!r} is no number of requests a minute",
            hint='value: "10"',
            slug="bad-measures",
        )
    return Limits(requests_per_minute=int(one.value))


def _revision(one: Measure) -> str:
    if not REVISION.fullmatch(one.value):
        raise UsageError(
            f"measure {one.id}: {one.value!r} is no revision of a system prompt",
            hint="16 digits, as the decision log shows them under prompt",
            slug="bad-measures",
        )
    return one.value


def _rules(one: Measure) -> list[dict[str, Any]]:
    """The rules of one measure, as a policy file holds them."""
    exact = _literal(one.target)
    if one.kind in ("deny_identity", "deny_conversation", "deny_route", "deny_model"):
        field = {"deny_route": "route", "deny_model": "exchange.model"}.get(one.kind, one.kind.removeprefix("deny_"))
        return [_rule(one, "", "block", "request", {f"{field}|cased": exact})]
    if one.kind == "tool_off":
        return [
            _rule(one, "", "step_down", "request", {"request.tools|cased": one.target}, tools=one.target),
            _rule(one, "-call", "step_down", "call", {"call.tool|cased": one.target}),
        ]
    if one.kind == "domain_off":
        link = {"hit.kind": "exfil_link", "hit.cause|contains": exact}
        return [
            _rule(one, "", "step_down", "call", {"call.arguments|contains": exact}),
            _rule(one, "-link", "block", "response", link),
        ]
    if one.kind == "pin_version":
        return [_rule(one, "", "pin_version", "request", {"route|cased": exact}, version=one.value)]
    if one.kind == "pin_model":
        return [_rule(one, "", "reroute", "request", {"exchange.model|cased": exact}, model=one.value)]
    if one.kind == "pin_prompt":
        other = {"prompt|exists": True, "prompt|cased|neq": _revision(one)}
        return [_rule(one, "", "block", "request", {"route|cased": exact, **other})]
    return []


def _rule(one: Measure, tail: str, action: str, at: str, condition: dict[str, Any], **more: str) -> dict[str, Any]:
    says = f"Stopped by responders: {one.reason}"[:400]
    detection = {"it": condition, "condition": "it"}
    return {
        "id": PREFIX + one.id + tail,
        "says": says,
        "at": at,
        "action": action,
        "because": one.case,
        "detection": detection,
        **more,
    }


def _text(rows: list[dict[str, Any]]) -> str:
    """As a policy file: JSON is YAML."""
    named = hashlib.sha256(msgspec.json.encode(rows)).hexdigest()[:12]
    document = {"format": "afterguard.policy/1", "name": "measures", "says": named, "mode": "enforce", "rules": rows}
    return msgspec.json.encode(document).decode()


def _literal(text: str) -> str:
    """A value in which nothing stands for anything else."""
    return "".join("\\" + letter if letter in "*?\\" else letter for letter in text)


def _signed(sheet: Sheet) -> bytes:
    return msgspec.json.encode(
        {"what": FORMAT, "sheet": msgspec.to_builtins(msgspec.structs.replace(sheet, signature=""))}, order="sorted"
    )


_AGAIN = "write it with afterguard respond; the guard keeps what it had"
