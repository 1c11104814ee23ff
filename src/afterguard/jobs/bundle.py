"""A policy as it travels: one signed file that many sites pull.

In: the text of a policy, its promotion, settings of sites, a key; or the bytes of a bundle, the keys that are trusted, the time, and what is in force. Out: a `Bundle`, the Policy of a site, or
`BundleRefused` with a word and a sentence. It reads and writes no file and knows no clock.

Theory of operation. The signature covers everything that stands in the bundle, so nothing can be put beside it. `sequence` only ever grows: an older bundle, though it was once good, is refused,
or whoever holds the server could bring back a policy that was withdrawn. To go back to an older policy a person signs it again. `valid_until` ends how long a server that is held can show
yesterday's bundle as today's: what has expired is not taken. What is in force stays in force.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from afterguard.errors import AfterguardError, UsageError
from afterguard.jobs.promote import Promotion, Signature
from afterguard.policy.document import Milliseconds, Mode, OnError, Route, Share
from afterguard.policy.load import Policy, glob
from afterguard.policy.load import load as load_policy
from afterguard.policy.misfit import fitted

FORMAT = "afterguard.bundle/1"
SITES = 10_000
TIME = "%Y-%m-%dT%H:%M:%SZ"


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is different at one site; the rest is as the policy says."""

    mode: Mode | None = None
    share: Share | None = None
    on_error: OnError | None = None
    budget: Milliseconds | None = None
    routes: dict[str, Route] = {}
    """Globs over route names, asked before the policy's own."""


class Bundle(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="format", tag=FORMAT
):
    """One policy for all sites."""

    revision: str
    sequence: int
    created: str
    valid_until: str
    policy: str
    """The policy file as it was."""
    promotion: Promotion | None = None
    sites: dict[str, Site] = {}
    signatures: tuple[Signature, ...] = ()

    @property
    def digest(self) -> str:
        """Of what is signed."""
        return hashlib.sha256(_signed(self, "", "")).hexdigest()[:32]


class Held(msgspec.Struct, frozen=True):
    """What is in force, as far as the next one is compared with it."""

    sequence: int = 0
    digest: str = ""


class BundleRefused(UsageError):
    """A bundle that is not taken. `reason`: unreadable unsigned untrusted tampered expired older forked bad_policy."""

    def __init__(self, reason: str, says: str, hint: str) -> None:
        super().__init__(says, hint=hint, slug="bad-bundle")
        self.reason = reason


def make(
    text: str,
    name: str,
    *,
    sequence: int,
    now: datetime,
    days: float,
    promotion: Promotion | None,
    sites: dict[str, Site],
) -> Bundle:
    """An unsigned bundle. Raises UsageError for a policy that does not load."""
    policy = load_policy(text, name)
    if not 0 < days <= 3650:
        raise UsageError(f"valid for {days:g} days", hint="between 0 and 3650", slug="bad-bundle")
    until = (now + timedelta(days=days)).strftime(TIME)
    return Bundle(policy.revision, sequence, now.strftime(TIME), until, text, promotion, sites)


def sites_of(text: str, name: str) -> dict[str, Site]:
    """Settings of sites, from YAML: NAME: {mode: observe}. Raises UsageError."""
    found = fitted(text, name, dict[str, Site], see="NAME: {mode: observe, routes: {GLOB: {mode: shadow}}}", slug="bad-bundle")  # fmt: skip
    if len(found) > SITES:
        raise UsageError(f"{name}: more than {SITES} sites", hint="make several bundles", slug="bad-bundle")
    return found


def sign(bundle: Bundle, key: Ed25519PrivateKey, name: str, now: datetime) -> Bundle:
    """The bundle with one more signature."""
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    time = now.strftime(TIME)
    made = Signature(name, public, time, key.sign(_signed(bundle, name, time)).hex())
    return msgspec.structs.replace(bundle, signatures=(*bundle.signatures, made))


def written(bundle: Bundle) -> bytes:
    """The file."""
    return msgspec.json.format(msgspec.json.encode(bundle), indent=2) + b"\n"


