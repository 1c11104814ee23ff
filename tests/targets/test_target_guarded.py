"""Every protocol through a real guard: what it lets pass is an answer, what it refuses is known as a refusal of something before the model, before the first byte and in the middle of a stream."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afterguard.attack.contract import Prompt
from afterguard.targets.document import Target
from afterguard.targets.talking import Talking

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).parents[1] / "guard" / "running.py")
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]
PATHS = {
    "openai": ("/openai/v1/chat/completions", "/openai/v1/chat/completions"),
    "responses": ("/openai/v1/responses", "/openai/v1/responses"),
    "anthropic": ("/anthropic/v1/messages", "/anthropic/v1/messages"),
    "gemini": ("/gemini/v1beta/models/M:generateContent", "/gemini/v1beta/models/M:streamGenerateContent?alt=sse"),
    "ollama": ("/ollama/api/chat", "/ollama/api/chat"),
}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The stand-in providers, and the guard before them."""
    rules = running.rule("no-secrets", "block", "response", {"hit.kind": "secret_in_output"})
    rules += running.rule("not-this-model", "block", "request", {"exchange.model": running.BLOCK})
    policy = f"format: afterguard.policy/1\nname: trial\nmode: enforce\nrules:\n{rules}"
    with (
        running.stand_in() as stand_in,
        running.guard(stand_in.origin, tmp_path_factory.mktemp("guard"), policy) as guard,
    ):
        yield stand_in.origin, guard.url


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", PATHS)
def test_answers_and_refusals(kind: Any, stream: bool, door: tuple[str, str]) -> None:
    def talking(model: str) -> Talking:
        path = PATHS[kind][stream].replace("M", model)
        target = Target("it", door[0] + path, guarded=door[1] + path, kind=kind, model=model, stream=stream, timeout=20)
        return Talking(target, "run", "guarded")

    one = talking("m")
    found = one.ask(Prompt("[[say: it is nine]]", is_new=True))
    assert (found.text, found.error, found.is_blocked) == ("it is nine", "", False)
    assert talking(running.BLOCK).ask(Prompt("[[say: it is nine]]", is_new=True)).is_blocked
    found = one.ask(Prompt(f"[[say: {'it is nine ' * 30}, the key is {running.KEY}, bye]] [[cut: 9]]", is_new=True))
    assert found.is_blocked and running.KEY not in found.text, found
    found = one.ask(Prompt("[[fail: 400]]", is_new=True))
    assert found.error == "unreadable" and not found.is_blocked
