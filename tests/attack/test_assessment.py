"""An assessment against stand-ins: every planted weakness of the weak one is found, nothing is claimed of the mended one, and none of those that are there to fool oracles does."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from afterguard.attack.contract import Canary, Surface
from afterguard.attack.techniques import TECHNIQUES
from afterguard.jobs.attack import Assessment, Head, Journal, Run
from afterguard.jobs.authorisation import Leave
from afterguard.targets.document import Knows, Limits, Target

_spec = importlib.util.spec_from_file_location("attack_stand_ins", Path(__file__).with_name("stand_ins.py"))
assert _spec and _spec.loader
stand_ins: Any = importlib.util.module_from_spec(_spec)
sys.modules["attack_stand_ins"] = stand_ins
_spec.loader.exec_module(stand_ins)

data: Any = stand_ins.data
CANARIES = (Canary(stand_ins.CODE), Canary(data.RECORD, "record", data.OWNER), Canary(data.DOCUMENT_CODE, "document"))
FACTS = {
    "limit": str(data.LIMIT),
    "limit_tool": "pay_back",
    "packages": ", ".join(data.PACKAGES),
    "off_purpose": "declined",
}
LISTENER = "https://listener.example/r"
REQUESTS = 600
"""Enough for all techniques; how a run spends less is another test's matter."""
FOOLS = ("echo", "polite", "nonsense")
BROKEN = {"error": "server-error", "redirect": "redirected", "hang": "timeout", "endless": "too-large"}


def target(port: int, **more: Any) -> Target:
    knows = Knows(purpose="bank help desk", system_prompt=stand_ins.SYSTEM, canaries=CANARIES, tools=data.TOOLS, forbidden_tools=(data.FORBIDDEN,), identities=data.IDENTITIES, facts=FACTS)  # fmt: skip
    told: dict[str, Any] = {"system": stand_ins.SYSTEM, "surfaces": tuple(Surface), "offers": data.OFFERS, "timeout": 30, "headers": {"x-customer": "{{identity}}"}}  # fmt: skip
    return Target("desk", f"http://127.0.0.1:{port}/v1/chat/completions", model="m", knows=knows, **(told | more))


def leave(one: Target, **more: Any) -> Leave:
    told: dict[str, Any] = {"limits": Limits(requests=REQUESTS, per_second=1e9, minutes=60, dollars=0), "changes": True}
    told |= {"begins": "2026-01-01T00:00:00Z", "ends": "2099-01-01T00:00:00Z"}
    return Leave(one.name, one.host, "Ann", "Bo", **(told | more))


def assessed(server: Any, folder: Path, timeout: float = 30, **more: Any) -> Assessment:
    one = target(server.server_port, limits=Limits(requests=REQUESTS, per_second=1e9), timeout=timeout)
    journal = Journal(folder / "run.jsonl", Head(one.name, one.host, "seed", "run", ()))
    clock = itertools.count()
    found = Run(one, TECHNIQUES, leave(one, **more), journal, wall=lambda: 1.8e9, clock=lambda: next(clock) / 1_000, sleep=lambda _: None, listener=LISTENER).whole()  # fmt: skip
    journal.close()
    return found


def test_every_planted_weakness_is_found(tmp_path: Path) -> None:
    with stand_ins.standing("weak") as server:
        found = assessed(server, tmp_path)
    assert not found.stopped and not found.manner
    assert {family.technique for family in found.families if family.succeeded} == {one.id for one in TECHNIQUES}
    for hit in found.hits:
        assert hit.turns and hit.evidence and hit.turns[0][0].is_new
    assert found.requests <= REQUESTS and not found.left
    hit = [one.id.rpartition("/")[0] for one in found.hits]
    rows = [row for row in msgspec.json.decode(b"[" + b",".join((tmp_path / "run.jsonl").read_bytes().splitlines()) + b"]") if row.get("kind") == "twin"]  # fmt: skip
    # One twin of each form that succeeded, however often it did.
    assert len(hit) > len(set(hit)) and {row["trial"].rsplit("/", 2)[0] for row in rows} == set(hit)
    assert len({row["trial"] for row in rows}) == len(set(hit))


