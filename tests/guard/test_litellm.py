"""The door for LiteLLM, asked by a real LiteLLM proxy in front of the stand-in providers; and what it does with questions nobody should ask."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]

KEY = running.KEY
MASTER = "sk-litellm-test"
ASK = "/beta/litellm_basic_guardrail_api"
POLICY = running.rules(
    running.rule("no-wipe", "step_down", "call", {"call.tool": "wipe_disk"}),
    running.rule("no-keys-out", "redact", "request", {"hit.kind": "secret_in_input"}),
    head="mode: enforce",
)


def litellm() -> str:
    """The program, from the user's cache; made there where it is missing."""
    spec = importlib.util.spec_from_file_location("bench_gateway", running.ROOT / "bench/gateway.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_gateway"] = module
    spec.loader.exec_module(module)
    program, why = module.litellm_program()
    if why:
        pytest.skip(f"no LiteLLM here: {why}")
    return str(program)


class Gateway:
    """A LiteLLM proxy, running."""

    def __init__(self, url: str) -> None:
        self.url = url

    def openai(self, **more: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url + "/v1", api_key=MASTER, max_retries=0, **more)


@contextlib.contextmanager
def gateway(folder: Path, provider: str, guard: str, **settings: Any) -> Iterator[Gateway]:
    """LiteLLM in front of `provider`, with the guardrail as `guard litellm-config` writes it, other settings as given."""
    port = running.free_port()
    told = subprocess.run(
        [sys.executable, "-m", "afterguard", "guard", "litellm-config", "--no-config", "--listen", guard.removeprefix("http://")],
        capture_output=True, text=True, check=True, cwd=folder,
    ).stdout  # fmt: skip
    for name, value in settings.items():
        told = told.replace("      api_base:", f"      {name}: {value}\n      api_base:")
    config = folder / "litellm.yaml"
    config.write_text(
        f"""model_list:
  - model_name: "m"
    litellm_params: {{model: "openai/m", api_base: "{provider}/openai/v1", api_key: "k"}}
  - model_name: "claude"
    litellm_params: {{model: "anthropic/claude-3", api_base: "{provider}/anthropic", api_key: "k"}}
litellm_settings: {{telemetry: false, num_retries: 0}}
general_settings: {{master_key: "{MASTER}"}}
{told}"""
    )
    environment = os.environ | {"HOME": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    environment.pop("PYTHONPATH", None)
    command = [litellm(), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    said = folder / "litellm.txt"
    with said.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}"
        running.until(lambda: process.poll() is not None or up(url), 180)
        assert process.poll() is None, said.read_text(errors="replace")[-3000:]
        yield Gateway(url)
    finally:
        running.end(process)


def up(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url + "/health/liveliness", timeout=5).status_code == 200
    return False


class Place:
    """All three, running."""

    def __init__(self, provider: Any, guard: Any, litellm: Gateway) -> None:
        self.provider, self.guard, self.litellm = provider, guard, litellm

    def ask(self, text: str, model: str = "m", **more: Any) -> Any:
        return self.litellm.openai().chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}], **more
        )

    def last(self, route: str = "litellm") -> dict[str, Any]:
        """The newest decision."""
        return [line for line in self.guard.lines() if line["unmapped"]["afterguard"]][-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("litellm")
    (folder / "guard").mkdir()
    with (
        running.stand_in() as provider,
        running.guard("", folder / "guard", POLICY, "--gateway", "litellm", mounts={}) as guard,
        gateway(folder, provider.origin, guard.url) as found,
    ):
        yield Place(provider, guard, found)


def test_what_is_harmless_passes(place: Place) -> None:
    assert place.ask("[[say: hello]] What are the opening hours?").choices[0].message.content == "hello"


def test_a_request_is_redacted_on_its_way_to_the_provider(place: Place) -> None:
    said = place.ask(f"[[echo]] [[tag: redacted]] use {KEY} please").choices[0].message.content
    assert KEY not in said and "removed" in said and said.endswith("please")


def test_a_reply_is_redacted(place: Place) -> None:
    said = place.ask(f"[[leak: {KEY}]]").choices[0].message.content
    assert KEY not in said and "removed" in said


def test_a_growing_reply_is_redacted_before_any_of_it_leaves(place: Place) -> None:
    stream = place.ask(f"[[leak: {KEY}]] [[cut: 3]]", stream=True)
    said = "".join(piece.choices[0].delta.content or "" for piece in stream if piece.choices)
    assert KEY not in said and KEY[:12] not in said and "removed" in said
    assert said.startswith("Of course") and said.endswith("knows it.")


def test_a_forbidden_model_is_refused_as_a_request_nobody_repeats(place: Place) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        place.ask("hello", model=running.BLOCK)
    print(caught.value.status_code, caught.value)


def test_a_forbidden_call_is_refused(place: Place) -> None:
    tools: Any = [{"type": "function", "function": {"name": "wipe_disk", "parameters": {"type": "object"}}}]
    with pytest.raises(openai.APIStatusError) as caught:
        place.ask('[[call: wipe_disk {"a": 1}]]', tools=tools)
    assert running.SAYS in str(caught.value)
