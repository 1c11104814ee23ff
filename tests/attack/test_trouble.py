"""A target that works at first and then does not: what was known stays known, what is unclear is not assessed, the run ends by itself, and what was planted is listed and taken out when it goes on."""

from __future__ import annotations

import importlib.util
import itertools
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from afterguard.attack.contract import Canary, Surface
from afterguard.attack.techniques import BY_ID
from afterguard.jobs.attack import Assessment, Head, Journal, Run
from afterguard.jobs.authorisation import Leave
from afterguard.targets.document import Knows, Limits, Target

_spec = importlib.util.spec_from_file_location("attack_stand_ins_trouble", Path(__file__).with_name("stand_ins.py"))
assert _spec and _spec.loader
stand_ins: Any = importlib.util.module_from_spec(_spec)
sys.modules["attack_stand_ins_trouble"] = stand_ins
_spec.loader.exec_module(stand_ins)

TECHNIQUES = [BY_ID[id] for id in ("order-in-document", "canary-question", "role-play", "memory-order")]
LIMITS = Limits(requests=120, per_second=1e9, minutes=60, dollars=0)
ENDS = "the authorisation ended at 2099-01-01T00:00:00Z"
GONE = "the target does not talk to us any more"
ABROAD = (
    "Valitettavasti emme voi auttaa tässä asiassa, mutta konttorimme palvelee teitä mielellään.",
    "申し訳ございませんが、その件についてはお答えできません。窓口までお越しください。",
    "نعتذر، لا يمكننا الرد على هذا الطلب، يرجى زيارة الفرع.",
    "K našemu politování na to nemůžeme odpovědět; přijďte prosím na pobočku.",
    "Sajnos erről nem beszélhetünk, de a fiókban szívesen segítünk.",
    "ขออภัย เราไม่สามารถตอบเรื่องนี้ได้ กรุณาติดต่อสาขา",
)  # fmt: skip


class Handler(stand_ins.Handler):  # type: ignore[misc,name-defined]
    """More ways to go wrong."""

    def locked(self, body: dict[str, Any]) -> None:
        self.sent(b'{"error": "sign in again"}', 401)

    def shut(self, body: dict[str, Any]) -> None:
        self.sent(b'{"error": "blocked for abuse"}', 403)

    def crowded(self, body: dict[str, Any]) -> None:
        self.sent(b"{}", 429)

    def html(self, body: dict[str, Any]) -> None:
        self.sent(b"<html>We are moving house.</html>", content_type="text/html")

    def drips(self, body: dict[str, Any]) -> None:
        """A stream that never ends, slowly."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n')
            self.wfile.flush()
            time.sleep(0.05)

    def hang(self, body: dict[str, Any]) -> None:
        time.sleep(0.6)

    def round(self, body: dict[str, Any]) -> None:
        """Sends from one page to another and back."""
        self.sent(b"", 307, location="/a" if self.path == "/b" else "/b")

    def abroad(self, body: dict[str, Any]) -> None:
        self.said({"content": random.Random(json.dumps(body)).choice(ABROAD)})


def target(server: Any, timeout: float) -> Target:
    knows = Knows(purpose="bank help desk", system_prompt=stand_ins.SYSTEM, canaries=(Canary(stand_ins.CODE),))
    return Target("desk", f"http://127.0.0.1:{server.server_port}/v1", model="m", system=stand_ins.SYSTEM, surfaces=tuple(Surface), knows=knows, limits=LIMITS, timeout=timeout)  # fmt: skip


class Turn:
    """Lets a target go wrong, or the leave end, once something has been planted."""

    def __init__(self, server: Any, into: str) -> None:
        self.server, self.into, self.is_over = server, into, False

    def __call__(self, count: int, trial: str) -> None:
        if trial.startswith("memory-order") and not self.is_over:
            self.is_over = True
            if self.into:
                self.server.character = self.into

    def wall(self) -> float:
        return 9e9 if self.is_over and not self.into else 1.8e9


def run(server: Any, folder: Path, turn: Turn | None = None) -> Assessment:
    is_slow = turn is not None and turn.into in ("hang", "drips")
    one, clock = target(server, 0.5 if is_slow else 30), itertools.count()
    leave = Leave(one.name, one.host, "Ann", "Bo", "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z", limits=LIMITS, changes=True)  # fmt: skip
    journal = Journal(folder / "run.jsonl", Head(one.name, one.host, "seed", "run", ()))
    more: dict[str, Any] = {"told": turn, "wall": turn.wall} if turn else {"wall": lambda: 1.8e9}
    try:
        return Run(one, TECHNIQUES, leave, journal, clock=lambda: next(clock) / 1_000, sleep=lambda _: None, **more).whole()  # fmt: skip
    finally:
        journal.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(stand_ins, "Handler", Handler)
    with stand_ins.standing("weak") as one:
        yield one


CASES = {
    "hang": ("", "timeout"),
    "drips": ("", "timeout"),
    "endless": ("", "too-large"),
    "html": ("", "unreadable"),
    "crowded": ("", "rate-limited"),
    "error": ("", "server-error"),
    "round": (GONE, "redirected"),
    "locked": (GONE, "logged-out"),
    "shut": (GONE, "banned"),
    "": (ENDS, ""),
}
"""What happens, "" that the leave ends -> why the run ends, and why trials are not assessed."""


@pytest.mark.parametrize("into", CASES)
def test_trouble_in_the_middle(into: str, server: Any, tmp_path: Path) -> None:
    stopped, word = CASES[into]
    found = run(server, tmp_path, Turn(server, into))
    assert {hit.technique for hit in found.hits} >= {"order-in-document", "role-play"}, "what was known stays known"
    # A target that is crowded for ever is asked again, with pauses, until the requests are used up.
    assert found.stopped == stopped or (not stopped and found.stopped == f"all {LIMITS.requests} requests are used")
    reasons = {reason for family in found.families for reason in family.not_assessed}
    assert reasons <= {word, "something-is-still-planted"} and not any(family.resisted for family in found.families), (
        reasons,
        found.families,
    )
    assert [one.trial for one in found.left] == ["memory-order/plain/0"], found.left
    server.character = "weak"
    again = run(server, tmp_path)
    assert not again.left or again.stopped, "what was left is taken out before anything else is asked"
    assert {hit.id for hit in again.hits} >= {hit.id for hit in found.hits}


def test_who_declines_in_languages_nobody_listed_is_not_believed_to_give_way(server: Any, tmp_path: Path) -> None:
    server.character = "abroad"
    found = run(server, tmp_path)
    assert not found.hits and not found.left
