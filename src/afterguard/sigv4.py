"""AWS Signature Version 4, for requests sent with a role of our own.

In: a request as it will be sent, and credentials. Out: its headers with the signature; or, the other way, whether a signature holds.
Source: AWS, "Create a signed AWS API request". Pure: the time is an argument. It will not fetch credentials, sign in chunks, or presign a URL.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote, unquote

Header = tuple[bytes, bytes]

ALGORITHM = "AWS4-HMAC-SHA256"
SIGNED = ("content-type", "content-md5")
"""Signed beside host and x-amz-*: what gives the body its meaning. Everything else may be changed on the way by a proxy."""
REPLACED = frozenset((b"authorization", b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256"))
"""What the caller's own signature came with."""


def signed(
    method: str,
    path: str,
    query: str,
    headers: Sequence[Header],
    body: bytes,
    *,
    access_key: str,
    secret_key: str,
    session_token: str = "",
    region: str,
    service: str,
    time: str,
    names: Collection[str] = SIGNED,
) -> list[Header]:
    """The headers to send, `host` among them. `path` and `query` as sent (percent-encoded), `time` as 20150830T123600Z. An older signature is taken out."""
    kept = [pair for pair in headers if pair[0].lower() not in REPLACED]
    kept.append((b"x-amz-date", time.encode()))
    if session_token:
        kept.append((b"x-amz-security-token", session_token.encode()))
    digest = sha256(body).hexdigest()
    if service == "s3":
        kept.append((b"x-amz-content-sha256", digest.encode()))
    fields = _fields(kept, {"host", *names})
    scope = f"{time[:8]}/{region}/{service}/aws4_request"
    signature = _signature(_canonical(method, path, query, fields, digest, service), secret_key, scope, time)
    value = f"{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={';'.join(fields)}, Signature={signature}"
    kept.append((b"authorization", value.encode()))
    return kept


def verified(
    method: str,
    path: str,
    query: str,
    headers: Sequence[Header],
    body: bytes,
    *,
    secrets: Mapping[str, str],
    region: str = "",
    service: str = "",
) -> str:
    """Why the signature does not hold, "" where it does. `secrets`: secret key by access key. Region and service are compared where given."""
    one = {name.lower(): value.decode("latin-1") for name, value in headers}
    kind, _, rest = one.get(b"authorization", "").partition(" ")
    said = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    credential = said.get("Credential", "").split("/")
    time = one.get(b"x-amz-date", "")
    if kind != ALGORITHM or len(credential) != 5:
        return "no signature of version 4"
    access_key, date, its_region, its_service, end = credential
    if access_key not in secrets:
        return "unknown access key"
    if (
        date != time[:8]
        or end != "aws4_request"
        or (region and region != its_region)
        or (service and service != its_service)
    ):
        return "wrong scope"
    names = said.get("SignedHeaders", "").split(";")
    fields = _fields(headers, set(names))
    if (
        list(fields) != names
        or "host" not in fields
        or any(name.startswith("x-amz-") for name in set(fields) - set(names))
    ):
        return "headers that must be signed are not"
    digest = sha256(body).hexdigest()
    scope = "/".join(credential[1:])
    canonical = _canonical(method, path, query, fields, digest, its_service)
    right = hmac.compare_digest(_signature(canonical, secrets[access_key], scope, time), said.get("Signature", ""))
    return "" if right else "the signature does not match"


def _fields(headers: Sequence[Header], names: Collection[str]) -> dict[str, str]:
    """Fields to sign by lower-case name, in order of name; values trimmed, repeated ones joined."""
    out: dict[str, str] = {}
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        if name in names or name.startswith("x-amz-"):
            text = " ".join(value.decode("utf-8", "surrogateescape").split())
            out[name] = f"{out[name]},{text}" if name in out else text
    return dict(sorted(out.items()))


def _canonical(method: str, path: str, query: str, fields: Mapping[str, str], digest: str, service: str) -> str:
    lines = "".join(f"{name}:{value}\n" for name, value in fields.items())
    return f"{method}\n{_path(path, service)}\n{_query(query)}\n{lines}\n{';'.join(fields)}\n{digest}"


def _path(path: str, service: str) -> str:
    """Without dot segments and doubled slashes, and encoded once more than it is sent; S3 takes paths as they are."""
    if service == "s3":
        return path or "/"
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts[-1:] = []
        elif part not in ("", "."):
            parts.append(part)
    tail = "/" if parts and path.endswith(("/", "/.", "/..")) else ""
    return "/" + quote("/".join(parts), safe="/-_.~") + tail


def _query(query: str) -> str:
    """Names and values encoded in one way, sorted."""
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    return "&".join("=".join(pair) for pair in sorted((_encoded(name), _encoded(value)) for name, value in pairs))


def _encoded(text: str) -> str:
    return quote(unquote(text, errors="surrogateescape"), safe="-_.~", errors="surrogateescape")


def _signature(canonical: str, secret_key: str, scope: str, time: str) -> str:
    digest = sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    return _mac(_key(secret_key, scope), f"{ALGORITHM}\n{time}\n{scope}\n{digest}").hex()


@lru_cache(maxsize=32)
def _key(secret_key: str, scope: str) -> bytes:
    """The day's key: the secret wound through date, region, service and a fixed word."""
    key = b"AWS4" + secret_key.encode()
    for part in scope.split("/"):
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256")
