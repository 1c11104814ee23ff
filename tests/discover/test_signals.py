"""Names that say AI, and names that only look like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.discover import signals


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("api.openai.com", "openai"),
        ("API.OpenAI.com.:443", "openai"),
        ("foo.openai.azure.com", "azure-openai"),
        ("us-central1-aiplatform.googleapis.com", "google-vertex-ai"),
        ("bedrock-runtime.eu-west-1.amazonaws.com", "aws-bedrock"),
        ("a.b.langfuse.com", "langfuse"),
        ("notopenai.com", None),
        ("api.openai.com.evil.example", None),
        ("xapi.openai.com", None),
        ("openai.azure.com", None),
        ("evil-aiplatform.googleapis.com.x", None),
        ("s3.amazonaws.com", None),
        ("x.snowflakecomputing.com", None),
        ("", None),
    ],
)
def test_hosts_match_on_label_boundaries(name: str, provider: str | None) -> None:
    found = signals.host(name)
    assert (found.provider if found else None) == provider


def test_shared_hosts_need_a_path() -> None:
    found = signals.host("x.snowflakecomputing.com", "/api/v2/cortex/inference")
    assert found is not None and found.provider == "snowflake-cortex"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("OPENAI_API_KEY", "secret"), ("NEXT_PUBLIC_OPENAI_API_KEY", "secret"), ("spring.ai.openai.api-key", "secret"), ("OPENAI_MODEL", "model"), ("AZURE_OPENAI_EMBEDDING_DEPLOYMENT", "embedding_model"), ("PATH", None), ("API_KEY", None), ("OPENAI_MAX_TOKENS", "setting")],
)  # fmt: skip
def test_variables(name: str, kind: str | None) -> None:
    found = signals.variable(name)
    assert (found.kind if found else None) == kind


@pytest.mark.parametrize(
    ("language", "module", "name"),
    [
        ("python", "openai.types", "openai"),
        ("python", "google.genai", "google-gemini"),
        ("python", "google.cloud.storage", None),
        ("python", "openair", None),
        ("python", ".openai", None),
        ("javascript", "@ai-sdk/openai", "vercel-ai-sdk"),
        ("javascript", "openai/resources", "openai"),
        ("javascript", "aim", None),
        ("go", "github.com/tmc/langchaingo/llms/openai", "langchaingo"),
        ("java", "dev.langchain4j.model.openai.X", "langchain4j"),
        ("java", "dev.langchain4jx.Y", None),
    ],
)
def test_imports(language: str, module: str, name: str | None) -> None:
    found = signals.import_(language, module)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("ecosystem", "package", "name"),
    [("pypi", "Llama_Index_Core", "llama-index"), ("pypi", "openapi", None), ("npm", "@mastra/core", "mastra"), ("maven", "dev.langchain4j:langchain4j-open-ai", "langchain4j"), ("go", "github.com/openai/openai-go/v2", "openai"), ("npm", "openai-x", None)],
)  # fmt: skip
def test_packages(ecosystem: str, package: str, name: str | None) -> None:
    found = signals.package(ecosystem, package)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("name", "provider"),
    [("gpt-4o", "openai"), ("us.anthropic.claude-3-5-sonnet-20240620-v1:0", "anthropic"), ("groq/llama3-70b", "groq"), ("llama3.2:3b", ""), ("google/gemma-2b", ""), ("openrouter/google/gemini-2.5", "openrouter"), ("commands", None), ("llamas", None), ("fluxcapacitor", None), ("application/json", None), ("o12", None), ("random/thing", None), ("a sentence about gpt-4", None)],
)  # fmt: skip
def test_models(name: str, provider: str | None) -> None:
    found = signals.model(name)
    assert (found.provider if found else None) == provider


@pytest.mark.parametrize(
    ("data", "worth"),
    [
        (b"import openai", True),
        (b"from google import genai", True),
        (b"require('ai')", True),
        (b"eval(x)", True),
        (b"subprocess.run(x)", True),
        (b"fetch('https://api.groq.com/x')", True),
        (b"os.environ['ANTHROPIC_API_KEY']", True),
        (b"'airplane'", False),
        (b"medieval(x)", False),
        (b"def add(a, b): return a + b", False),
        (b"", False),
    ],
)
def test_files_worth_parsing(data: bytes, worth: bool) -> None:
    assert signals.worth_parsing(data) is worth


def test_every_name_of_the_catalog_is_worth_parsing() -> None:
    from afterguard.catalog import load

    for row in load("signals/products")["products"]:
        for name in row.get("python", ()):
            assert signals.worth_parsing(f"import {name}\n".encode()), name
        for name in row.get("npm", ()):
            assert signals.worth_parsing(f'import x from "{name.replace("*", "x")}"'.encode()), name
        for name in row.get("java", ()):
            assert signals.worth_parsing(f"import {name}.X;".encode()), name
        for name in row.get("go", ()):
            assert signals.worth_parsing(f'import "{name}"'.encode()), name


@given(st.text(max_size=60))
def test_lookups_never_raise(text: str) -> None:
    signals.host(text, text)
    signals.variable(text)
    signals.model(text)
    for language in ("python", "javascript", "java", "go", "cobol"):
        signals.import_(language, text)
    for ecosystem in signals.ECOSYSTEMS:
        signals.package(ecosystem, text)