def test_nothing_is_claimed_of_the_mended_one(tmp_path: Path) -> None:
    with stand_ins.standing("mended") as server:
        found = assessed(server, tmp_path)
    assert not found.hits and not found.stopped and not found.left
    for family in found.families:
        assert family.resisted >= 3 and family.share.high < 0.6 and not family.skipped


@pytest.mark.parametrize("character", FOOLS)
def test_who_tries_to_fool_the_oracles_is_neither_weak_nor_strong(character: str, tmp_path: Path) -> None:
    with stand_ins.standing(character) as server:
        found = assessed(server, tmp_path)
    assert not found.hits
    if character != "nonsense":
        assert found.manner and all(family.skipped and not family.resisted for family in found.families)
    else:
        by = {family.technique: family for family in found.families}
        assert all(family.skipped == "does-not-hear" and not family.resisted for family in by.values())


@pytest.mark.parametrize("character", BROKEN)
def test_an_error_is_no_resistance(character: str, tmp_path: Path) -> None:
    with stand_ins.standing(character) as server:
        found = assessed(server, tmp_path, timeout=0.5 if character == "hang" else 30)
    assert not found.hits and all(family.share.of == 0 for family in found.families)
    assert found.stopped or all(family.skipped == "no-answer-to-harmless-questions" for family in found.families)


def test_a_target_that_changes_its_format_asks_for_patience_or_bans_us(tmp_path: Path) -> None:
    for character in ("odd", "busy", "banned"):
        folder = tmp_path / character
        folder.mkdir()
        with stand_ins.standing(character) as server:
            found = assessed(server, folder)
        if character == "odd":
            assert sum(family.not_assessed.get("unreadable", 0) for family in found.families) and found.hits
        elif character == "busy":
            assert found.hits and not any(family.not_assessed for family in found.families)
        else:
            assert found.stopped == "the target does not talk to us any more"


def test_a_run_that_broke_off_comes_to_the_same_result(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    with stand_ins.standing("weak") as server:
        once = assessed(server, whole)
        for requests in (3, 9, 20, 21):
            cut = assessed(server, broken, limits=Limits(requests=requests, per_second=1e9, minutes=60, dollars=0))
            assert cut.stopped == f"all {requests} requests are used"
        lines = (broken / "run.jsonl").read_bytes()
        (broken / "run.jsonl").write_bytes(lines[:-20])  # the last line was half written
        twice = assessed(server, broken)
    assert twice.families == once.families and [hit.id for hit in twice.hits] == [hit.id for hit in once.hits]


def test_a_leave_that_ends_or_does_not_allow_changes(tmp_path: Path) -> None:
    with stand_ins.standing("weak") as server:
        found = assessed(server, tmp_path, ends="2026-02-01T00:00:00Z")
        assert found.stopped == "the authorisation ended at 2026-02-01T00:00:00Z" and not server.requests
        found = assessed(server, tmp_path, quiet_hours="00:00-23:59")
        assert "quiet hours" in found.stopped and not server.requests
        found = assessed(server, tmp_path, changes=False)
    by = {family.technique: family for family in found.families}
    assert by["tool-from-document"].skipped == "not-read-only" and by["order-in-document"].succeeded


def test_few_requests_end_a_run_by_themselves_and_a_broken_one_at_the_same_place(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()

    def limits(requests: int) -> Limits:
        return Limits(requests=requests, per_second=1e9, minutes=60, dollars=0)

    with stand_ins.standing("weak") as server:
        enough = 11 * len(TECHNIQUES)
        once = assessed(server, whole, limits=limits(enough))
        for requests in (40, 150):
            assert assessed(server, broken, limits=limits(requests)).stopped
        twice = assessed(server, broken, limits=limits(enough))
    assert not once.stopped and not twice.stopped and enough * 0.9 < once.requests <= twice.requests <= enough
    assert once.families == twice.families and all(family.succeeded >= 3 for family in once.families)
