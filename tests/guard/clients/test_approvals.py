"""Approvals with a real guard, a real SDK and the real commands: asked, refused, approved, passed once; denied, late, elsewhere; a restart, two workers, two guards on Redis."""

from __future__ import annotations

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
import openai
import pytest

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).parents[1] / "running.py")
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]

POLICY = running.rules(
    running.rule("ask-model", "ask", "request", {"exchange.model": "askme"}),
    running.rule("ask-refund", "ask", "call", {"call.tool": "refund"}),
    head="mode: enforce",
)
SHARED = 1.2
"""Seconds within which all processes know."""
REFUND = 'Please. [[call: refund {"amount": 5, "order": "A1"}]]'


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Any]:
    with running.stand_in() as found:
        yield found


@pytest.fixture(scope="module")
def guard(stand_in: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running.guard(stand_in.origin, tmp_path_factory.mktemp("guard"), POLICY) as found:
        yield found


def command(folder: Path, *words: str, code: int = 0) -> str:
    """`afterguard guard WORDS` as a person runs it; what it prints."""
    told = [sys.executable, "-m", "afterguard", "guard", *words, "--folder", str(folder), "--no-config"]
    done = subprocess.run(told, capture_output=True, text=True, cwd=folder, env=os.environ | {"NO_COLOR": "1"})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows(folder: Path, *words: str) -> list[dict[str, Any]]:
    said = command(folder, "approvals", "--format", "json", "--quiet", *words)
    found = json.loads(said)
    assert found["format"] == "afterguard.approvals/1"
    return list(found["approvals"])


def approve(folder: Path, identifier: str, *words: str, wait: bool = True) -> str:
    """A person approves it, and the guard knows."""
    said = command(folder, "approve", identifier, "--by", "Kim", "--reason", "ticket 7", *words)
    if wait:
        time.sleep(SHARED)
    return said


def client(guard: Any, conversation: str = "") -> openai.OpenAI:
    headers = {"x-session-id": conversation} if conversation else {}
    return openai.OpenAI(base_url=f"{guard.url}/openai/v1", api_key="sk-stand-in", default_headers=headers)


def chat(guard: Any, text: str, conversation: str = "", model: str = "askme") -> Any:
    """What the model said, or the error the SDK raised."""
    try:
        with client(guard, conversation) as one:
            found = one.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])
    except openai.BadRequestError as error:
        return error
    return found.choices[0].message


def held(guard: Any, text: str, conversation: str = "") -> str:
    """The id of what the SDK was told has to be approved, once a person can see it."""
    error = chat(guard, text, conversation)
    assert isinstance(error, openai.BadRequestError) and error.code == "afterguard_approval", error
    identifier = error.response.headers["x-afterguard-approval"]
    assert f"[approval {identifier}: a person has to approve it first]" in str(error)
    written(guard, identifier)
    return str(identifier)


def written(guard: Any, identifier: str) -> None:
    """Wait until the entry is there for everybody."""
    file = guard.folder / "approvals.json"
    running.until(lambda: file.exists() and f'"id":"{identifier}"' in file.read_text(), 10)


def test_asked_refused_approved_and_passed_once(stand_in: Any, guard: Any) -> None:
    text = "May I? [[tag: once]]"
    identifier = held(guard, text)
    assert stand_in.requests("once") == [], "and no SDK repeated it towards the model"
    (row,) = [one for one in rows(guard.folder) if one["id"] == identifier]
    assert row["state"] == "pending" and row["route"] == "openai" and row["rules"] == ["ask-model"]
    assert "May I" not in json.dumps(row) and row["known_by"] == "key" and len(row["identity"]) == 20
    assert identifier in command(guard.folder, "approvals")
    said = approve(guard.folder, identifier)
    assert "passes once until" in said and "cannot be known: the guard knows only a key" in said
    assert chat(guard, text).content
    assert len(stand_in.requests("once")) == 1
    second = held(guard, text)
    assert second != identifier
    assert len(stand_in.requests("once")) == 1
    told = [line for line in guard.lines() if line.get("format") == "afterguard.approval/1"]
    assert [(one["id"], one["by"], one["reason"]) for one in told] == [(identifier, "Kim", "ticket 7")]
    passed = next(
        line["unmapped"]["afterguard"]["approvals"]
        for line in guard.lines()
        if line.get("status_id") == 1 and line["unmapped"]["afterguard"].get("approvals")
    )
    assert passed == [{"id": identifier, "state": "approved", "by": "Kim", "is_another": False}]
    assert guard.metric("afterguard_approvals_total", "openai", "used") == 1
    assert running.until(lambda: guard.metric("afterguard_approvals", "used")) == 1


