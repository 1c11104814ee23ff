"""The worker against a destination that does what the test says: partial failures, refusals, receipts that never come, another that stands still."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from afterguard.export.deliver import Worker
from afterguard.export.event import as_json, spooled
from afterguard.export.exporter import Exporter
from afterguard.export.letters import REQUEST, redrive
from afterguard.export.retry import Retry
from afterguard.export.sink import Canary, Item, Limits, Plain, Sent, Settings, Unavailable, Unfit
from afterguard.export.spool.bound import Spool

from .servers_here import wait_for


class Told(Settings, frozen=True, kw_only=True, tag="told"):
    """A sink of the test's own."""


class Script(Plain):
    """Answers with `answer`, else yes, and remembers what it took."""

    limits = Limits(events=10, size=10_000, event=2_000, confirm=300.0)

    def __init__(self, answer: Callable[[Sequence[Item]], Sent | None] = lambda _: None) -> None:
        self.answer = answer
        self.got: list[str] = []
        self.calls = 0
        self.safe: set[int] = set()

    def send(self, batch: Sequence[Item]) -> Sent:
        self.calls += 1
        sent = self.answer(batch) or Sent()
        self.got += [one.id for n, one in enumerate(batch) if n not in sent.again and n not in sent.poison]
        return sent

    def confirmed(self) -> set[int]:
        return self.safe


class World:
    """A spool, a worker and a clock that the test moves."""

    def __init__(self, folder: Path, sink: Script, **more: Any) -> None:
        self.now = 1_000.0
        self.spool = Spool(folder / "it", max_bytes=8 << 20)
        self.sink = sink
        self.worker = Worker(Told(name="it", **more), self.spool, sink, as_json, lambda: self.now, lambda: 0.5)

    def put(self, *ids: str, lane: str = "audit", **more: Any) -> None:
        for id in ids:
            self.spool.put(lane, id, spooled({"id": id, **more})[1])  # type: ignore[arg-type]

    def run(self, turns: int = 200) -> None:
        for _ in range(turns):
            self.now += self.worker.turn()

    def count(self, what: str) -> int:
        return self.spool.counts[what]


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., World]:
    made: list[World] = []

    def make(sink: Script, **more: Any) -> World:
        made.append(World(tmp_path, sink, **more))
        return made[-1]

    return make


def test_alerts_go_first(world: Callable[..., World]) -> None:
    here = world(Script())
    here.put("t1", lane="telemetry")
    here.put("u1", lane="audit")
    here.put("a1", lane="alert")
    here.run()
    assert here.sink.got == ["a1", "u1", "t1"] and here.spool.backlog("telemetry") == 0


def test_only_what_failed_goes_again(world: Callable[..., World]) -> None:
    left = {"e3": 2, "e7": 1}

    def answer(batch: Sequence[Item]) -> Sent:
        again = tuple(n for n, one in enumerate(batch) if left.get(one.id, 0) > 0)
        for n in again:
            left[batch[n].id] -= 1
        return Sent(again)

    here = world(Script(answer))
    here.put(*(f"e{n}" for n in range(10)))
    here.run()
    assert sorted(here.sink.got) == [f"e{n}" for n in range(10)] and here.count("retries") == 3
    assert here.count("audit.delivered") == 10 and here.count("audit.acked") == 10


def test_one_that_is_never_taken_while_others_are_dies_and_can_be_redriven(world: Callable[..., World]) -> None:
    is_mended = False
    here = world(
        Script(lambda batch: Sent(tuple(n for n, one in enumerate(batch) if one.id == "bad" and not is_mended))),
        tries=2,
    )
    here.put("a", "bad", "b")
    here.run(60)
    here.put("c", "d")
    here.run(5_000)
    assert {"a", "b", "c", "d"} <= set(here.sink.got) and here.count("audit.poison") == 1
    assert here.spool.backlog("dead") == 1 and here.spool.backlog("audit") == 0
    is_mended = True
    (here.spool.folder / REQUEST).touch()
    assert redrive(here.spool) == 1 and not (here.spool.folder / REQUEST).exists()
    here.run(5_000)
    assert here.sink.got[-1] == "bad" and here.spool.backlog("dead") == 0


