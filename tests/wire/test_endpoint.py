"""Paths of every provider, and paths nobody should send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.wire.endpoint import Endpoint, endpoint, readdressed

ARN = (
    "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.claude-sonnet-4-20250514-v1%3A0"
)
PLAIN_ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"

TABLE = [
    ("openai", "/v1/chat/completions", "chat openai - None"),
    ("openai", "/chat/completions", "chat openai - None"),
    ("openai", "/v1/responses", "responses responses - None"),
    ("openai", "/v1/embeddings", "embeddings openai - False"),
    ("openai", "/v1/completions", "completions openai - None"),
    ("openai", "/v1/files", "files openai - None"),
    ("openai", "/v1/batches", "batches openai - None"),
    ("openai", "/v1/audio/transcriptions", "audio openai - None"),
    ("openai", "/v1/images/generations", "images openai - None"),
    ("openai", "/v1/moderations", "other openai - False"),
    ("plain", "/serving/llama/v1/chat/completions", "chat openai - None"),
    ("plain", "/ask", "other plain - None"),
    ("azure", "/openai/deployments/my%20gpt/chat/completions", "chat openai my gpt None"),
    ("azure", "/openai/deployments/d/embeddings", "embeddings openai d False"),
    ("azure", "/openai/deployments/d/images/generations", "images openai d None"),
    ("azure", "/openai/v1/chat/completions", "chat openai - None"),
    ("azure", "/openai/responses", "responses responses - None"),
    ("anthropic", "/v1/messages", "messages anthropic - None"),
    ("anthropic", "/v1/messages/count_tokens", "count_tokens anthropic - False"),
    ("anthropic", "/v1/messages/batches", "other anthropic - None"),
    ("anthropic", "/v1/complete", "completions anthropic - None"),
    ("gemini", "/v1beta/models/gemini-2.5-flash:generateContent", "generate gemini gemini-2.5-flash False"),
    ("gemini", "/v1beta/models/gemini-2.5-flash:streamGenerateContent", "generate gemini gemini-2.5-flash True"),
    ("gemini", "/models/m%3AgenerateContent", "generate gemini m False"),
    ("gemini", "/v1beta/models/e:batchEmbedContents", "embed gemini e False"),
    ("gemini", "/v1beta/models", "models gemini - None"),
    ("gemini", "/v1beta/openai/chat/completions", "chat openai - None"),
    ("gemini", "/v1/projects/p/locations/l/publishers/anthropic/models/claude:streamRawPredict", "messages anthropic claude True"),
    ("bedrock", "/model/anthropic.claude-v2%3A1/invoke", "invoke invoke anthropic.claude-v2:1 False"),
    ("bedrock", "/model/anthropic.claude-v2:1/invoke-with-response-stream", "invoke invoke anthropic.claude-v2:1 True"),
    ("bedrock", f"/model/{ARN}/converse", f"converse converse {PLAIN_ARN} False"),
    ("bedrock", f"/model/{PLAIN_ARN}/converse-stream", f"converse converse {PLAIN_ARN} True"),
    ("bedrock", "/openai/v1/chat/completions", "chat openai - None"),
    ("ollama", "/api/chat", "ollama_chat ollama - None"),
    ("ollama", "/api/generate", "ollama_generate ollama - None"),
    ("ollama", "/api/embed", "ollama_embed ollama - False"),
    ("ollama", "/v1/chat/completions", "chat openai - None"),
    ("ollama", "/v1/messages", "messages anthropic - None"),
    ("mcp", "/anything/at/all", "mcp mcp - None"),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "path", "expected"), TABLE)
def test_paths(provider: str, path: str, expected: str) -> None:
    found = endpoint(provider, "POST", path)
    assert f"{found.operation} {found.dialect} {found.model or '-'} {found.is_stream}" == expected
    assert found.provider == provider


@pytest.mark.parametrize(
    ("provider", "path", "model", "expected"),
    [
        ("gemini", "/v1beta/models/big:generateContent", "safe-1", "/v1beta/models/safe-1:generateContent"),
        ("gemini", "/v1beta/models/big%3AstreamGenerateContent", "safe", "/v1beta/models/safe:streamGenerateContent"),
        ("gemini", "/v1beta/tunedModels/own:generateContent", "safe", "/v1beta/models/safe:generateContent"),
        ("gemini", "/v1beta/models/m:generateContent", "tunedModels/s", "/v1beta/tunedModels/s:generateContent"),
        ("gemini", "/v1/projects/p/locations/l/endpoints/77:generateContent", "safe",
         "/v1/projects/p/locations/l/publishers/google/models/safe:generateContent"),
        ("gemini", "/v1/projects/p/locations/l/publishers/anthropic/models/c@1:rawPredict", "c@2",
         "/v1/projects/p/locations/l/publishers/anthropic/models/c@2:rawPredict"),
        ("gemini", "/v1/projects/p/locations/l/publishers/google/models/m:generateContent", "publishers/meta/models/n",
         "/v1/projects/p/locations/l/publishers/meta/models/n:generateContent"),
        ("bedrock", "/model/anthropic.claude-v2%3A1/converse", "safe.v1:0", "/model/safe.v1%3A0/converse"),
        ("bedrock", f"/model/{PLAIN_ARN}/invoke", PLAIN_ARN, f"/model/{ARN}/invoke"),
        ("bedrock", "/model/a/x/../../b/converse-stream", "s", "/model/s/converse-stream"),
        ("azure", "/openai/deployments/my%20gpt/chat/completions", "a b/c", "/openai/deployments/a%20b%2Fc/chat/completions"),
        ("azure", "/openai/v1/chat/completions", "safe", "/openai/v1/chat/completions"),
        ("openai", "/v1/chat/completions", "safe", "/v1/chat/completions"),
    ],
)  # fmt: skip
def test_a_path_with_another_model(provider: str, path: str, model: str, expected: str) -> None:
    spot = endpoint(provider, "POST", path)
    assert readdressed(spot, path, model) == expected
    if spot.model:
        assert endpoint(provider, "POST", expected) == spot._replace(
            model=model.rpartition("/")[2] if provider == "gemini" else model
        )


def test_query_and_method() -> None:
    assert endpoint("gemini", "POST", "/v1beta/models/m:streamGenerateContent", "alt=sse").is_stream is True
    assert endpoint("openai", "GET", "/v1/models").operation == "models"
    assert endpoint("openai", "GET", "/v1/chat/completions").operation == "other"
    assert endpoint("openai", "GET", "/v1/realtime", "model=x").operation == "realtime"


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("//v1///chat//completions/", "chat"),
        ("/v1/files/../chat/completions", "chat"),
        ("/v1/chat/completions/..", "other"),
        ("/v1/files/%2e%2e/chat/completions", "chat"),
        ("/v1/chat%2Fcompletions", "other"),
        ("/" * 5000 + "chat/completions", "other"),
        ("/v1/ch%61t/completions", "chat"),
        ("", "other"),
        ("\x00\ud800", "other"),
        ("..", "other"),
        ("/%", "other"),
    ],
)
def test_hostile_paths(path: str, operation: str) -> None:
    assert endpoint("openai", "POST", path).operation == operation


@given(st.sampled_from(["openai", "azure", "gemini", "bedrock", "ollama", "plain", "mcp", "?"]), st.text(), st.text())
def test_never_raises(provider: str, path: str, query: str) -> None:
    found = endpoint(provider, "POST", path, query)
    assert isinstance(found, Endpoint) and len(found.model) <= 512