def test_denied_late_and_elsewhere(guard: Any) -> None:
    text = "May I delete it?"
    identifier = held(guard, text)
    command(guard.folder, "deny", identifier, "--by", "Kim", "--reason", "no")
    error = running.until(lambda: (found := chat(guard, text)).code == "afterguard_denied" and found)
    assert f"[approval {identifier}: a person has denied it]" in str(error)
    late = held(guard, "May I come late?")
    approve(guard.folder, late, "--minutes", "0.01")
    assert held(guard, "May I come late?") != late
    assert next(one["state"] for one in rows(guard.folder) if one["id"] == late) == "expired"
    command(guard.folder, "approve", late, "--by", "Kim", "--reason", "again", code=2)
    here = held(guard, "May I here?", "one")
    approve(guard.folder, here)
    assert held(guard, "May I here?", "two") != here
    assert chat(guard, "May I here?", "one").content
    command(guard.folder, "approve", "nothing", "--by", "Kim", "--reason", "x", code=2)
    assert running.until(lambda: guard.metric("afterguard_approvals", "denied")) == 1


def test_a_call_in_a_reply_and_in_a_stream(guard: Any) -> None:
    message = chat(guard, REFUND, model="m")
    assert not message.tool_calls and "[approval " in message.content
    identifier = message.content.partition("[approval ")[2].partition(":")[0]
    written(guard, identifier)
    (row,) = [one for one in rows(guard.folder) if one["id"] == identifier]
    assert row["at"] == "call" and row["evidence"] == ['call refund({"amount": 5, "order": "A1"})']
    approve(guard.folder, identifier, "--uses", "2")
    assert [call.function.name for call in chat(guard, REFUND, model="m").tool_calls] == ["refund"]
    with client(guard) as one:
        asked = [{"role": "user", "content": REFUND}]
        stream = one.chat.completions.create(model="m", messages=asked, stream=True)  # type: ignore[call-overload]
        deltas = [choice.delta for chunk in stream for choice in chunk.choices]
    names = [call.function.name for delta in deltas for call in delta.tool_calls or ()]
    assert [name for name in names if name] == ["refund"]
    assert not chat(guard, REFUND, model="m").tool_calls


def test_another_sdk_raises_too(guard: Any) -> None:
    with (
        anthropic.Anthropic(base_url=f"{guard.url}/anthropic", api_key="stand-in") as one,
        pytest.raises(anthropic.BadRequestError) as found,
    ):
        one.messages.create(model="askme", max_tokens=9, messages=[{"role": "user", "content": "May I?"}])
    assert found.value.response.headers["x-afterguard-approval"]


def test_a_restart_in_between(stand_in: Any, tmp_path: Path) -> None:
    text = "May I after that?"
    with running.guard(stand_in.origin, tmp_path, POLICY) as first:
        identifier = held(first, text)
    approve(tmp_path, identifier, wait=False)
    with running.guard(stand_in.origin, tmp_path, POLICY) as second:
        assert chat(second, text).content
    with running.guard(stand_in.origin, tmp_path, POLICY) as third:
        assert held(third, text) != identifier


def test_what_was_asked_just_before_the_end_is_there(stand_in: Any, tmp_path: Path) -> None:
    with running.guard(stand_in.origin, tmp_path, POLICY) as guard:
        error = chat(guard, "May I at the end?")
    assert [one["id"] for one in rows(tmp_path)] == [error.response.headers["x-afterguard-approval"]]


def passes(guard: Any, text: str, times: int) -> int:
    """How many of so many tries got an answer."""
    return sum(not isinstance(chat(guard, text), openai.BadRequestError) for _ in range(times))


def test_two_workers(stand_in: Any, tmp_path: Path) -> None:
    with running.guard(stand_in.origin, tmp_path, POLICY, "--workers", "2") as guard:
        identifier = held(guard, "May we?")
        time.sleep(SHARED)
        assert {chat(guard, "May we?").response.headers["x-afterguard-approval"] for _ in range(8)} == {identifier}
        approve(guard.folder, identifier, "--uses", "3")
        # Each try is a connection of its own, so that the kernel spreads them over the workers.
        assert passes(guard, "May we?", 12) == 3


def test_two_guards_on_one_redis(stand_in: Any, tmp_path: Path, redis: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    with running.guard(stand_in.origin, one, POLICY, "--redis", redis) as first:
        (two / "guard.key").write_bytes((one / "guard.key").read_bytes())
        (two / "guard.key").chmod(0o600)
        with running.guard(stand_in.origin, two, POLICY, "--redis", redis) as second:
            error = chat(first, "May we both?")
            identifier = error.response.headers["x-afterguard-approval"]
            running.until(lambda: [row for row in rows(two, "--redis", redis) if row["id"] == identifier], 10)
            approve(two, identifier, "--redis", redis, "--uses", "3")
            found = [passes(each, "May we both?", 3) for each in (first, second, first)]
            assert sum(found) == 3 and not (one / "approvals.json").exists()
            assert first.metric("afterguard_approvals_total", "used") == 3
