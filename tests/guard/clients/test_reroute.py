"""A policy that sends requests to another model, where the path names the model: what the provider receives from its own SDK through the guard."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

boto3 = pytest.importorskip("boto3")
genai = pytest.importorskip("google.genai")
openai = pytest.importorskip("openai")

SAFE = "safe.v1:0 b"
ENCODED = "safe.v1%3A0%20b"
POLICY = {
    "format": "afterguard.policy/1",
    "name": "elsewhere",
    "mode": "enforce",
    "rules": [
        {
            "id": "elsewhere", "says": "Another model answers.", "at": "request", "action": "reroute", "model": SAFE,
            "detection": {"it": {"exchange.model|contains": "big"}, "condition": "it"},
        }
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def origin(guard_with: Callable[[str], str]) -> str:
    return guard_with(json.dumps(POLICY))


def received(stand_in: Any, tag: str) -> dict[str, Any]:
    row = stand_in.outcome(tag)
    assert row["outcome"] == "done"
    return row


@pytest.mark.parametrize("stream", [False, True])
def test_gemini(stand_in: Any, origin: str, tag: str, stream: bool) -> None:
    text = f"Hello [[say: hi]] [[tag: {tag}]]"
    with genai.Client(
        api_key="k", http_options=genai.types.HttpOptions(base_url=f"{origin}/gemini", api_version="v1beta")
    ) as client:
        if stream:
            said = "".join(one.text or "" for one in client.models.generate_content_stream(model="big", contents=text))
        else:
            said = client.models.generate_content(model="big", contents=text).text
    assert said == "hi"
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    assert received(stand_in, tag)["target"] == f"/gemini/v1beta/models/{ENCODED}:{verb}"


@pytest.mark.parametrize("stream", [False, True])
def test_bedrock_with_a_signature_for_the_new_path(stand_in: Any, origin: str, tag: str, stream: bool) -> None:
    session = boto3.session.Session("AKIDSTANDIN", "stand-in-secret", region_name="us-east-1")
    client = session.client("bedrock-runtime", endpoint_url=f"{origin}/bedrock")
    asked = {
        "modelId": "big:1",
        "messages": [{"role": "user", "content": [{"text": f"Hello [[say: hi]] [[tag: {tag}]]"}]}],
    }
    if stream:
        events = list(client.converse_stream(**asked)["stream"])
        said = "".join(e["contentBlockDelta"]["delta"].get("text", "") for e in events if "contentBlockDelta" in e)
    else:
        said = client.converse(**asked)["output"]["message"]["content"][0]["text"]
    client.close()
    assert said == "hi"
    # The stand-in has verified the signature.
    assert received(stand_in, tag)["target"] == f"/bedrock/model/{ENCODED}/converse{'-stream' if stream else ''}"


def test_an_azure_deployment(stand_in: Any, origin: str, tag: str) -> None:
    asked = [{"role": "user", "content": f"Hello [[say: hi]] [[tag: {tag}]]"}]
    with openai.AzureOpenAI(azure_endpoint=f"{origin}/azure", api_key="k", api_version="2024-10-21") as client:
        said = client.chat.completions.create(model="big", messages=asked).choices[0].message.content
    assert said == "hi"
    target = received(stand_in, tag)["target"]
    assert target == f"/azure/openai/deployments/{ENCODED}/chat/completions?api-version=2024-10-21"


def test_what_the_rule_does_not_mean_stays(stand_in: Any, origin: str, tag: str) -> None:
    with genai.Client(
        api_key="k", http_options=genai.types.HttpOptions(base_url=f"{origin}/gemini", api_version="v1beta")
    ) as client:
        client.models.generate_content(model="small", contents=f"Hello [[say: hi]] [[tag: {tag}]]")
    assert received(stand_in, tag)["target"] == "/gemini/v1beta/models/small:generateContent"
