"""Measures at a running guard: taken within a second, shown, ended by themselves, not forged."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from afterguard.errors import AfterguardError
from afterguard.jobs.judging import key as guard_key
from afterguard.model import Action, Verdict
from afterguard.policy import measures
from afterguard.policy.join import joined
from afterguard.policy.measures import Measure, Sheet

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
TRUSTED = [measures.public_of(KEY)]
LATE = 4e9


def running() -> Any:
    name = "guard_tests_running"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "guard" / "running.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def sheet(*rows: Measure, sequence: int = 1) -> Sheet:
    return measures.sign(Sheet(sequence, 1.0, rows), KEY)


def test_a_sheet_that_is_not_exactly_what_was_signed_is_refused() -> None:
    one = Measure("q-1", "deny_identity", "abc", LATE, "stolen")
    good = measures.written(sheet(one))
    assert measures.read(good, TRUSTED).measures == (one,)
    for data, reason in (
        (b"{}", "unreadable"),
        (good.replace(b'"abc"', b'"abd"'), "tampered"),
        (measures.written(Sheet(1, 1.0, (one,))), "unsigned"),
        (good.replace(TRUSTED[0].encode(), b"00" * 32), "untrusted"),
    ):
        with pytest.raises(measures.SheetRefused) as found:
            measures.read(data, TRUSTED)
        assert found.value.reason == reason
    held = measures.read(good, TRUSTED)
    with pytest.raises(measures.SheetRefused, match="two sheets"):
        measures.follows(sheet(), held.sequence, held.digest)
    assert measures.follows(sheet(sequence=2), held.sequence, held.digest)
    with pytest.raises(measures.SheetRefused, match="older"):
        measures.follows(held, 2, sheet(sequence=2).digest)


@given(st.binary(max_size=300))
def test_anything_is_refused_or_read(data: bytes) -> None:
    with pytest.raises(AfterguardError):
        measures.read(data, TRUSTED)


@given(st.sampled_from(measures.Kind.__args__), st.text(min_size=1, max_size=40), st.text(max_size=20))
def test_every_measure_makes_rules_or_says_why_not(kind: Any, target: str, value: str) -> None:
    one = Measure("m", kind, target, LATE, "r", value)
    try:
        found = measures.standing(Sheet(1, 0.0, (one,)), 1.0)
    except AfterguardError:
        return
    assert found.live == 1 and found.ends == LATE
    assert measures.standing(Sheet(1, 0.0, (one,)), LATE) == measures.NONE


def test_the_stronger_verdict_is_carried_out_and_both_are_named() -> None:
    block = Verdict(Action.block, Action.block, "measure-a", "m", ("measure-a",), policy="measures@1")
    flag = Verdict(Action.flag, Action.block, "r", "p", ("r",), policy="p@1")
    assert joined(flag, block).action is Action.block and joined(flag, block).matched == ("measure-a", "r")
    tools = Verdict(Action.step_down, Action.step_down, "measure-t", "m", ("measure-t",), tools=("pay",))
    redact = Verdict(Action.redact, Action.redact, "r", "p", ("r",), edits=("edit",))  # type: ignore[arg-type]
    both = joined(redact, tools)
    assert both.rule == "measure-t" and both.tools == ("pay",) and both.edits == ("edit",)
    assert joined(block, redact) == joined(block, redact) and joined(flag, Verdict()) == flag


def ask(guard: Any, key: str, tools: Any = None) -> tuple[int, str]:
    body = {"model": "stand-in", "messages": [{"role": "user", "content": "hello"}]}
    if tools:
        body["tools"] = tools
    request = urllib.request.Request(
        guard.url + "/openai/v1/chat/completions",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.headers["x-afterguard-decision"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["x-afterguard-decision"]


def put(guard: Any, *rows: Measure, sequence: int, key: Any = None) -> None:
    """As a responder on this machine would."""
    signed = measures.sign(Sheet(sequence, time.time(), rows), key or measures.own_key(guard_key(guard.folder)))
    part = guard.folder / "part"
    part.write_bytes(measures.written(signed))
    part.replace(guard.folder / "measures.json")


def test_a_running_guard_refuses_a_key_within_a_second_also_where_it_only_observes(tmp_path: Path) -> None:
    net = running()
    with (
        net.stand_in() as origin,
        net.guard(origin.origin, tmp_path, net.rules(head="mode: observe"), mounts=("openai",)) as guard,
    ):
        status, identifier = ask(guard, "stolen")
        assert status == 200
        thief = guard.decided(identifier)["actor"]["user"]["uid"]
        assert ask(guard, "honest")[0] == 200
        put(guard, Measure("q-1", "deny_identity", thief, time.time() + 600, "key stolen", case="c-1"), sequence=1)
        net.until(lambda: guard.metric("afterguard_measures_sequence") == 1)
        status, identifier = ask(guard, "stolen")
        line = guard.decided(identifier)
        assert status == 400 and line["policy"]["uid"] == "measure-q-1" and "key stolen" in line["policy"]["desc"]
        assert ask(guard, "honest")[0] == 200
        assert guard.metric("afterguard_measured_total", "block") == 1 and guard.metric("afterguard_measures") == 1
        # Nobody else can lift it, not even by taking the file away.
        put(guard, sequence=2, key=KEY)
        net.until(lambda: guard.metric("afterguard_measures_refused_total", "untrusted") == 1)
        (guard.folder / "measures.json").unlink()
        net.until(lambda: guard.metric("afterguard_measures_refused_total", "gone") == 1)
        assert ask(guard, "stolen")[0] == 400
        put(guard, sequence=3)
        net.until(lambda: guard.metric("afterguard_measures_sequence") == 3)
        assert ask(guard, "stolen")[0] == 200
        # What nobody lifts ends by itself; a quota leaves so much and no more; a tool is taken from the offer.
        tool = {"type": "function", "function": {"name": "pay", "parameters": {"type": "object"}}}
        put(
            guard,
            Measure("q-2", "deny_identity", thief, time.time() + 1.0, "short"),
            Measure("q-3", "quota", guard.decided(ask(guard, "eager")[1])["actor"]["user"]["uid"], LATE, "eager", "1"),
            Measure("q-4", "tool_off", "pay", LATE, "hijacked"),
            sequence=4,
        )
        net.until(lambda: guard.metric("afterguard_measures_sequence") == 4)
        net.until(lambda: ask(guard, "stolen")[0] == 200, 10)
        assert guard.metric("afterguard_measures") == 2
        assert 429 in {ask(guard, "eager")[0] for _ in range(3)}
        line = guard.decided(ask(guard, "honest", [tool])[1])
        assert line["policy"]["uid"] == "measure-q-4" and line["unmapped"]["afterguard"]["action"] == "step_down"
        assert msgspec.json.decode((guard.folder / "measures.held.json").read_bytes())["sequence"] == 4


@pytest.mark.parametrize(("on_error", "passes"), [("open", 200), ("closed", 400)])
def test_what_nobody_could_judge_in_time_does_not_get_past_a_measure(
    tmp_path: Path, on_error: str, passes: int
) -> None:
    net = running()

    async def slow(exchange: Any, past: Any) -> Any:
        await asyncio.sleep(30)

    tool = {"type": "function", "function": {"name": "pay", "parameters": {"type": "object"}}}
    body = net.chat("hello " * 10_000, tools=[tool], model="gpt-new")
    rows = (
        (Measure("q", "deny_route", "openai", LATE, "r"), 400, ""),
        (Measure("q", "pin_prompt", "openai", LATE, "r", "ab" * 8), 400, ""),
        (Measure("q", "deny_model", "gpt-new", LATE, "r"), 400, ""),
        (Measure("q", "tool_off", "pay", LATE, "r"), passes, "pay"),
        (Measure("q", "pin_model", "gpt-new", LATE, "r", "gpt-agreed"), passes, "gpt-new"),
        (Measure("q", "deny_route", "other", LATE, "r"), passes, "none"),
    )
    for number, (one, status, gone) in enumerate(rows):
        door = net.Door(tmp_path / f"{number}", lambda _: net.Said([net.reply("hi")]), far=slow, budget=0.05, on_error=on_error)  # fmt: skip
        door.brain.take(measures.standing(sheet(one), 1.0))
        assert door.one(body).status == status, one
        line = door.lines()[0]["unmapped"]["afterguard"]
        assert line["failed"] == "budget" and (line.get("matched") == ["measure-q"]) is (on_error == "open" and gone != "none")  # fmt: skip
        if status == 200:
            assert gone.encode() not in door.source.asked[0].body, one
