"""The spool: what goes in comes out, in order, or is counted; whatever bytes lie in its files."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.errors import UsageError
from afterguard.export.spool.bound import Spool, SpoolFull
from afterguard.export.spool.counters import Counters
from afterguard.export.spool.record import Record, find, pack

MB = 1 << 20


def spool(folder: Path, size: int = 64 * MB, **more: object) -> Spool:
    return Spool(folder, max_bytes=size, **more)  # type: ignore[arg-type]


def taken(one: Spool, lane: str = "audit") -> list[Record]:
    """Everything of a lane that can be read, acknowledged."""
    out: list[Record] = []
    while records := one.read(lane, 100, MB):
        out += records
        one.acknowledge(lane, records[-1].seq, len(records))
    return out


@given(st.lists(st.binary(max_size=300), max_size=8), st.binary(max_size=60), st.data())
@settings(max_examples=150, deadline=None)
def test_records_are_found_in_whatever_surrounds_them(bodies: list[bytes], dirt: bytes, draw: st.DataObject) -> None:
    packed = [pack(n, 1.5, 7, f"id{n}", body) for n, body in enumerate(bodies, 1)]
    data = dirt.join(packed)
    at, found = 0, []
    while at < len(data):
        one = find(data, at, is_all=True)
        assert one.end > at or one.record is not None
        at = one.end
        if one.record is not None:
            found.append((one.record.seq, one.record.body))
    assert found == list(enumerate(bodies, 1))
    if data:
        damaged = bytearray(data)
        damaged[draw.draw(st.integers(0, len(data) - 1))] ^= 0x55
        at, left = 0, set()
        while at < len(data):
            one = find(bytes(damaged), at, is_all=True)
            at = max(one.end, at + 1)
            if one.record is not None:
                left.add((one.record.seq, one.record.body))
        assert left <= set(enumerate(bodies, 1)) and len(left) >= len(bodies) - 1


@given(st.binary(max_size=2_000))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    at = 0
    while at < len(data):
        one = find(data, at, is_all=True)
        assert one.record is None or one.record.id is not None
        at = one.end


def test_urgent_lanes_first_in_order_and_across_a_restart(tmp_path: Path) -> None:
    one = spool(tmp_path)
    for n in range(5):
        one.put("telemetry", f"t{n}", b"t")
        one.put("alert", f"a{n}", b"a")
    first = one.read("alert", 3, MB)
    one.acknowledge("alert", first[-1].seq, 3)
    one.close()
    one = spool(tmp_path)
    assert [r.id for r in taken(one, "alert")] == ["a3", "a4"]
    assert [r.id for r in taken(one, "telemetry")] == [f"t{n}" for n in range(5)]
    one.put("telemetry", "t5", b"t")
    assert [r.id for r in taken(one, "telemetry")] == ["t5"]
    assert one.counts["telemetry.missing"] == one.counts["torn"] == 0
    one.close()


def test_what_was_read_and_not_acknowledged_is_read_again(tmp_path: Path) -> None:
    one = spool(tmp_path)
    for n in range(10):
        one.put("audit", f"e{n}", b"x")
    one.read("audit", 4, MB)
    one.rewind()
    assert [r.id for r in taken(one)] == [f"e{n}" for n in range(10)]
    one.close()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    one = spool(tmp_path)
    with pytest.raises(UsageError, match="in use"):
        spool(tmp_path)
    one.close()
    spool(tmp_path).close()
    assert (tmp_path / "counts").stat().st_mode & 0o777 == 0o600


def test_segments_that_are_done_go_away(tmp_path: Path) -> None:
    one = spool(tmp_path, 2 * MB)
    for n in range(3_000):
        assert one.put("audit", f"e{n}", b"x" * 500)
        if n % 100 == 99:
            taken(one)
    assert one.size() < 200_000 and one.counts["audit.delivered"] == 3_000
    one.close()


def test_full_telemetry_is_shed_and_the_count_survives_a_kill(tmp_path: Path) -> None:
    one = spool(tmp_path, MB)
    took = sum(one.put("telemetry", f"t{n}", b"x" * 1_000) for n in range(1_500))
    assert 0 < took < 1_000 and one.size() <= MB * 0.8
    # No close: a killed process leaves its files like this.
    numbers = Counters(tmp_path / "counts", [*one.counts.all()], is_read_only=True)
    assert numbers["telemetry.shed"] == 1_500 - took
    numbers.close()
    one.close()


def test_audit_waits_for_room_and_alerts_shed_what_is_less_urgent(tmp_path: Path) -> None:
    one = spool(tmp_path, MB, patience=3.0)
    while one.put("telemetry", "t", b"x" * 1_000):
        pass
    while one.offer("audit", "u", b"x" * 1_000):
        pass
    shed_for_audit = one.counts["telemetry.shed"]
    assert shed_for_audit > 1 and one.offer("audit", "u", b"x" * 1_000) is None
    count = 0
    with pytest.raises(SpoolFull, match="no room"):
        while True:
            one.put("alert", f"a{count}", b"x" * 20_000)
            count += 1
    assert one.counts["audit.shed"] > 0 and one.counts["alert.shed"] == 0 and one.counts["alert.refused"] == 1
    waiting = threading.Thread(target=one.put, args=("audit", "late", b"x" * 1_000))
    waiting.start()
    assert len(taken(one, "alert")) == count
    # It may have found room before these are taken, and be one of them.
    meanwhile = [r.id for r in taken(one, "audit")]
    waiting.join(20)
    assert not waiting.is_alive()
    assert "late" in [*meanwhile, *(r.id for r in taken(one))]
    put = one.counts["telemetry.next"] - 1
    held = len(taken(one, "telemetry"))
    # What was never taken in is shed too; that is the one that ended the first loop.
    assert held + one.counts["telemetry.shed"] - 1 == put and one.counts["telemetry.missing"] == 0
    one.close()


def test_audit_is_shed_where_that_is_asked_for(tmp_path: Path) -> None:
    one = spool(tmp_path, MB, is_audit_shed=True)
    results = [one.put("audit", f"u{n}", b"x" * 1_000) for n in range(1_200)]
    assert not results[-1] and one.counts["audit.shed"] == results.count(False)
    one.close()


@pytest.mark.parametrize("seed", range(8))
def test_damage_costs_what_it_hits_and_the_rest_is_counted(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    one = spool(tmp_path, 2 * MB)
    for n in range(600):
        one.put("audit", f"e{n}", bytes([n % 250]) * draw.randrange(50, 400))
    one.close()
    files = sorted((tmp_path / "audit").glob("*.seg"))
    assert len(files) > 1
    for path in draw.sample(files, 2):
        data = bytearray(path.read_bytes())
        for _ in range(draw.randrange(1, 4)):
            data[draw.randrange(32, len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data[: draw.choice((len(data), len(data) - draw.randrange(1, 500)))])
    one = spool(tmp_path, 2 * MB)
    one.put("audit", "after", b"x")
    got = [r.id for r in taken(one)]
    assert got[-1] == "after" and got == [*sorted(got[:-1], key=lambda id: int(id[1:])), "after"]
    assert len(got) == len(set(got)) and len(got) + one.counts["audit.missing"] == 601
    assert 0 < one.counts["audit.missing"] < 40 and one.backlog("audit") == 0
    one.close()


def test_a_torn_end_is_counted_and_nothing_else_is_lost(tmp_path: Path) -> None:
    one = spool(tmp_path)
    for n in range(20):
        one.put("audit", f"e{n}", b"x" * 100)
    one.close()
    path = next((tmp_path / "audit").glob("*.seg"))
    with path.open("ab") as file:
        file.write(pack(21, 1.0, 1, "torn", b"y" * 100)[:-10])
    one = spool(tmp_path)
    assert one.counts["torn"] == 1
    one.put("audit", "next", b"x")
    assert [r.id for r in taken(one)] == [*(f"e{n}" for n in range(20)), "next"]
    assert one.counts["audit.missing"] == 0
    one.close()


def test_strange_counters_are_an_error_with_a_way_out(tmp_path: Path) -> None:
    spool(tmp_path).close()
    (tmp_path / "counts").write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="counters"):
        spool(tmp_path)


def test_ages_survive_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = spool(tmp_path)
    one.put("audit", "e", b"x")
    record = one.peek("audit")
    assert record is not None
    for jump in (-86_400.0, 86_400.0):
        now = time.time() + jump
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda now=now: now)
            assert 0 <= one.age("audit", record) < 60
    one.close()