def test_a_batch_called_unfit_is_halved_until_the_one_stands_alone(world: Callable[..., World]) -> None:
    def answer(batch: Sequence[Item]) -> Sent:
        if any(one.id == "e6" for one in batch):
            raise Unfit("400 something is wrong")
        return Sent()

    here = world(Script(answer))
    here.put(*(f"e{n}" for n in range(10)))
    here.run()
    assert sorted(here.sink.got) == [f"e{n}" for n in range(10) if n != 6]
    assert here.count("audit.poison") == 1 and here.count("audit.delivered") == 9


def test_backing_off_grows_is_bounded_and_honours_what_is_asked(world: Callable[..., World]) -> None:
    asked = 0.0

    def answer(_: Sequence[Item]) -> Sent:
        raise Unavailable("503", asked)

    here = world(Script(answer), wait=60.0)
    here.put("e")
    began = here.now
    here.run(20_000)
    tries = here.sink.calls
    assert (here.now - began) > 60 and tries < 30 + (here.now - began) / 45
    assert here.worker.retry.state == "open" and here.worker.why == "503"
    asked = 600.0
    here.run(1_000)
    before, calls = here.now, here.sink.calls
    here.run(1_000)
    assert here.now - before < 600 or here.sink.calls <= calls + 1
    here.sink.answer = lambda _: None
    here.now += 700
    here.run(10)
    assert here.sink.got == ["e"] and here.worker.retry.state == "up"


def test_an_open_breaker_risks_a_small_batch() -> None:
    one = Retry(60.0)
    for _ in range(6):
        one.failed(0.0, 1.0)
    assert one.most_now(1_000) == 8 and one.not_before == 16.0
    one.failed(0.0, 0.0, asked=99.0)
    assert one.not_before == 99.0
    one.worked()
    assert one.most_now(1_000) == 1_000 and one.state == "up"


def test_the_cursor_waits_for_receipts_and_what_is_not_confirmed_goes_again(world: Callable[..., World]) -> None:
    number = 0

    def answer(_: Sequence[Item]) -> Sent:
        nonlocal number
        number += 1
        return Sent(receipt=number)

    here = world(Script(answer), batch=5)
    here.put(*(f"e{n}" for n in range(10)))
    here.run(20)
    assert number == 2 and here.count("audit.acked") == 0
    here.sink.safe = {2}
    here.run(5)
    assert here.count("audit.acked") == 0, "the second is safe, the first is not"
    here.sink.safe = set()
    here.now += 400
    here.run(30)
    assert here.sink.got.count("e0") == 2, "sent again"
    here.sink.safe = {1, 2, 3, 4}
    here.run(10)
    assert here.count("audit.acked") == 10 and here.spool.backlog("audit") == 0


def test_long_events_are_cut_and_say_so_and_impossible_ones_are_dead_letters(world: Callable[..., World]) -> None:
    bodies: list[bytes] = []
    here = world(Script(lambda batch: bodies.extend(one.body for one in batch)))  # type: ignore[func-returns-value]
    here.put("long", text="x" * 50_000)
    here.put("hopeless", **{f"k{n}": n for n in range(9)}, id2=list(range(100_000)))
    here.spool.put("audit", "array", b"[1, 2]")
    here.run()
    assert here.sink.got[0] == "long" and len(bodies[0]) <= 2_000 and b"[cut, 50000 bytes in long]" in bodies[0]
    assert here.count("trimmed") >= 1 and here.count("audit.poison") >= 1 and here.spool.backlog("audit") == 0


def test_a_client_that_raises_anything_loses_nothing(world: Callable[..., World]) -> None:
    is_broken = True

    def answer(_: Sequence[Item]) -> Sent:
        if is_broken:
            raise RuntimeError("a defect of a client library")
        return Sent()

    here = world(Script(answer))
    here.put("e")
    here.run(10)
    is_broken = False
    here.run(1_000)
    assert here.sink.got == ["e"] and "RuntimeError" not in here.worker.why


