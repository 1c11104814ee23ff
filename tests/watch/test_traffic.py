"""The examiner of the watch: the same seed gives the same bytes, seasons show, counts are right, every campaign sends, and what counts as found is what it says."""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))

import watch_figures as figures
from afterguard.watch.event import Event
from threshold import Alert, Watch
from traffic import DAY, Plan, Stream
from traffic.days import Days
from traffic.draw import named, noise
from traffic.schedule import KINDS

QUIET = Plan(per_day=40_000, learn=7, quiet=0, examined=0, kinds=())
ALL = Plan(per_day=4_000, learn=0, quiet=0, examined=14, spread=60)


@pytest.fixture(scope="module")
def week() -> list[Event]:
    return [event for event, _ in Stream(1, QUIET)]


@pytest.fixture(scope="module")
def abused() -> tuple[Stream, dict[int, list[Event]]]:
    stream = Stream(1, ALL)
    rows: dict[int, list[Event]] = defaultdict(list)
    for event, number in stream:
        rows[number].append(event)
    return stream, rows


def test_the_same_seed_gives_the_same_bytes() -> None:
    plan = Plan(per_day=3_000, learn=0, quiet=1, examined=2, spread=20)
    one, same, other = (b"".join(map(msgspec.msgpack.encode, Stream(seed, plan))) for seed in (5, 5, 6))
    assert one == same != other


def test_one_campaign_more_moves_nothing_else() -> None:
    few = Plan(per_day=3_000, learn=0, quiet=0, examined=2, kinds=("sponge",), variants=("few",))
    without = [event.time for event, _ in Stream(5, Plan(3_000, 0, 0, 2, kinds=()))]
    assert [event.time for event, number in Stream(5, few) if not number] == without


def test_an_application_alone_is_as_it_is_among_the_others() -> None:
    among = [
        (one.time, one.user, one.shape) for one, _ in Stream(5, Plan(3_000, 0, 1, 0, kinds=())) if one.app == "coder"
    ]
    alone = [(one.time, one.user, one.shape) for one, _ in Stream(5, Plan(3_000, 0, 1, 0, kinds=(), apps=("coder",)))]
    assert alone == among
    assert {one.app for one in Stream(5, Plan(apps=("coder",))).campaigns} == {"coder"}


def test_time_never_runs_backwards(week: list[Event], abused: tuple[Stream, dict[int, list[Event]]]) -> None:
    assert all(one.time <= two.time for one, two in pairwise(week))
    times = sorted((int(event.id[1:], 16), event.time) for events in abused[1].values() for event in events)
    assert all(one[1] <= two[1] for one, two in pairwise(times))


def test_ids_are_given_once(week: list[Event]) -> None:
    assert len({event.id for event in week}) == len(week)


def test_counts_are_near_what_was_asked(week: list[Event]) -> None:
    machines = sum(event.client in ("probe", "searchbot") for event in week)
    assert 0.85 < (len(week) - machines) / (7 * QUIET.per_day) < 1.25


