"""Many alarms of one kind at once come together, a wide cause does not silence a narrow one, and a campaign cannot teach percentiles and topics."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import numpy as np

from afterguard.model import Severity
from afterguard.watch.alarm import Alarm, Why, of
from afterguard.watch.cooling import Cooling
from afterguard.watch.event import Event
from afterguard.watch.heavy import Heavy
from afterguard.watch.storm import FIRST, WAIT, Storms
from afterguard.watch.topics import FIRST as ASKED
from afterguard.watch.topics import Topics

NOW = 1_780_272_000.0
DAY = 86_400.0
HOUR = 3_600.0


def alarm(who: str, kind: str = "burst", scope: str = "user", times: float = 5.0) -> Alarm:
    why = Why(scope, who, "requests", 1.0, 1.0, 50.0, 600.0, NOW, NOW, times, 4.0, 9.0)
    return of(kind, "watch", (), [(f"e-{who}", NOW)], severity=Severity.high, cause=f"{scope} {who}", rule=f"{who} did much", would_change="", why=why)  # fmt: skip


def test_the_first_few_are_told_at_once_and_the_others_together() -> None:
    storms = Storms()
    first = storms.gather([alarm(f"u{n}", times=n) for n in range(40)], NOW)
    assert [alert.why.who for alert in first if alert.why] == [f"u{n}" for n in range(FIRST)]
    assert storms.gather([], NOW + WAIT - 1) == []
    (rest,) = storms.gather([], NOW + WAIT)
    assert set(rest.hit.identifiers) == {f"u{n}" for n in range(FIRST, 40)}
    assert rest.why is not None and rest.why.who == "u39", "the worst explains itself"
    assert len(rest.exchanges) == 40 - FIRST


def test_another_kind_is_told_beside_a_storm_and_so_is_one_after_it() -> None:
    storms = Storms()
    storms.gather([alarm(f"u{n}") for n in range(40)], NOW)
    assert len(storms.gather([alarm("x", "scraping")], NOW + 60)) == 1
    storms.gather([], NOW + WAIT)
    assert len(storms.gather([alarm("y")], NOW + 3 * HOUR)) == 1


def test_what_is_held_survives_a_restart() -> None:
    storms, other = Storms(), Storms()
    storms.gather([alarm(f"u{n}") for n in range(9)], NOW)
    other.take(msgspec.msgpack.decode(msgspec.msgpack.encode(storms.kept())))
    assert other.gather([], NOW + WAIT) == storms.gather([], NOW + WAIT)


def test_a_shared_key_does_not_silence_who_is_behind_it() -> None:
    cooling = Cooling()
    events = [Event(NOW, key="team", user="u1", conversation="c1")] * 3
    assert cooling.is_news("refusal_burst", "key", "team", events, NOW)
    assert cooling.is_news("escalation", "user", "u1", events, NOW), "narrower than what was told"
    assert not cooling.is_news("repeated_attacks", "key", "team", events, NOW), "wider than what was told"


def test_the_key_of_a_whole_application_explains_nothing() -> None:
    cooling = Cooling()
    events = [Event(NOW, key="app", network="n1")] * 3
    assert cooling.is_news("refusal_burst", "key", "app", events, NOW, is_cause=False)
    assert cooling.is_news("repeated_attacks", "network", "n1", events, NOW)
    assert not cooling.is_news("repeated_attacks", "key", "app", events, NOW), "but itself"


def test_a_new_job_is_told_once_not_by_its_requests_then_its_cost() -> None:
    cooling = Cooling()
    events = [Event(NOW, key="app", address="a1", shape=5)] * 3
    assert cooling.is_news("burst", "address", "a1", events, NOW)
    assert not cooling.is_news("cost_anomaly", "address", "a1", events, NOW + 10 * DAY)
    assert cooling.is_news("cost_anomaly", "address", "a1", events, NOW + 15 * DAY)


def test_many_small_requests_do_not_make_the_others_heavy() -> None:
    heavy, rng = Heavy(), np.random.default_rng(1)

    def look(cost: float, count: int, now: float) -> int:
        weights = rng.lognormal(np.log([cost, 400, 8]), 0.4, (count, 3))
        return int(heavy.look(["m"] * count, weights, now, False).sum())

    for hour in range(48):
        look(0.02, 300, NOW + hour * HOUR)
    for minute in range(120):
        look(0.0005, 500, NOW + 48 * HOUR + 60 * minute)
    assert look(0.02, 1_000, NOW + 50 * HOUR) <= 5


def test_who_asks_much_does_not_move_what_is_usual() -> None:
    topics, rng = Topics(), random.Random(1)
    usual, strange = [rng.getrandbits(64) for _ in range(6)], rng.getrandbits(64)

    def near(centre: int) -> int:
        for _ in range(8):
            centre ^= 1 << rng.randrange(64)
        return centre

    def ask(centres: list[int], count: int, now: float) -> float:
        asked = np.array([near(rng.choice(centres)) for _ in range(count)], dtype=np.uint64)
        return float(topics.far(asked, now, False).mean())

    ask(usual, ASKED, NOW)
    for minute in range(300):
        ask([strange, strange, strange, *usual], 60, NOW + 60 * minute)
    assert ask(usual, 500, NOW + 6 * HOUR) < 0.03
    assert ask([strange], 200, NOW + 6 * HOUR) > 0.5


def test_the_page_says_when_alarms_come_together() -> None:
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "watch.md").read_text(encoding="utf-8")
    assert "come together, in one alarm" in page
