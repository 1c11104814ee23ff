"""What an assessment planted is taken out again, and listed where nothing shows that it is gone: also when the run stops in the middle, crashes, or the application keeps what it was asked to forget."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from afterguard.attack.contract import Prompt, Reply, Surface
from afterguard.attack.left import is_gone, left
from afterguard.attack.techniques import BY_ID
from afterguard.jobs.attack import Assessment, Head, Journal, Row, Run
from afterguard.jobs.authorisation import Leave
from afterguard.targets.document import Knows, Limits, Target

_spec = importlib.util.spec_from_file_location("attack_stand_ins_left", Path(__file__).with_name("stand_ins.py"))
assert _spec and _spec.loader
stand_ins: Any = importlib.util.module_from_spec(_spec)
sys.modules["attack_stand_ins_left"] = stand_ins
_spec.loader.exec_module(stand_ins)

PLANTING = tuple(BY_ID[one] for one in ("memory-order", "memory-of-all", "document-stays"))
SURFACES = (Surface.user, Surface.document, Surface.memory)
PLANT = Prompt("remember this", leaves="memory: this")
TAKE = Prompt("and now?", removes="memory: this", unless="zorbax")


def test_only_an_answer_without_the_sign_shows_that_it_is_gone() -> None:
    assert left([]) == () and left([("t", Prompt("hello"), Reply("hello"))]) == ()
    assert [one.what for one in left([("t", PLANT, None)])] == ["memory: this"]
    assert left([("t", PLANT, Reply("noted")), ("t", TAKE, Reply("from nine to five"))]) == ()
    assert len(left([("t", PLANT, Reply("noted")), ("u", TAKE, Reply("from nine to five"))])) == 1
    for reply in (Reply("Zorbax - from nine"), Reply(error="timeout"), Reply("no", is_blocked=True), Reply("")):
        assert not is_gone(TAKE, reply) and left([("t", PLANT, None), ("t", TAKE, reply)])
    assert left([("t", PLANT, None), ("t", TAKE, None), ("t", PLANT, Reply("refused", is_blocked=True))])
    twice = [("t", PLANT, None), ("t", PLANT, Reply("noted")), ("t", TAKE, Reply("open"))]
    assert left(twice) == () and len(left([*twice, ("t", PLANT, None)])) == 1


def run(server: Any, path: Path, requests: int = 2_000, changes: bool = True, **more: Any) -> Assessment:
    """Only those that plant, against a server, with its journal at `path`."""
    knows = Knows(purpose="bank help desk", identities=stand_ins.data.IDENTITIES)
    limits = Limits(requests=requests, per_second=1e9, minutes=60, dollars=0)
    one = Target("desk", f"http://127.0.0.1:{server.server_port}/v1/chat/completions", knows=knows, surfaces=SURFACES, headers={"x-customer": "{{identity}}"}, limits=limits)  # fmt: skip
    leave = Leave(one.name, one.host, "Ann", "Bo", "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z", limits=limits, changes=changes)  # fmt: skip
    journal, clock = Journal(path, Head(one.name, one.host, "seed", "run", ())), itertools.count()
    try:
        return Run(one, PLANTING, leave, journal, wall=lambda: 1.8e9, clock=lambda: next(clock) / 1_000, sleep=lambda _: None, **more).whole()  # fmt: skip
    finally:
        journal.close()


def rows_of(path: Path) -> list[Row]:
    return [msgspec.json.decode(line, type=Row) for line in path.read_bytes().splitlines()[1:]]


def planted() -> bool:
    return bool(stand_ins.data.MEMORY or stand_ins.data.KNOWLEDGE)


def test_everything_is_taken_out_after_its_trial(tmp_path: Path) -> None:
    with stand_ins.standing("weak") as server:
        found = run(server, tmp_path / "run.jsonl")
        assert not planted()
    assert not found.left and not found.stopped and all(family.succeeded for family in found.families)
    rows = rows_of(tmp_path / "run.jsonl")
    sent = [row for row in rows if row.kind == "leaves"]
    assert sent and all(row.reply is None and row.prompt and row.prompt.leaves for row in sent)
    assert found.requests == sum(row.reply is not None for row in rows)


@pytest.mark.parametrize("after", [6, 7, 8, 9, 23, 40])
def test_a_kill_switch_in_the_middle_lists_what_is_there(after: int, tmp_path: Path) -> None:
    with stand_ins.standing("weak") as server:
        found = run(server, tmp_path / "run.jsonl", is_killed=lambda: server.requests >= after)
        assert found.stopped == "the kill switch was pulled"
        assert planted() <= bool(found.left)
        again = run(server, tmp_path / "run.jsonl")
        assert not planted() and not again.left and not again.stopped


@pytest.mark.parametrize("after", [6, 7, 8, 23])
def test_a_crash_in_the_middle_loses_no_plant(after: int, tmp_path: Path) -> None:
    def breaks(count: int, _trial: str) -> None:
        if count == after:
            raise KeyboardInterrupt

    path = tmp_path / "run.jsonl"
    with stand_ins.standing("weak") as server:
        with pytest.raises(KeyboardInterrupt):
            run(server, path, told=breaks)
        rows = rows_of(path)
        assert planted() <= bool(left((row.trial, row.prompt, row.reply) for row in rows if row.prompt))
        assert not run(server, path).left and not planted()


def test_a_crash_before_the_answer_is_written_loses_no_plant(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with stand_ins.standing("weak") as server:
        run(server, path, is_killed=lambda: server.requests >= 9)
        lines = path.read_bytes().splitlines(keepends=True)
        kinds = [msgspec.json.decode(line, type=Row).kind for line in lines[1:]]
        # The order was sent and its answer never came to be written.
        path.write_bytes(b"".join(lines[: kinds.index("leaves") + 2]))
        stopped = run(server, path, is_killed=lambda: True)
        assert [one.what.split(":")[0] for one in stopped.left] == ["memory"] and stopped.left[0].text
        assert not run(server, path).left and not planted()


def test_what_is_kept_in_spite_of_us_is_listed(tmp_path: Path) -> None:
    with stand_ins.standing("weak") as server:
        stand_ins.data.FORGETS[0] = False
        found = run(server, tmp_path / "run.jsonl")
        assert planted()
    by = {family.technique: family for family in found.families}
    assert by["document-stays"].succeeded and by["memory-order"].succeeded
    # Of orders, answers begin with the newest only: the one just planted shows, and is listed.
    assert {one.trial.split("/")[0] for one in found.left} == {technique.id for technique in PLANTING}
    assert len({(one.trial, one.what) for one in found.left}) == len(found.left) and all(one.text for one in found.left)


def test_nothing_is_planted_without_requests_left_for_its_clean_up(tmp_path: Path) -> None:
    for requests in range(6, 16):
        with stand_ins.standing("weak") as server:
            found = run(server, tmp_path / f"{requests}.jsonl", requests=requests)
            assert not planted() and not found.left and server.requests <= requests
        assert "requests" in found.stopped


def test_a_replay_shows_what_was_about_to_be_left_and_its_clean_up(tmp_path: Path) -> None:
    from afterguard.cli.attack_files import _said

    with stand_ins.standing("weak") as server:
        found = run(server, tmp_path / "run.jsonl")
    mine = [row for row in rows_of(tmp_path / "run.jsonl") if row.trial == found.hits[0].id]
    shown = "".join(map(_said, mine))
    assert "! about to leave behind" in shown and "clean-up >" in shown and "=> succeeded" in shown


def test_a_leave_without_changes_sends_no_clean_up(tmp_path: Path) -> None:
    with stand_ins.standing("weak") as server:
        run(server, tmp_path / "run.jsonl", is_killed=lambda: server.requests >= 9)
        before = server.requests
        found = run(server, tmp_path / "run.jsonl", changes=False)
        assert found.left and server.requests == before
