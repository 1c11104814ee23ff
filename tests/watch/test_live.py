"""The watch over time: what it learns, what it raises, what it keeps quiet about, and what it survives."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from afterguard.errors import AfterguardError
from afterguard.model import Confidence
from afterguard.watch.alarm import Alarm
from afterguard.watch.columns import AT
from afterguard.watch.event import Event, Move
from afterguard.watch.live import Watch
from afterguard.watch.site import Settings

START = 1_780_272_000.0
DAY = 86_400.0
HOUR = 3_600.0
BITS = 1 << 22
TOPICS = [random.Random(f"topic {n}").getrandbits(64) for n in range(6)]


def near(rng: random.Random, sketch: int, flips: int) -> int:
    """A sketch with a few bits flipped."""
    for _ in range(flips):
        sketch ^= 1 << rng.randrange(64)
    return sketch


def event(rng: random.Random, time: float, who: int, **other: Any) -> Event:
    """One ordinary exchange of an ordinary person."""
    fields: dict[str, Any] = {
        "id": f"{time:.3f}-{who}",
        "app": "shop",
        "key": "app-key",
        "user": f"u{who}",
        "address": f"a{who}",
        "network": f"n{who // 4}",
        "region": "DE",
        "device": f"d{who}",
        "client": ("browser", "ios")[who % 3 == 0],
        "conversation": f"c{who}-{int(time // HOUR)}",
        "model": "m",
        "version": "m-1",
        "prompt": "p1",
        "seconds": rng.lognormvariate(1, 0.4),
        "input_tokens": int(rng.lognormvariate(6, 0.5)),
        "output_tokens": int(rng.lognormvariate(5.5, 0.5)),
        "asked": near(rng, TOPICS[min(5, int(6 * rng.random() ** 1.5))], 8),
        "shape": rng.getrandbits(60) if rng.random() < 0.8 else 77 + rng.randrange(8),
        "answer": near(rng, 0x0F0F0F0F0F0F0F0F, 16),
        "answer_size": int(rng.lognormvariate(6.5, 0.5)),
        "documents": tuple({f"x{int(300 * rng.random() ** 2)}" for _ in range(2)}),
    }
    fields |= other
    fields.setdefault("cost", 1e-6 * (fields["input_tokens"] + 4 * fields["output_tokens"]))
    return Event(time=time, **fields)


def ordinary(seed: int, start: float, days: float, people: int = 120, a_day: float = 16.0) -> Iterator[Event]:
    """People who come in sessions, more of them by day; a few refusals, errors, payments, refunds."""
    rng = random.Random(seed)
    time = start
    while time < start + days * DAY:
        busy = 1 + 0.8 * math.sin(2 * math.pi * (time % DAY) / DAY - 2)
        time += rng.expovariate(people * a_day / 4 * busy / DAY)
        who, at = int(people * rng.random() ** 1.4), time
        for turn in range(1, 1 + min(12, 1 + int(rng.expovariate(1 / 3)))):
            other: dict[str, Any] = {"turn": turn}
            chance = rng.random()
            if chance < 0.01:
                other |= {"outcome": "refused"}
            elif chance < 0.015:
                other |= {"outcome": "error", "status": 503, "answer_size": 0, "output_tokens": 0, "answer": 0}
            elif chance < 0.08:
                payee = f"p{who}-{rng.randrange(3)}" if rng.random() < 0.9 else f"p{rng.getrandbits(40)}"
                other |= {"moves": (Move("pay", round(rng.lognormvariate(4, 1), 2), "USD", payee, chance < 0.03),)}
            yield event(rng, at, who, **other)
            at += rng.lognormvariate(3.5, 0.7)


def run(watch: Watch, events: list[Event]) -> list[Alarm]:
    """Alarms over these events in order of time, to the end of the last slice."""
    events = sorted(events, key=lambda one: one.time)
    alerts = [alert for one in events for alert in watch.feed(one)]
    return alerts + watch.tick(events[-1].time + 400) if events else []


LEARNT = 4.0
NOW = START + LEARNT * DAY + 9 * HOUR


@pytest.fixture(scope="module")
def state() -> bytes:
    """What a watch knows after some ordinary days, kept."""
    watch = Watch(bits=BITS)
    alerts = run(watch, list(ordinary(1, START, LEARNT + 9 / 24)))
    assert [alert.hit.kind for alert in alerts] == []
    return watch.kept()


@pytest.fixture
def watch(state: bytes) -> Watch:
    return Watch.restored(state)


def kinds(alerts: list[Alarm]) -> set[str]:
    return {alert.hit.kind for alert in alerts}


Attack = Callable[[random.Random], list[Event]]


def every(
    rng: random.Random, count: int, hours: float, make: Callable[[int], dict[str, Any]], who: int = 900
) -> list[Event]:
    """So many events at random times within the hours."""
    times = sorted(NOW + hours * HOUR * rng.random() for _ in range(count))
    return [
        event(rng, at, make(n).pop("who", who), **{k: v for k, v in make(n).items() if k != "who"})
        for n, at in enumerate(times)
    ]


ATTACKS: dict[str, tuple[set[str], Attack]] = {
    "burst": ({"burst", "token_burst", "scripted_abuse"}, lambda r: every(r, 900, 1, lambda n: {}, who=3)),
    "wallet": ({"denial_of_wallet", "cost_anomaly", "token_burst"}, lambda r: every(r, 60, 0.5, lambda n: {"output_tokens": 30_000, "cost": 0.9})),
    "loop": ({"agent_loop", "template_abuse"}, lambda r: every(r, 120, 1, lambda n: {"shape": 5, "calls": ("edit",), "conversation": "loop"})),
    "shared key": ({"credential_shared", "key_misuse", "impossible_travel"}, lambda r: every(r, 60, 4, lambda n: {"user": "u3", "device": "", "address": f"x{n % 30}", "network": f"y{n % 30}", "region": f"R{n % 9}"})),
    "by turns": ({"impossible_travel"}, lambda r: every(r, 40, 4, lambda n: {"region": ("DE", "VN")[n % 2]}, who=3)),
    "jacking": ({"key_probing", "parameter_probing"}, lambda r: every(r, 60, 1, lambda n: {"operation": "models"} if n % 2 else {"invalid": True, "status": 400})),
    "off purpose": ({"off_purpose", "burst", "scripted_abuse"}, lambda r: every(r, 120, 6, lambda n: {"asked": r.getrandbits(64) ^ TOPICS[0]})),
    "mules": ({"new_payees", "amounts_under_limit", "payment_velocity", "payment_amount"}, lambda r: every(r, 20, 3, lambda n: {"moves": (Move("pay", 990.0, "USD", f"mule{n}"),)})),
    "refunds": ({"refund_pattern", "payment_velocity"}, lambda r: every(r, 20, 3, lambda n: {"moves": (Move("pay", 80.0, "USD", "card", True),)})),
    "one device": ({"identities_of_device", "campaign", "campaign_of_new"}, lambda r: every(r, 30, 6, lambda n: {"who": 2_000 + n, "device": "one"})),
    "escalation": ({"escalation", "repeated_attacks", "refusal_burst"}, lambda r: every(r, 14, 0.4, lambda n: {"conversation": "e", "turn": n, "outcome": "refused" if n > 4 else "ok"})),
    "scraping": ({"scraping", "chat_extraction", "burst"}, lambda r: every(r, 300, 2, lambda n: {"documents": tuple(f"s{n * 5 + k}" for k in range(5))})),
    "refusals": ({"refusal_burst", "repeated_attacks"}, lambda r: every(r, 60, 1, lambda n: {"outcome": "refused"})),
    "spread": ({"campaign", "campaign_of_new"}, lambda r: every(r, 1_000, 8, lambda n: {"who": 5_000 + n, "shape": 4_711})),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_attack_is_seen_and_explained(watch: Watch, name: str) -> None:
    expected, attack = ATTACKS[name]
    alerts = run(watch, [*ordinary(2, NOW, 9 / 24), *attack(random.Random(name))])
    assert kinds(alerts) & expected, [alert.hit.rule for alert in alerts]
    why = next(alert.why for alert in alerts if alert.hit.kind in expected)
    assert why is not None and why.seen > why.usual and why.since <= why.until
    assert why.times >= why.limit and why.learned >= 0


def test_an_alarm_says_it_in_words_a_hit_can_hold(watch: Watch) -> None:
    alerts = run(watch, ATTACKS["refunds"][1](random.Random(4)))
    alert = next(alert for alert in alerts if alert.hit.kind == "refund_pattern")
    for word in ("usual", "peers", "since", "alarm from"):
        assert word in alert.hit.rule
    assert alert.hit.exchange == alert.exchanges[0][0] and alert.hit.taxonomies and alert.hit.would_change


def test_one_cause_is_told_once(watch: Watch) -> None:
    rng = random.Random(5)
    attack = [one for n in range(6) for one in every(rng, 40, 3, lambda n: {"outcome": "refused"})]
    alerts = run(watch, [*ordinary(2, NOW, 3 / 24), *attack])
    assert 1 <= sum(alert.hit.kind == "refusal_burst" for alert in alerts) <= 2


def test_ordinary_days_are_quiet(watch: Watch) -> None:
    assert run(watch, list(ordinary(7, NOW, 3))) == []


def test_when_everybody_does_more_nobody_is_accused(watch: Watch) -> None:
    peak = list(ordinary(8, NOW, 5 / 24, a_day=60))
    assert [
        alert for alert in run(watch, peak) if alert.why and alert.why.scope in ("user", "address", "device", "network")
    ] == []


def test_an_outage_with_retries_accuses_no_identity(watch: Watch) -> None:
    rng = random.Random(9)
    events = []
    for one in ordinary(9, NOW, 3 / 24, a_day=40):
        events.append(one)
        if one.time - NOW < HOUR:
            broken = {"outcome": "error", "status": 503, "output_tokens": 0, "answer_size": 0, "answer": 0, "moves": ()}
            events[-1] = msgspec.structs.replace(one, **broken)
            events += [
                msgspec.structs.replace(one, time=one.time + n * rng.uniform(1, 3), id=f"{one.id}r{n}", **broken)
                for n in (1, 2, 3)
            ]
    alerts = run(watch, events)
    assert {alert.why.scope for alert in alerts if alert.why} <= {"model", "tenant", "key", "app"}, [
        a.hit.rule for a in alerts
    ]


def test_too_little_data_is_said_and_raises_nothing() -> None:
    watch = Watch(bits=BITS)
    alerts = run(
        watch, list(ordinary(3, START, 0.3)) + [event(random.Random(n), START + 600 + n, 1) for n in range(900)]
    )
    assert alerts == []
    assert watch.standing()[0]["is_learning"] is True


def test_alarms_of_the_learning_days_are_unsure() -> None:
    watch = Watch(bits=BITS)
    rng = random.Random(1)
    attack = [event(rng, START + 1.6 * DAY + n, 950, outcome="refused") for n in range(400)]
    alerts = run(watch, [*ordinary(3, START, 1.7), *attack])
    assert "refusal_burst" in kinds(alerts)
    assert {alert.hit.confidence for alert in alerts} == {Confidence.low}


def test_slow_poisoning_does_not_become_usual() -> None:
    watch = Watch(bits=BITS)
    rng = random.Random(6)
    creeping = [
        event(rng, START + (5 + day) * DAY + HOUR * 8 + 12 * HOUR * rng.random(), 7, outcome="refused")
        for day in range(20)
        for _ in range(int(1.25**day))
    ]
    alerts = run(watch, [*ordinary(4, START, 25, people=60, a_day=6), *creeping])
    assert any(alert.why and alert.why.who in ("u7", "a7", "d7", "n1") for alert in alerts)


def test_the_order_of_arrival_changes_nothing(state: bytes) -> None:
    events = [
        *ordinary(2, NOW, 4 / 24),
        *ATTACKS["mules"][1](random.Random(1)),
        *ATTACKS["refusals"][1](random.Random(2)),
    ]
    whole, halves = Watch.restored(state), Watch.restored(state)
    one = run(whole, events)
    other = Watch(bits=8)
    two: list[Alarm] = []
    minutes: dict[int, list[Event]] = {}
    for each in sorted(events, key=lambda e: e.time):
        minutes.setdefault(int(each.time // 60), []).append(each)
    for _, some in sorted(minutes.items()):
        other.open += some[1::2]
        two += halves.merge(other.shared())
        for each in some[::2][::-1]:
            two += halves.feed(each)
    two += halves.tick(events[-1].time + DAY)
    assert {(a.hit.kind, a.hit.cause) for a in one} <= {(a.hit.kind, a.hit.cause) for a in two}
    assert one


def test_a_restart_forgets_nothing(state: bytes) -> None:
    events = sorted([*ordinary(2, NOW, 4 / 24), *ATTACKS["scraping"][1](random.Random(1))], key=lambda e: e.time)
    straight, broken = Watch.restored(state), Watch.restored(state)
    whole = run(straight, events)
    first = [alert for one in events[:400] for alert in broken.feed(one)]
    again = Watch.restored(broken.kept())
    assert [a.hit for a in whole] == [a.hit for a in first + run(again, events[400:])]


@pytest.mark.parametrize("data", [b"", b"\x00" * 50, b"\x28\xb5\x2f\xfd\x00", msgspec.msgpack.encode({"format": "x"})])
def test_a_broken_state_is_refused(data: bytes) -> None:
    with pytest.raises(AfterguardError, match="cannot be read"):
        Watch.restored(data)


def test_wrong_clocks_do_no_harm(watch: Watch) -> None:
    rng = random.Random(1)
    for time in (float("nan"), float("inf"), -5.0, 0.0):
        assert watch.feed(msgspec.structs.replace(event(rng, NOW, 1), time=time)) == []
    assert watch.refused == 4
    watch.feed(event(rng, NOW + 400 * DAY, 1))
    assert watch.ahead == 1 and watch.minute < (NOW + DAY) / 60
    watch.feed(event(rng, NOW - 3 * DAY, 1))
    assert watch.late == 1


def test_hostile_numbers_do_no_harm(watch: Watch) -> None:
    rng = random.Random(1)
    odd = {
        "cost": float("nan"),
        "seconds": float("inf"),
        "input_tokens": 10**15,
        "shape": -5,
        "asked": 2**70,
        "answer": -1,
    }
    moves = (Move("pay", float("nan"), "USD", "p"), Move("pay", -1e300, "", ""))
    events = [
        event(rng, NOW + n, 1, **odd, moves=moves * 40, documents=tuple(f"q{k}" for k in range(500))) for n in range(50)
    ]
    run(watch, events)
    assert all(table.sums[: len(table.names)].max(initial=0) < 1e16 for table in watch.sites["shop"].tables.values())


def test_a_person_can_accept_what_is_now_usual(watch: Watch) -> None:
    run(watch, ATTACKS["refusals"][1](random.Random(1)))
    assert watch.accept("shop", "user", "u900") and not watch.accept("shop", "user", "nobody")
    assert not watch.accept("nowhere", "user", "u900")


def test_people_who_always_pay_from_the_same_place_are_no_strangers_in_a_full_memory() -> None:
    rng, watch, said, count = random.Random(5), Watch(bits=1 << 18), [], 0
    for time in range(int(START), int(START + 4 * DAY), 600):
        people = [("p", who) for who in rng.sample(range(60), 6)]
        strangers = [("s", count + number) for number in range(100)]
        count += len(strangers)
        for kind, who in people + strangers:
            fields = {name: f"{kind}{name}{who}" for name in ("user", "device", "network", "region")}
            moves = (Move("pay", 10.0, "EUR", "shop", False),) if kind == "p" else ()
            one = Event(time=time, id=f"{time}-{kind}-{who}", app="pay", model="m", moves=moves, **fields)
            said += [alert.hit.kind for alert in watch.feed(one)]
    assert watch.seen.old.any() and "account_takeover" not in said


def test_a_stolen_account_is_seen_where_there_was_no_room_to_remember_it() -> None:
    watch = Watch(Settings(sizes={"user": 40}), bits=BITS)
    assert "account_takeover" not in kinds(run(watch, list(ordinary(3, START, 6.0))))
    table, rng, now = watch.sites["shop"].tables["user"], random.Random(1), START + 6 * DAY + HOUR
    who = next(who for who in range(40, 120) if f"u{who}" not in table.rows)
    elsewhere = {"device": "theirs", "network": "theirs", "region": "RO", "address": "theirs"}
    pays = {"moves": (Move("pay", 800.0, "USD", "p-theirs"),)}
    stolen = [event(rng, now + 40 * turn, who, **elsewhere, **(pays if turn > 2 else {})) for turn in range(6)]
    told = [one for one in run(watch, stolen) if one.hit.kind == "account_takeover"]
    assert [one.why.who for one in told if one.why] == [f"u{who}"]


@pytest.mark.parametrize("to", ["p3", "theirs"])
def test_a_traveller_who_pays_whom_he_always_paid_is_no_thief(watch: Watch, to: str) -> None:
    rng, elsewhere = random.Random(1), {"device": "new", "network": "hotel", "region": "PT", "address": "hotel"}
    usual = [event(rng, NOW + n, 3, moves=(Move("pay", 20.0, "USD", f"p3-{n}"),)) for n in range(4)]
    assert "account_takeover" not in kinds(run(watch, usual))
    later = NOW + 3 * DAY
    watch.tick(later)
    there = [event(rng, later + 60 * n, 3, **elsewhere, moves=(Move("pay", 20.0, "USD", f"{to}-{n}"),)) for n in range(4)]  # fmt: skip
    assert ("account_takeover" in kinds(run(watch, there))) == (to == "theirs")


def test_what_rings_daily_is_how_an_application_is() -> None:
    site = Watch(bits=BITS)
    site.feed(event(random.Random(1), START, 1))
    site.tick(START + HOUR)
    shop = site.sites["shop"]
    rings = [shop._rings_daily(START + days * DAY) for days in (0, 0.1, 1, 1.1, 2, 20, 21)]
    assert rings == [False, False, True, False, True, False, True], (
        "the first alarm of a day, if another day of the last week had one"
    )


def test_buttons_of_a_release_are_no_campaign_and_newcomers_are() -> None:
    rng, watch = random.Random(1), Watch(bits=BITS)
    for number in range(60):
        watch.feed(event(rng, START + number, number))
    watch.tick(START + 400)
    shop = watch.sites["shop"]
    assert shop.releases.spoken and not shop.releases.last, "the first prompt is none"
    for number in range(60):
        watch.feed(event(rng, START + 500 + number, number, prompt="p2" if number % 2 else "p1"))
        watch.feed(event(rng, START + 500 + number, 100 + number, prompt="of one caller" if number == 7 else "p1"))
    watch.tick(START + 1_000)
    assert (
        START + 500 < shop.releases.last < START + 1_000 and ("m", "of one caller", "m-1") not in shop.releases.spoken
    )
    table = shop.tables["shape"]
    for after, is_silent in ((DAY, True), (3 * DAY, False)):
        asks = {rule.kind: ask for rule, ask in zip(table.rule_of, shop._doubts(table, shop.releases.last + after)[0], strict=True) if rule}  # fmt: skip
        assert np.isinf(asks["campaign"]) == np.isinf(asks["refund_pattern"]) == is_silent
        assert asks["campaign_of_new"] == 1
    device, at = shop.tables["device"], shop.tables["device"].columns.index(AT["identities"])
    assert shop._doubts(device, START)[:, at].tolist() == [2, 2, 3, 4]
    shop.acts = True
    assert (shop._doubts(device, START)[:, at] == 1).all()


def test_what_one_uses_is_held_against_what_the_application_uses() -> None:
    site = Watch(bits=BITS)
    site.feed(event(random.Random(1), START, 1))
    site.tick(START + HOUR)
    shop = site.sites["shop"]
    whole, users, shapes = shop.tables["app"], shop.tables["user"], shop.tables["shape"]
    for measure, day in (("cost", 20_000.0), ("tokens", 1e6)):
        whole.usual[0, whole.columns.index(AT[measure])] = day
    cost, tokens, requests = (users.columns.index(AT[one]) for one in ("cost", "tokens", "requests"))
    least = shop._floors(users)
    assert least[:, cost].tolist() == [200] * 4, "one percent of what it costs in a day"
    assert (least[:, tokens] == users.floors[:, tokens]).all(), "never less than the rule's"
    assert (least[:, requests] == users.floors[:, requests]).all()
    assert (shop._floors(shapes) == shapes.floors).all(), "what many do is much or little by itself"
