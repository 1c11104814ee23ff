"""A token of Entra ID by client credentials, for whatever speaks to Azure.

In: settings with a tenant, a client and its secret. Out: a token, kept until shortly before its end.
"""

from __future__ import annotations

import time
from typing import Protocol
from urllib.parse import urlencode

import msgspec

from afterguard.export.secret import Secret
from afterguard.export.sink import Unavailable, Unfit
from afterguard.export.sinks.web import Door, joined

EARLY = 120.0
"""Seconds before its end that a token is renewed."""


class Client(Protocol):
    """Who asks, and for what."""

    @property
    def tenant(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def secret(self) -> Secret: ...
    @property
    def authority(self) -> str: ...
    @property
    def scope(self) -> str: ...


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float = 3_600.0


class Entra:
    """The tokens of one client."""

    def __init__(self, client: Client, door: Door) -> None:
        self._client = client
        self._door = door
        self._token = ""
        self._until = 0.0

    def token(self) -> str:
        """One that holds. Raises Unavailable."""
        if self._token and time.monotonic() < self._until:
            return self._token
        told = self._client
        form = {"grant_type": "client_credentials", "client_id": told.client, "client_secret": told.secret.read(), "scope": told.scope}  # fmt: skip
        url = joined(told.authority, f"/{told.tenant}/oauth2/v2.0/token")
        try:
            reply = self._door.ask("POST", url, {"content-type": "application/x-www-form-urlencoded"}, urlencode(form).encode())  # fmt: skip
            token = msgspec.json.decode(reply.body, type=_Token)
        except Unfit:
            raise Unavailable(f"{told.authority} gives no token to {told.client}: is its secret right?", 30.0) from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Unavailable(f"{told.authority} does not answer as Entra ID does") from None
        self._token = token.access_token
        self._until = time.monotonic() + max(30.0, token.expires_in - EARLY)
        return self._token

    def forget(self) -> None:
        """It was refused: ask for another."""
        self._token = ""
