"""The OpenAI SDK's clients, guarded: `from afterguard.clients.openai import OpenAI`.

In: what the SDK's own clients take, and `guard_name`, what the route is called in policies. Out: those clients; what they send and get is judged in this process. Everything else of the SDK is the SDK's own.
"""

from __future__ import annotations

from typing import Any

import openai

from afterguard.clients import guarded

__all__ = ["AsyncAzureOpenAI", "AsyncOpenAI", "AzureOpenAI", "OpenAI"]


class OpenAI(openai.OpenAI):
    """openai.OpenAI, guarded."""

    def __init__(self, *given: Any, guard_name: str = "", http_client: Any = None, **more: Any) -> None:
        client = http_client or openai.DefaultHttpxClient()
        super().__init__(*given, http_client=guarded(client, "openai", guard_name), **more)


class AsyncOpenAI(openai.AsyncOpenAI):
    """openai.AsyncOpenAI, guarded."""

    def __init__(self, *given: Any, guard_name: str = "", http_client: Any = None, **more: Any) -> None:
        client = http_client or openai.DefaultAsyncHttpxClient()
        super().__init__(*given, http_client=guarded(client, "openai", guard_name), **more)


class AzureOpenAI(openai.AzureOpenAI):
    """openai.AzureOpenAI, guarded."""

    def __init__(self, *given: Any, guard_name: str = "", http_client: Any = None, **more: Any) -> None:
        client = http_client or openai.DefaultHttpxClient()
        super().__init__(*given, http_client=guarded(client, "azure", guard_name), **more)


class AsyncAzureOpenAI(openai.AsyncAzureOpenAI):
    """openai.AsyncAzureOpenAI, guarded."""

    def __init__(self, *given: Any, guard_name: str = "", http_client: Any = None, **more: Any) -> None:
        client = http_client or openai.DefaultAsyncHttpxClient()
        super().__init__(*given, http_client=guarded(client, "azure", guard_name), **more)
