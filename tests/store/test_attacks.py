"""Attacks in the store, on SQLite and PostgreSQL: rates come back as they were kept, the newest counts, a scan and an attack do not disturb each other."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from afterguard.model import App, Attacked, Confidence, Family, Finding, Severity, Survey
from afterguard.store import attacks
from afterguard.store.database import Store

APP = App("desk", "bank")
RATES = (
    Family("order-in-document", 3, 2, 1, {"timeout": 1}, "", "An order", "indirect injection", Severity.high, ("LLM01:2025",), {"plain": (3, 5)}, 1.7),
    Family("order-in-mail", skipped="no-mail\0", title="\ud800"),
)  # fmt: skip
FOUND = Attacked("desk", "r1", RATES, 1_793_600_000.0, "direct", 120, "the authorisation ended")
FINDING = Finding("order-in-document", Severity.high, Confidence.high, "", 0, (), "It is followed.", "Mend it.", fingerprint="a1:1")  # fmt: skip


def keep(store: Store, found: Attacked, app: App = APP) -> str:
    return attacks.keep(store, app, found, (FINDING,), started=1_793_600_000.0, version="1")


def test_rates_come_back_as_they_were(opened: Callable[[], Store]) -> None:
    run = keep(opened(), FOUND)
    store = opened()
    found = attacks.newest(store, APP)
    assert found is not None and found.families[0] == RATES[0] and found.families[1].skipped == "no-mail\ufffd"
    assert msgspec.structs.replace(found, families=()) == msgspec.structs.replace(FOUND, families=())
    kept = store.run(run)
    assert kept and (kept.command, kept.parts, kept.findings, kept.status) == ("attack", ("attack",), 1, "complete")
    assert attacks.newest(store, App("desk", "other")) is None and attacks.newest(store, App("other", "bank")) is None


def test_the_newest_counts_and_one_without_the_guard_before_one_through_it(opened: Callable[[], Store]) -> None:
    store = opened()
    keep(store, FOUND)
    keep(store, msgspec.structs.replace(FOUND, run="r2", ended=FOUND.ended + 9, through="guarded"))
    newest = attacks.newest(store, APP)
    assert newest and newest.run == "r1"
    keep(store, msgspec.structs.replace(FOUND, run="r3", ended=FOUND.ended + 5))
    newest = attacks.newest(store, APP)
    assert newest and newest.run == "r3" and attacks.newest(store, APP, FOUND.ended + 100) is None


def test_going_on_with_a_run_replaces_what_was_kept_of_it(opened: Callable[[], Store]) -> None:
    store = opened()
    keep(store, FOUND)
    keep(store, msgspec.structs.replace(FOUND, requests=600, stopped=""))
    assert [run.command for run in store.history()] == ["attack"]
    newest = attacks.newest(store, APP)
    assert newest and newest.requests == 600
    for table in ("attack", "attack_family", "finding"):
        assert store.connection.execute(f"SELECT COUNT(*) FROM {table}")[0][0] in (1, 2)


def test_an_attack_mends_no_finding_of_a_scan(opened: Callable[[], Store]) -> None:
    store = opened()
    survey = Survey(APP, findings=(msgspec.structs.replace(FINDING, rule="hardcoded-secret", fingerprint="v1:2"),))
    store.save_run(survey, started=1_793_600_000.0, command="scan", version="1")
    keep(store, FOUND)
    again = store.save_run(survey, started=1_793_600_900.0, command="scan", version="1")
    change = store.diff(again)
    assert not change.fixed and not change.new and change.unchanged["finding"] == 1
