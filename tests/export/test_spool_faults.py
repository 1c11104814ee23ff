"""Faults: kills at any moment, what was not synced gone, a full disk, a destination away for an hour. Each event is delivered or counted."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import pytest

from afterguard.export.exporter import Exporter
from afterguard.export.sink import Unavailable
from afterguard.export.spool.bound import LANES, Spool, SpoolFull

from .faults import killed, settled
from .spool_child import sinks
from .test_deliver import Script, Told


def test_kills_at_random_moments_lose_nothing_that_was_taken(tmp_path: Path) -> None:
    out = killed(tmp_path, 20, seed=20_261_130)
    assert out.taken > 20 and not out.lost and out.missing == 0, out


def test_what_was_not_synced_is_thrown_away_and_no_alert_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut: each file is cut back to where it was at its last sync."""
    synced: dict[str, int] = {}
    put = safe = 0  # audit events put, and how many of them when a file of theirs was synced last
    real = os.fdatasync

    def fdatasync(handle: int) -> None:
        real(handle)
        name = os.readlink(f"/proc/self/fd/{handle}")
        synced[name] = os.fstat(handle).st_size
        if "audit" in name:
            nonlocal safe
            safe = put

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    one = Spool(tmp_path / "spool" / "it", max_bytes=4 << 20)
    alerts = []
    for n in range(400):
        put = n  # while it is put, the ones before are in the file for certain
        one.put("audit", f"u{n}", b'{"id":"u%d"}' % n)
        if n % 7 == 0:
            one.put("alert", f"a{n}", b'{"id":"a%d"}' % n)
            alerts.append(f"a{n}")
        if n % 150 == 149:
            one.sync()
            numbers = (tmp_path / "spool" / "it" / "counts").read_bytes()
    shutil.copytree(tmp_path / "spool", tmp_path / "after" / "spool")
    then = dict(synced)
    one.close()
    after = tmp_path / "after" / "spool"
    (after / "it" / "counts").write_bytes(numbers)
    for path in after.rglob("*.seg"):
        os.truncate(path, then.get(str(tmp_path / "spool" / path.relative_to(after)), 0))
    out = settled(tmp_path / "after", tmp_path / "out.jsonl", alerts)
    assert not out.lost and out.missing == 0
    audit = out.arrived - len(alerts) - 2
    # On a slow machine a producer has synced once more by itself; the event it had in hand may be in it.
    assert safe >= 299 and audit in (safe, safe + 1), "what was synced, and not what was put after it"


def test_a_full_disk_sheds_telemetry_refuses_alerts_with_an_error_and_goes_on(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: no file grows past a bound, as on a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    one = Spool(tmp_path, max_bytes=512 << 20, patience=0.1)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        taken = [one.put("telemetry", f"t{n}", b"x" * 3_000) for n in range(60)]
        assert taken.count(False) == one.counts["telemetry.shed"] > 0
        with pytest.raises(SpoolFull):
            for n in range(200):
                one.put("alert", f"a{n}", b"x" * 30_000)
        held = one.counts["alert.next"] - 1
        assert held >= 2 and one.counts["alert.refused"] == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert one.put("alert", "room", b"x" * 3_000)
    ids = []
    while records := one.read("alert", 10, 1 << 20):
        ids += [r.id for r in records]
        one.acknowledge("alert", records[-1].seq, len(records))
    assert ids == [*(f"a{n}" for n in range(held)), "room"] and one.counts["alert.missing"] == 0
    one.close()


def test_a_sink_that_is_away_for_an_hour_costs_no_memory_and_every_event_is_accounted_for(tmp_path: Path) -> None:
    """An hour at two events a second on a clock of the test's own; bench/sinks.py does the same at 200 and measures memory."""
    now = 0.0
    sink = Script(lambda _: (_ for _ in ()).throw(Unavailable("away")))
    out = Exporter([Told(name="it", spool_mb=1, audit="shed")], tmp_path, clock=lambda: now, made=lambda _: sink)
    for second in range(3_600):
        now += 1.0
        out.put("telemetry" if second % 3 else "audit", {"id": f"e{second}", "x": "y" * 800})
        if second % 60 == 0:
            out.put("alert", {"id": f"a{second}"})
        if second % 20 == 0:
            out.step()
    assert sink.calls < 200 and sum(len(one.raw) for one in out._lines[0].worker._held.values()) <= 30
    sink.answer = lambda _: None
    now += 100.0
    while out.step():
        now += 0.01
    lanes = out.counts()["it"]["lanes"]
    assert {f"a{n}" for n in range(0, 3_600, 60)} <= set(sink.got)
    got = {one for one in sink.got if one.startswith("e")}
    assert len(got) + sum(lanes[lane]["shed"] for lane in LANES) == 3_600 and not any(
        lanes[lane]["missing"] for lane in LANES
    )
    out.close()


def test_a_restart_in_the_middle_sends_again_at_most_what_was_on_the_way(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    one = Exporter(sinks(out), tmp_path / "spool")
    for n in range(70):
        one.put("audit", {"id": f"e{n}"})
    for _ in range(3):
        one.step()
    one.close()
    result = settled(tmp_path, out, [f"e{n}" for n in range(70)])
    assert not result.lost and result.twice == 0
