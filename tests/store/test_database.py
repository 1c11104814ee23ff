"""Runs kept and compared, on both databases."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from afterguard.errors import AfterguardError, Unreachable, UsageError
from afterguard.model import (
    App,
    Asset,
    AssetKind,
    Certainty,
    Confidence,
    Coverage,
    Evidence,
    Finding,
    Hit,
    Incident,
    Lookback,
    Severity,
    Survey,
)
from afterguard.store.database import Store, open_store
from afterguard.store.ids import maker, uuid7

APP = App("shop", root="shop")
Open = Callable[[], Store]


def finding(name: str, path: str = "app.py", line: int = 3) -> Finding:
    return Finding(
        "hard-coded-key",
        Severity.high,
        Confidence.high,
        path,
        line,
        ("CWE-798",),
        f"key {name}",
        "rotate",
        fingerprint=f"v1:{name}",
    )


def asset(name: str, path: str = "app.py") -> Asset:
    return Asset(AssetKind.provider, name, Certainty.declared, (Evidence(path, 1, name),))


def incident(kind: str, cause: str, seen: float | None = 1_793_600_000.0) -> Incident:
    return Incident(
        f"i-{cause}",
        kind,
        "t",
        Severity.high,
        Confidence.high,
        seen,
        seen,
        ("x",),
        1,
        ("LLM01:2025",),
        "e",
        cause=cause,
    )


def survey(
    *found: Finding, assets: tuple[Asset, ...] = (), coverage: tuple[Coverage, ...] = (), app: App = APP, **more: Any
) -> Survey:
    return Survey(app, assets, tuple(found), coverage, **more)


def lookback(*found: Incident, first: float = 1_793_500_000.0, last: float = 1_793_700_000.0) -> Lookback:
    return Lookback(10, tuple(found), {}, first_seen=first, last_seen=last)


def save(store: Store, result: Survey | None, past: Lookback | None = None, **more: Any) -> str:
    run = store.save_run(
        result, past, started=store.clock(), command=more.pop("command", "onboard"), version="1", **more
    )
    store.clock.now += 60  # type: ignore[attr-defined]
    return run


def ids(changed: tuple[Any, ...]) -> list[str]:
    return [one.id for one in changed]


def test_a_run_comes_back_as_it_was(opened: Open) -> None:
    result = survey(finding("a"), assets=(asset("openai"),), files=3, bytes=10)
    run = save(
        opened(),
        result,
        lookback(incident("jailbreak", "c")),
        hits=[Hit("d", "k", Severity.low, Confidence.low, "x", ())],
    )
    again = opened()
    assert again.assets(run) == result.assets
    assert again.findings(run) == result.findings
    assert again.incidents(run)[0].cause == "c"
    (one,) = again.history()
    assert (one.id, one.status, one.app, one.files, one.findings, one.incidents) == (run, "complete", "shop", 3, 1, 1)
    assert again.connection.execute("SELECT tenant, app, kind FROM hit") == [("default", "shop", "k")]
    assert again.connection.execute("SELECT path, line FROM evidence") == [("app.py", 1)]


def test_a_first_run_changes_nothing(opened: Open) -> None:
    store = opened()
    run = save(store, survey(finding("a")))
    assert store.diff(run).previous_run == ""
    assert store.diff(run).new == ()


def test_new_fixed_and_unchanged(opened: Open) -> None:
    store = opened()
    first = save(store, survey(finding("a"), finding("b"), assets=(asset("openai"), asset("groq"))))
    second = save(store, survey(finding("b", line=40), finding("c"), assets=(asset("OpenAI"), asset("xai"))))
    change = store.diff(second)
    assert ids(change.new) == ["v1:c", "provider:xai"]
    assert ids(change.fixed) == ["v1:a", "provider:groq"]
    assert change.unchanged == {"asset": 1, "finding": 1}
    assert change.previous_run == first
    assert change.not_examined == ()


def test_what_was_not_read_is_not_fixed(opened: Open) -> None:
    store = opened()
    save(store, survey(finding("a", "lib/deep/a.py"), finding("b", "b.py"), finding("z", "x.zip!/in/z.py")))
    unread = (Coverage("lib", "unreadable"), Coverage("x.zip", "encrypted"))
    change = store.diff(save(store, survey(coverage=unread)))
    assert ids(change.fixed) == ["v1:b"]
    assert ids(change.not_examined) == ["v1:a", "v1:z"]


def test_another_root_or_a_caller_who_knows_better(opened: Open) -> None:
    store = opened()
    save(store, survey(finding("a", "a.py")))
    elsewhere = save(store, survey(app=App("shop", root="shop/sub")))
    assert ids(store.diff(elsewhere).not_examined) == ["v1:a"]
    save(store, survey(finding("a", "a.py"), finding("b", "b.py")))
    last = save(store, survey())
    change = store.diff(last, examined=lambda path: path == "b.py")
    assert (ids(change.fixed), ids(change.not_examined)) == (["v1:b"], ["v1:a"])


def test_a_discovery_does_not_fix_findings(opened: Open) -> None:
    store = opened()
    save(store, survey(finding("a"), assets=(asset("openai"),)))
    change = store.diff(save(store, survey(assets=(asset("openai"),)), command="afterguard discover ."))
    assert change.fixed == ()
    assert change.unchanged == {"asset": 1}
    after = store.diff(save(store, survey(finding("a"))))
    assert after.unchanged["finding"] == 1


def test_incidents_by_kind_and_cause(opened: Open) -> None:
    store = opened()
    save(store, None, lookback(incident("jailbreak", "a"), incident("secret", "b")), app=APP)
    covering = store.diff(save(store, None, lookback(incident("jailbreak", "a"), incident("jailbreak", "c")), app=APP))
    assert ids(covering.new) == ["i-c"]
    assert ids(covering.fixed) == ["i-b"]
    save(store, None, lookback(incident("secret", "b")), app=APP)
    later = store.diff(save(store, None, lookback(first=1_793_650_000.0), app=APP))
    assert ids(later.not_examined) == ["i-b"]


def test_applications_and_tenants_do_not_mix(opened: Open) -> None:
    store = opened()
    save(store, survey(finding("a")))
    other = save(store, survey(app=App("shop", tenant="other", root="shop")))
    assert store.diff(other).previous_run == ""
    assert [one.tenant for one in store.history(tenant="other")] == ["other"]
    assert len(store.history(app="shop")) == 2


def test_suppressed_findings_are_kept_and_not_called_fixed(opened: Open) -> None:
    store = opened()
    save(store, survey(finding("a")))
    change = store.diff(save(store, survey(suppressed=(finding("a"),))))
    assert change.fixed == ()
    assert store.connection.execute("SELECT COUNT(*) FROM finding WHERE suppressed = 1") == [(1,)]


def test_hostile_text_is_kept_without_failing(opened: Open) -> None:
    store = opened()
    nasty = finding("n\0ul\ud800'); DROP TABLE run;--", path="a\0b%s?.py", line=1 << 80)
    run = save(
        store, survey(nasty, assets=(asset("\ud800\0"),), coverage=(Coverage("\ud801", "excluded", count=1 << 70),))
    )
    assert store.findings(run)[0].rule == "hard-coded-key"
    assert store.history()[0].id == run
    store.diff(save(store, survey()))


def test_exceptions_and_decisions(opened: Open) -> None:
    store = opened()
    store.suppress(APP, reason="known", who="ada", expires=store.clock() + 10, fingerprint="v1:a")
    assert [one.reason for one in store.suppressions(APP, store.clock())] == ["known"]
    assert store.suppressions(APP, store.clock() + 11) == ()
    with pytest.raises(ValueError, match="reason"):
        store.suppress(APP, reason=" ", who="ada", expires=0, fingerprint="v1:a")
    store.dispose(APP, kind="jailbreak", cause="c", status="confirmed", reason="seen", who="ada")
    store.dispose(APP, kind="jailbreak", cause="c", status="dismissed", reason="test", who="bo")
    assert store.dispositions(APP)[("jailbreak", "c")].status == "dismissed"


def test_a_deleted_run_takes_its_rows_along(opened: Open) -> None:
    store = opened()
    run = save(store, survey(finding("a"), assets=(asset("x"),)), lookback(incident("k", "c")))
    assert store.delete_run(run)
    assert not store.delete_run(run)
    for table in ("finding", "asset", "evidence", "incident", "coverage"):
        assert store.connection.execute(f"SELECT COUNT(*) FROM {table}") == [(0,)]


def test_first_found(opened: Open) -> None:
    store = opened()
    begun = store.clock()
    save(store, survey(finding("a")))
    save(store, survey(finding("a"), finding("b")))
    assert store.first_found("default", "shop") == {"v1:a": begun, "v1:b": begun + 60}


def test_many_at_once(target: str) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with open_store(target, timeout=30) as store:
                for turn in range(5):
                    many = [finding(f"{number}-{turn}-{row}") for row in range(50)]
                    store.save_run(survey(*many), started=time.time(), command="scan", version="1")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failures == []
    with open_store(target) as store:
        assert len(store.history()) == 20
        assert all(one.status == "complete" for one in store.history())
        assert store.connection.execute("SELECT COUNT(*) FROM finding") == [(1000,)]


def test_killed_in_the_middle_of_saving(target: str) -> None:
    program = textwrap.dedent(
        f"""
        import sys, time
        from afterguard.model import App, Survey, Finding, Severity, Confidence
        from afterguard.store.database import open_store
        class Slow(tuple):
            def __iter__(self):
                for number in range(3000):
                    yield Finding("r", Severity.low, Confidence.low, "p", 1, (), "m", "f", fingerprint=str(number))
                print("half", flush=True)
                time.sleep(60)
        store = open_store({target!r})
        store.save_run(Survey(App("shop"), findings=Slow()), started=1.0, command="scan", version="1")
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"half\n"
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    with open_store(target, timeout=30) as store:
        (one,) = store.history()
        assert one.status == "incomplete"
        assert store.findings(one.id) == ()
        run = store.save_run(survey(finding("a")), started=2.0, command="scan", version="1")
        assert store.diff(run).previous_run == ""