def read(data: bytes) -> Bundle:
    """A bundle from bytes nobody vouches for. Raises BundleRefused."""
    try:
        bundle = msgspec.json.decode(data, type=Bundle)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BundleRefused("unreadable", f"it is no bundle: {str(error)[:200]}", "afterguard policy bundle") from None
    if bundle.sequence < 1 or len(bundle.sites) > SITES:
        raise BundleRefused("unreadable", f"it is no {FORMAT}", "afterguard policy bundle")
    return bundle


def genuine(bundle: Bundle, trusted: Sequence[str]) -> None:
    """Whether somebody who is trusted signed exactly this. Raises BundleRefused."""
    if not bundle.signatures:
        raise BundleRefused("unsigned", f"bundle {bundle.sequence} is not signed", "afterguard policy bundle --key")
    ours = [one for one in bundle.signatures[:100] if one.key in trusted]
    if not ours:
        names = ", ".join(one.name for one in bundle.signatures[:3])
        raise BundleRefused(
            "untrusted",
            f"bundle {bundle.sequence} is signed by {names[:100]} with a key that is not among guard.trusted_keys",
            "put the signer's public key into guard.trusted_keys, if you trust it",
        )
    if not any(_holds(bundle, one) for one in ours):
        raise BundleRefused(
            "tampered",
            f"the signature of bundle {bundle.sequence} does not hold: it was changed after it was signed",
            "find out who can write to where it lies, and sign it again",
        )


def new(bundle: Bundle, held: Held, now: datetime) -> bool:
    """Whether a genuine bundle is to take the place of what is held; False: it is the same. Raises BundleRefused."""
    until = moment(bundle.valid_until)
    if until is None or until <= now:
        raise BundleRefused(
            "expired",
            f"bundle {bundle.sequence} was good until {bundle.valid_until}",
            "sign it again: afterguard policy bundle; if it was, the server shows an old one",
        )
    if bundle.sequence < held.sequence:
        raise BundleRefused(
            "older",
            f"bundle {bundle.sequence} is older than {held.sequence}, which was in force: a roll-back",
            "to go back, sign the older policy again: it gets a higher sequence",
        )
    if bundle.sequence == held.sequence and bundle.digest != held.digest:
        raise BundleRefused(
            "forked",
            f"bundle {bundle.sequence} is another one than the {held.sequence} that was in force",
            "two were signed with one sequence; sign the right one again",
        )
    return bundle.sequence > held.sequence


def policy_of(bundle: Bundle, site: str) -> Policy:
    """The policy as it holds at a site. Raises BundleRefused."""
    try:
        policy = load_policy(bundle.policy, "the bundle's policy")
    except AfterguardError as error:
        raise BundleRefused("bad_policy", f"bundle {bundle.sequence}: {error}", error.hint) from None
    if policy.revision != bundle.revision:
        raise BundleRefused(
            "bad_policy",
            f"bundle {bundle.sequence} says {bundle.revision} and holds {policy.revision}",
            "it was made by another version; make it with this one",
        )
    here = bundle.sites.get(site)
    return policy if here is None else _at(policy, here)


def _at(policy: Policy, here: Site) -> Policy:
    given = {name: getattr(here, name) for name in ("mode", "share", "on_error", "budget")}
    changed = {name: value for name, value in given.items() if value is not None}
    routes = {**here.routes, **{k: v for k, v in policy.document.routes.items() if k not in here.routes}}
    document = msgspec.structs.replace(policy.document, routes=routes, **changed)
    return msgspec.structs.replace(policy, document=document, routes=tuple((glob([key]), key) for key in routes))


def moment(text: str) -> datetime | None:
    """A time as bundles write it."""
    try:
        return datetime.strptime(text, TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def _signed(bundle: Bundle, name: str, time: str) -> bytes:
    """The bytes that are signed: everything but the signatures, and who signs when."""
    bare = msgspec.to_builtins(msgspec.structs.replace(bundle, signatures=()))
    return msgspec.json.encode({"bundle": bare, "name": name, "time": time}, order="sorted")


def _holds(bundle: Bundle, one: Signature) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(one.key))
        key.verify(bytes.fromhex(one.signature), _signed(bundle, one.name, one.time))
    except (ValueError, InvalidSignature):
        return False
    return True
