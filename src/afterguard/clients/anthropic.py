"""The Anthropic SDK's clients, guarded: `from afterguard.clients.anthropic import Anthropic`.

In: what the SDK's own clients take, and `guard_name`, what the route is called in policies. Out: those clients; what they send and get is judged in this process. Everything else of the SDK is the SDK's own.
"""

from __future__ import annotations

from typing import Any

import anthropic

from afterguard.clients import guarded

__all__ = ["Anthropic", "AsyncAnthropic"]


class Anthropic(anthropic.Anthropic):
    """anthropic.Anthropic, guarded."""

    def __init__(self, *given: Any, guard_name: str = "", http_client: Any = None, **more: Any) -> None:
        client = http_client or anthropic.DefaultHttpxClient()
        super().__init__(*given, http_client=guarded(client, "anthropic", guard_name), **more)


class AsyncAnthropic(anthropic.AsyncAnthropic):
    """anthropic.AsyncAnthropic, guarded."""

    def __init__(self, *given: Any, guard_name: str = "", http_client: Any = None, **more: Any) -> None:
        client = http_client or anthropic.DefaultAsyncHttpxClient()
        super().__init__(*given, http_client=guarded(client, "anthropic", guard_name), **more)