def test_seasons_show(week: list[Event]) -> None:
    hours: dict[str, Counter[int]] = defaultdict(Counter)
    days: dict[str, Counter[int]] = defaultdict(Counter)
    for event in week:
        if event.client != "probe" and event.user:
            hours[event.app][int((event.time - QUIET.start) % DAY // 3600)] += 1
            days[event.app][int((event.time - QUIET.start) // DAY)] += 1
    for app in ("shop-chat", "coder", "payments"):
        assert max(hours[app].values()) > 1.6 * min(hours[app].values())
    assert days["assistant"][5] < 0.3 * days["assistant"][1]
    assert days["shop-chat"][5] > 0.6 * days["shop-chat"][1]


def test_outages_bring_errors_and_more_tries() -> None:
    stream = Stream(3, Plan(per_day=60_000, learn=3, quiet=0, examined=0, kinds=()))
    outage = stream.days.outages[0]
    inside = [event for event, _ in stream if event.app == outage.app and outage.start <= event.time < outage.end]
    assert sum(event.status >= 500 for event in inside) > 0.3 * len(inside)


def test_a_peak_and_a_holiday_stand_in_the_calendar() -> None:
    days = Days(Plan(), 1)
    assert len(days.peaks) == 3 and len(days.holidays) == 3 and len(days.outages) == 5
    start, end, times = days.peaks[0]
    assert end > start and times > 1.5
    assert all(len(days.releases[app]) >= 3 for app in days.releases)


def test_ordinary_life_is_not_clean(week: list[Event]) -> None:
    assert {"ok", "refused", "blocked", "error"} == {event.outcome for event in week}
    people = defaultdict(set)
    for event in week:
        if event.user:
            people[event.address].add(event.user)
    assert max(map(len, people.values())) > 20, "nobody shares a company's address"
    shapes = Counter(event.shape for event in week if event.app == "shop-chat" and event.client != "probe")
    assert shapes.most_common(1)[0][1] > 50, "nobody writes the same"
    moves = [move for event in week for move in event.moves]
    assert 0.1 < sum(move.is_refund for move in moves) / len(moves) < 0.5
    assert max(event.turn for event in week) > 30
    assert any(math.isnan(value) for event in week for value in event.features)


def test_near_texts_have_near_sketches() -> None:
    rng = np.random.default_rng(1)
    means = [float(np.bitwise_count(noise(rng, 4_000, level)).mean()) for level in (1, 2, 3, 4, 5)]
    assert [round(mean) for mean in means] == [24, 16, 8, 4, 2]
    assert len(set(named(np.arange(1000), "x").tolist())) == 1000


def test_every_campaign_sends(abused: tuple[Stream, dict[int, list[Event]]]) -> None:
    stream, rows = abused
    assert len(KINDS) >= 15 and sum(kind.slow for kind in KINDS) >= 3
    assert len(stream.campaigns) == 2 * len(KINDS)
    for one in stream.campaigns:
        events = rows[one.number]
        assert events, f"{one.kind} ({one.variant})"
        assert all(event.app == one.app for event in events)
        assert one.start <= events[0].time and events[-1].time <= one.end + 7200, f"{one.kind} ({one.variant})"


def test_a_spread_campaign_has_as_many_identities(abused: tuple[Stream, dict[int, list[Event]]]) -> None:
    stream, rows = abused
    for one in stream.campaigns:
        if one.spread and one.sends is not None:
            column = "address" if one.kind == "leaked-key" else "device" if one.kind == "shared-credential" else "user"
            assert len({getattr(event, column) for event in rows[one.number]}) > 0.8 * one.identities, one.kind


def test_every_campaign_can_be_named(abused: tuple[Stream, dict[int, list[Event]]]) -> None:
    stream, rows = abused
    for one in stream.campaigns:
        truth = figures.Truth(one)
        for event in rows[one.number]:
            truth.note(event)
        covered = set().union(*truth.named.values()) if truth.named else set()
        assert "app" in one.names or len(covered) == truth.rows, f"{one.kind} ({one.variant})"


def examined(
    alerts: list[Alert], kind: str, variant: str, abused: tuple[Stream, dict[int, list[Event]]]
) -> figures.Seed:
    stream, rows = abused
    one = next(one for one in stream.campaigns if one.kind == kind and one.variant == variant)
    truth = figures.Truth(one)
    for event in rows[one.number]:
        truth.note(event)
    run = figures.Examined("test", None)
    for alert in alerts:
        run.alerts.append(figures.Said(alert.time, alert.kind, figures.words_of(alert), figures.said(alert)))
    return figures.judged(run, stream, 1, 0, [truth])


def test_what_counts_as_found(abused: tuple[Stream, dict[int, list[Event]]]) -> None:
    stream, rows = abused
    one = next(one for one in stream.campaigns if one.kind == "refund-fraud" and one.variant == "spread")
    events = rows[one.number]
    payees = {event.moves[0].payee for event in events}
    late = one.start + 600.0

    def alert(*entities: tuple[str, str], at: float = late, app: str = one.app) -> Alert:
        return Alert("refunds", "many refunds", app, entities, at)

    whole = examined([alert(*(("payee", payee) for payee in payees))], one.kind, one.variant, abused)
    assert whole.campaigns[0].minutes == 10 and whole.campaigns[0].fits and not whole.false_examined
    part = examined([alert(("user", events[0].user))], one.kind, one.variant, abused)
    assert part.campaigns[0].minutes is None and part.campaigns[0].noticed and not part.false_examined
    app = examined([alert()], one.kind, one.variant, abused)
    assert app.campaigns[0].minutes is None and app.campaigns[0].noticed and not app.false_examined
    foreign = examined([alert(("user", "u0123456789abcdef"))], one.kind, one.variant, abused)
    assert not foreign.campaigns[0].noticed and foreign.false_examined == 1
    before = examined([alert(("payee", next(iter(payees))), at=one.start - 60)], one.kind, one.variant, abused)
    assert not before.campaigns[0].noticed and before.false_examined == 1


def test_a_swapped_model_is_named_by_its_application(abused: tuple[Stream, dict[int, list[Event]]]) -> None:
    stream, _ = abused
    one = next(one for one in stream.campaigns if one.kind == "silent-swap" and one.variant == "few")
    late = one.start + 3600.0
    named = examined([Alert("drift", "answers changed", one.app, (), late)], one.kind, one.variant, abused)
    assert named.campaigns[0].minutes == 60
    busy = examined([Alert("rate", "more requests", one.app, (), late)], one.kind, one.variant, abused)
    assert busy.campaigns[0].minutes is None


def test_the_peer_learns_then_tells_once_a_day() -> None:
    watch = Watch(learn_days=1)
    for hour in range(24):
        assert watch.feed(Event(time=hour * 3600.0, app="a", user="u1")) == []
    told = [alert for n in range(10) for alert in watch.feed(Event(time=DAY + 3600 + n, app="a", user="u1"))]
    assert [alert.entities for alert in told] == [(("user", "u1"),)]


def test_the_whole_examination_runs_and_reports() -> None:
    plan = Plan(per_day=3_000, learn=2, quiet=1, examined=2, kinds=("wallet-burst", "score-swap"), spread=30)
    runs = figures.examine(1, plan, {"peer": lambda: Watch(2)}, lambda text: None)
    assert len(runs[0].campaigns) == 4 and runs[0].events > 10_000
    text = figures.report(runs)
    assert "wallet-burst" in text and "recall" in text and "missed" in text


def test_runs_of_single_applications_are_joined(tmp_path: Path) -> None:
    files = []
    for app in ("shop-chat", "coder"):
        plan = Plan(2_000, 1, 1, 2, kinds=("wallet-burst", "agent-loop"), apps=(app,), spread=20)
        runs = figures.examine(1, plan, {"peer": lambda: Watch(1)}, lambda text: None)
        files.append(tmp_path / app)
        files[-1].write_bytes(msgspec.json.encode({"runs": [asdict(run) for run in runs]}))
    (one,) = figures.read([str(file) for file in files])
    assert len(one.campaigns) == 4 and (one.quiet_days, one.examined_days) == (1, 2)


def test_an_examination_that_takes_too_long_is_judged_as_far_as_it_came() -> None:
    plan = Plan(2_000, 1, 1, 4, kinds=("wallet-burst",), spread=20)
    (run,) = figures.examine(1, plan, {"peer": lambda: Watch(1)}, lambda text: None, minutes=0)
    assert run.examined_days == 0 and run.quiet_days < 1 and run.campaigns == []