def test_a_newer_database_is_refused(target: str) -> None:
    with open_store(target) as store:
        store.connection.execute("INSERT INTO migration (name, applied) VALUES ('9999-future', 1.0)")
    with pytest.raises(UsageError, match="newer") as told:
        open_store(target)
    assert told.value.hint


def test_an_older_database_is_brought_up_to_date(target: str) -> None:
    with open_store(target) as store:
        for table in ("deletion", "original_access", "legal_hold", "original", "original_key"):
            store.connection.execute(f"DROP TABLE {table}")
        store.connection.execute("DELETE FROM migration WHERE name = '0003-originals'")
    with open_store(target) as store:
        assert store.connection.execute("SELECT COUNT(*) FROM original") == [(0,)]


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "store.db"
    with open_store(path) as store:
        save_at = store.save_run(survey(finding("a")), started=1.0, command="scan", version="1")
        assert save_at
        for file in path.parent.iterdir():
            assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.parametrize("content", [b"not a database at all, " * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(content)
    with pytest.raises(UsageError) as told:
        open_store(path)
    assert told.value.hint
    assert path.read_bytes() == content


def test_a_damaged_page_is_told(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with open_store(path) as store:
        run = store.save_run(survey(*[finding(str(n)) for n in range(2000)]), started=1.0, command="scan", version="1")
        store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw = bytearray(path.read_bytes())
    raw[4096 * 40 : 4096 * 120] = b"\xff" * (4096 * 80)
    path.write_bytes(raw)
    with pytest.raises(AfterguardError) as told, open_store(path) as store:
        store.findings(run)
        store.history()
        store.connection.execute("SELECT COUNT(*), MAX(body) FROM finding")
    assert told.value.hint


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE customer (id)")
    with pytest.raises(UsageError, match="another program"):
        open_store(path)


def test_paths_that_cannot_hold_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for target in (tmp_path, tmp_path / "file" / "store.db", "mysql://x/y", "/proc/nothing/store.db"):
        with pytest.raises(UsageError) as told:
            open_store(target)
        assert told.value.hint


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as told:
        open_store(f"postgresql://user:geheim@/db?host={tmp_path}", timeout=1)
    assert "geheim" not in str(told.value)


def test_ids_sort_by_time_and_never_go_back() -> None:
    now = [100.0]
    make = maker(lambda: now[0], os.urandom)
    first = make()
    now[0] = 50.0
    second = make()
    assert first < second
    assert first[:13] == second[:13]
    many = [make() for _ in range(1000)]
    assert many == sorted(many)
    assert uuid7(1.0, bytes(10)) < uuid7(2.0, bytes(10))
    assert uuid7(1.0, b"\xff" * 10) == "00000000-03e8-7fff-bfff-ffffffffffff"
    with pytest.raises(ValueError, match="random"):
        uuid7(1.0, b"")
