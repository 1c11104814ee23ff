"""Who a person is, and what they may do: groups of an identity provider mapped to roles, and one account behind glass.

In: the text of a roles file; an ID token and the provider's keys, both as bytes that nobody vouches for. Out: a `Person`. It opens nothing: who calls it fetches the keys.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Any, Literal, NoReturn

import msgspec
from msgspec import Meta

from afterguard.errors import UsageError
from afterguard.policy.misfit import fitted

FORMAT = "afterguard.roles/1"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""None that a public key could be taken for a shared secret of."""
LEEWAY = 60
SCRYPT = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 64 << 20}
Text = Annotated[str, Meta(min_length=1, max_length=300)]


class Role(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who has a role."""

    groups: list[Text] = []
    """Groups as the provider names them."""
    people: list[Text] = []
    """Accounts of this machine (os:NAME), where there is no provider."""


class Glass(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The account for when the provider is away."""

    account: Text
    salt: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    """scrypt of its password."""


class Roles(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A roles file."""

    format: Literal["afterguard.roles/1"]
    roles: dict[str, Role]
    issuer: str = ""
    """The provider's address; empty: accounts of this machine count."""
    audience: str = ""
    """Client id that tokens must be for."""
    jwks: str = ""
    """Where its keys are; empty: as its discovery document says."""
    groups: str = "groups"
    """The claim that holds groups; dots lead inwards (realm_access.roles)."""
    name: str = "email"
    """The claim that names a person."""
    ca: str = ""
    """PEM file of a private authority that the provider is checked against."""
    break_glass: Glass | None = None


class Person(msgspec.Struct, frozen=True):
    """Somebody, as far as it was proven."""

    id: str
    """oidc:ISSUER#SUBJECT, os:ACCOUNT or glass:ACCOUNT."""
    name: str
    roles: tuple[str, ...]
    via: str
    """oidc, os or break_glass."""

    @property
    def is_glass(self) -> bool:
        """Whether the glass was broken."""
        return self.via == "break_glass"


def load(text: str, name: str) -> Roles:
    """The roles of a file. Raises UsageError."""
    found = fitted(text, name, Roles, see="see docs/how-to/respond.md, Who may do what", slug="bad-roles")
    if found.issuer and not found.audience:
        raise UsageError(f"{name}: an issuer without an audience", hint="audience: the client id that tokens are made for", slug="bad-roles")  # fmt: skip
    return found


def by_account(roles: Roles, account: str) -> Person:
    """A person of this machine. Raises UsageError where a provider has the say."""
    if roles.issuer:
        _refuse(f"{roles.issuer} says who somebody is; the account {account} does not", "give --token FILE, or break the glass")  # fmt: skip
    mark = f"os:{account}"
    return Person(mark, account, tuple(sorted(name for name, one in roles.roles.items() if mark in one.people)), "os")


def by_token(roles: Roles, token: str, keys: bytes, now: float) -> Person:
    """Who an ID token speaks of, its signature, issuer, audience and time checked. Raises UsageError."""
    try:
        import jwt
    except ImportError:
        raise UsageError("tokens need PyJWT", hint="pip install 'afterguard[oidc]'", slug="missing-extra") from None
    if not roles.issuer:
        _refuse("the roles file names no issuer", "issuer: https://..., audience: CLIENT-ID")
    try:
        key = _key(jwt, token, keys)
        found: dict[str, Any] = jwt.decode(
            token, key.key, algorithms=_algorithms(jwt, token, key), audience=roles.audience, issuer=roles.issuer,
            options={"require": ["exp", "iat", "iss", "aud", "sub"], "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )  # fmt: skip
    except UsageError:
        raise
    except Exception as error:  # the library raises many kinds for what strangers send
        _refuse(
            f"the token does not hold: {str(error)[:200] or type(error).__name__}", "get a new one from the provider"
        )
    _fresh(found, now)
    groups = _groups(found, roles.groups)
    names = tuple(sorted(name for name, one in roles.roles.items() if groups & set(one.groups)))
    said = found.get(roles.name) or found.get("preferred_username") or found["sub"]
    return Person(f"oidc:{roles.issuer}#{found['sub']}"[:300], str(said)[:200], names, "oidc")


def by_glass(roles: Roles, account: str, password: str) -> Person:
    """Who broke the glass; may approve anything alone, and everybody will know. Raises UsageError."""
    glass = roles.break_glass
    if glass is None or not hmac.compare_digest(glass.account, account):
        _refuse("there is no such break-glass account", "break_glass in the roles file")
    if not hmac.compare_digest(hashed(password, glass.salt), glass.hash):
        _refuse("that is not its password", "the sealed envelope")
    return Person(f"glass:{account}", account, tuple(sorted(roles.roles)), "break_glass")


def hashed(password: str, salt: str) -> str:
    """What the roles file holds of a password."""
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=bytes.fromhex(salt), dklen=32, **SCRYPT).hex()


def _key(jwt: Any, token: str, keys: bytes) -> Any:
    head = jwt.get_unverified_header(token)
    found = jwt.PyJWKSet.from_dict(msgspec.json.decode(keys)).keys
    named = [one for one in found if one.key_id == head.get("kid")] if head.get("kid") else found
    if len(named) != 1:
        _refuse("the token is signed with a key the provider does not show", "get a new one; is issuer right?")
    return named[0]


def _algorithms(jwt: Any, token: str, key: Any) -> list[str]:
    """The one algorithm that fits the key, where it is one of a public key."""
    said = jwt.get_unverified_header(token).get("alg")
    if said not in ALGORITHMS or key.key_type not in ("RSA", "EC", "OKP"):
        _refuse(f"tokens signed with {said!s:.20} are not taken", f"one of {', '.join(ALGORITHMS)}")
    return [said]


def _fresh(found: dict[str, Any], now: float) -> None:
    try:
        until, since = float(found["exp"]), float(found.get("nbf", found["iat"]))
    except (TypeError, ValueError):
        _refuse("the token's times cannot be read", "get a new one from the provider")
    if now > until + LEEWAY:
        _refuse("the token is over", "get a new one from the provider")
    if now < since - LEEWAY:
        _refuse("the token is not yet good", "is the clock right?")


def _groups(found: dict[str, Any], claim: str) -> set[str]:
    value: Any = found
    for part in [claim] if claim in found else claim.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    values = value if isinstance(value, list) else [value]
    return {one for one in values if isinstance(one, str)}


def _refuse(says: str, hint: str) -> NoReturn:
    raise UsageError(says, hint=hint, slug="not-recognised")
