"""Who asks, and in which conversation: what the guard can know without believing what a client says of its users.

In: headers, the decoded body, texts. Out: keyed hashes and names. Keys are never kept.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from afterguard.model import Origin, Text
from afterguard.wire.parts import text_of

Headers = Sequence[tuple[bytes, bytes]]
CONVERSATION_HEADERS = (b"x-conversation-id", b"x-session-id", b"session-id", b"mcp-session-id", b"x-thread-id")
SIGNED = re.compile(r"AWS4-[A-Z0-9-]{1,40} +Credential=([^/,\s]{1,200})/")
KEY_HEADERS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")


def pseudonym(key: bytes, value: str) -> str:
    """A name or key as decisions show it."""
    return hmac.digest(key, value.encode("utf-8", "surrogatepass"), "sha256").hex()[:20]


def key_name(key: bytes) -> str:
    """Which key pseudonyms are made with, without showing it: guards with the same one call a caller the same."""
    return hmac.digest(key, b"afterguard names", "sha256").hex()[:12]


def who(headers: Headers, pseudonym: Callable[[str], str]) -> tuple[str, str]:
    """(pseudonym of the key, conversation as a header names it). What a client says of its user is not believed."""
    identity = conversation = ""
    for name, value in headers:
        if name in KEY_HEADERS:
            identity = pseudonym(_lasting(value.decode("latin-1")))
        elif name in CONVERSATION_HEADERS:
            conversation = pseudonym(value.decode("latin-1")[:400])
    return identity, conversation


def _lasting(value: str) -> str:
    """What stays the same from request to request: of a signature (AWS) the access key's id, of anything else all of it."""
    found = SIGNED.match(value)
    return found[1] if found else value


def named(body: Mapping[str, Any]) -> str:
    """The conversation as the body names it."""
    found = body.get("conversation") or body.get("previous_response_id") or body.get("conversation_id")
    if isinstance(found, dict):
        found = found.get("id")
    if not found and isinstance(body.get("metadata"), dict):
        inner = body["metadata"]
        found = inner.get("conversation_id") or inner.get("session_id") or inner.get("thread_id")
    return text_of(found)[:200]


def opening(texts: Sequence[Text], identity: str) -> str:
    """A name for a conversation that nobody named: how it began, and who began it."""
    digest = hashlib.blake2b(identity.encode(), digest_size=10)
    for text in texts[:8]:
        digest.update(text.value[:4_000].encode("utf-8", "surrogatepass"))
        if text.origin is Origin.user:
            break
    return digest.hexdigest()