def exporter(folder: Path, sinks: dict[str, Script], **more: Any) -> Exporter:
    settings = [Told(name=name, **more) for name in sinks]
    return Exporter(settings, folder, made=lambda one: sinks[one.name])


def test_a_full_sink_stalls_no_other(tmp_path: Path) -> None:
    gate = threading.Event()
    stuck = Script(lambda _: gate.wait(30) and None)
    fine = Script()
    out = exporter(tmp_path, {"stuck": stuck, "fine": fine}, spool_mb=1, audit="shed")
    with out:
        for n in range(1_500):
            out.put("audit", {"id": f"e{n}", "x": "y" * 900})
        out.put("alert", {"id": "the-alert"})
        wait_for(lambda: "the-alert" in fine.got and len(fine.got) >= 1_501, "the other sink")
        counts = out.counts()
        assert counts["stuck"]["lanes"]["audit"]["shed"] > 0 and counts["fine"]["lanes"]["audit"]["shed"] == 0
        gate.set()
        wait_for(lambda: "the-alert" in stuck.got, "the alert")
        assert out.drain(60)
        lane = out.counts()["stuck"]["lanes"]["audit"]
    assert len([one for one in set(stuck.got) if one.startswith("e")]) == lane["delivered"]
    # What was shed before it was taken in has no number in the lane.
    assert lane["delivered"] + lane["shed"] >= 1_500 and lane["missing"] == 0


def test_what_was_shed_is_told_to_every_sink(tmp_path: Path) -> None:
    full, fine = Script(lambda _: (_ for _ in ()).throw(Unavailable("away"))), Script()
    out = exporter(tmp_path, {"full": full, "fine": fine}, spool_mb=1)
    for n in range(1_200):
        out.put("telemetry", {"id": f"t{n}", "x": "y" * 900})
        if n % 200 == 0:
            out.step()
    for _ in range(400):
        out._stepped = -1e9
        out.step()
    assert any(one.startswith("al-") for one in fine.got)
    out.close()
    again = exporter(tmp_path, {"full": full, "fine": fine}, spool_mb=1)
    assert again.counts()["full"]["lanes"]["telemetry"]["shed"] > 0
    again.close()


def test_a_sink_that_says_yes_and_forgets_is_noticed_by_the_canary(tmp_path: Path) -> None:
    class Liar(Script):
        def has(self, id: str) -> bool | None:
            return False

    class Honest(Script):
        def has(self, id: str) -> bool | None:
            return id in self.got

    now = 100.0
    sinks: dict[str, Script] = {"liar": Liar(), "honest": Honest()}
    settings = [Told(name=name, canary=Canary(every=500.0, within=20.0)) for name in sinks]
    out = Exporter(settings, tmp_path, clock=lambda: now, made=lambda one: sinks[one.name])
    for _ in range(60):
        now += 1.0
        out.step()
    liar, honest = out.counts()["liar"], out.counts()["honest"]
    assert liar["counts"]["canaries_missed"] == 1 and liar["lanes"]["alert"]["delivered"] == 1 and liar["state"] == "up"
    assert honest["counts"]["canaries_seen"] == 1 and honest["canary"].startswith("seen in")
    assert len([one for one in sinks["honest"].got if one.startswith("al-")]) == 2, "its own canary, and the alarm"
    assert len(sinks["liar"].got) == 1, "who lies is not told"
    out.close()


def test_a_clock_that_jumps_changes_no_wait(world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    here = world(Script())
    monkeypatch.setattr("time.time", lambda: 0.0)
    here.put("past")
    monkeypatch.setattr("time.time", lambda: 4e9)
    here.put("future")
    here.run()
    assert here.sink.got == ["past", "future"] and here.worker.oldest() == 0.0 and here.worker.longest < 1_000
