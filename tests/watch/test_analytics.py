"""Series over time: what stands out is reported, ordinary variation and thin data are not."""

from __future__ import annotations

import random

from afterguard.model import Exchange, Prediction
from afterguard.watch.alarm import Alarm
from afterguard.watch.analytics import Analytics
from afterguard.watch.keys import network
from afterguard.watch.rates import outlier

HOUR = 3_600.0


def run(exchanges: list[Exchange]) -> list[Alarm]:
    analytics = Analytics(lambda value: f"p-{value}")
    for exchange in exchanges:
        analytics.feed(exchange, [])
    return list(analytics.finish())


def kinds(exchanges: list[Exchange]) -> list[str]:
    return sorted({alert.hit.kind for alert in run(exchanges)})


def chat(number: int, time: float, **known: object) -> Exchange:
    return Exchange(f"e{number}", "log", number, "messages", time=time, **known)  # type: ignore[arg-type]


def steady(hours: int, rate: int, seed: int = 1) -> list[Exchange]:
    rng = random.Random(seed)
    times = sorted(rng.uniform(0, hours * HOUR) for _ in range(hours * rate))
    return [chat(n, t, key="app-1", identity=f"u{rng.randrange(50)}", cost=0.02) for n, t in enumerate(times)]


def test_ordinary_traffic_is_quiet() -> None:
    assert kinds(steady(96, 12)) == []


def test_a_burst_of_one_key() -> None:
    log = [*steady(96, 12), *(chat(9_000 + n, 96.2 * HOUR + n, key="app-1") for n in range(300))]
    found = run(log)
    assert [alert.hit.kind for alert in found] == ["burst"]
    assert len(found[0].exchanges) >= 300


def test_cost_without_many_requests() -> None:
    log = [*steady(96, 12), *(chat(9_000 + n, 96.2 * HOUR + n, key="app-1", cost=9.0) for n in range(10))]
    assert kinds(log) == ["cost_anomaly"]


def test_too_little_data_says_nothing() -> None:
    assert outlier(500.0, [3.0] * 5, 40.0) == 0.0
    assert kinds([chat(n, float(n), key="k") for n in range(500)]) == []


def test_a_key_from_a_new_network() -> None:
    log = [chat(n, n * 600.0, key="k", address=f"10.0.0.{n % 200}") for n in range(400)]
    log += [chat(1_000 + n, 240_000.0 + n * 60, key="k", address="203.0.113.9") for n in range(10)]
    assert kinds(log) == ["key_misuse"]


def test_a_key_used_from_everywhere_is_not_judged() -> None:
    log = [chat(n, n * 600.0, key="k", address=f"10.{n % 250}.0.1") for n in range(400)]
    assert kinds(log) == []


def test_networks() -> None:
    assert network("203.0.113.9") == "203.0.113.0/24"
    assert network("2001:db8:1:2::5") == "2001:db8:1::/48"


def score(amount: float, age: float) -> str:
    return "deny" if amount * 2 - age > 120 else "allow"


def ordinary(count: int, seed: int = 2, shift: float = 0.0) -> list[Exchange]:
    rng = random.Random(seed)
    out = []
    for n in range(count):
        features = {
            "amount": rng.lognormvariate(3.5 + shift, 0.6),
            "age": rng.gauss(45, 12),
            "items": float(rng.randrange(1, 9)),
            "channel": rng.choice(["web", "app"]),
        }
        decision = score(features["amount"], features["age"])  # type: ignore[arg-type]
        out.append(
            Exchange(
                f"p{n}",
                "log",
                n,
                "predictive",
                time=n * 120.0,
                identity=f"c{rng.randrange(300)}",
                prediction=Prediction(features, decision),
            )
        )  # type: ignore[arg-type]
    return out


def test_ordinary_predictions_are_quiet() -> None:
    assert kinds(ordinary(3_000)) == []


def test_a_walk_around_the_decision() -> None:
    log = ordinary(1_000)
    walk = []
    for step in range(25):
        features = {"amount": 95.0 - step * 1.2, "age": 45.0, "items": 3.0, "channel": "web"}
        decision = score(features["amount"], 45.0)  # type: ignore[arg-type]
        walk.append(
            Exchange(
                f"w{step}",
                "log",
                step,
                "predictive",
                time=130_000.0 + step,
                identity="eve",
                prediction=Prediction(features, decision),
            )
        )  # type: ignore[arg-type]
    found = [alert for alert in run(log + walk) if alert.hit.kind == "evasion_walk"]
    assert len(found) == 1
    assert {f"w{step}" for step in range(25)} >= {i for i, _ in found[0].exchanges} and len(found[0].exchanges) >= 20


def test_even_coverage_by_one_caller() -> None:
    rng = random.Random(3)
    log = ordinary(2_000)
    for n in range(500):
        features = {
            "amount": rng.uniform(5, 140),
            "age": rng.uniform(18, 75),
            "items": rng.uniform(1, 9),
            "channel": "web",
        }
        log.append(
            Exchange(
                f"x{n}",
                "log",
                n,
                "predictive",
                time=300_000.0 + n,
                identity="copier",
                prediction=Prediction(features, score(features["amount"], features["age"])),
            )
        )  # type: ignore[arg-type]
    found = [alert for alert in run(log) if alert.hit.kind == "model_extraction"]
    assert len(found) == 1 and "copier" in found[0].hit.cause


def test_a_sweep_by_one_caller() -> None:
    log = ordinary(1_000)
    for n in range(300):
        features = {"amount": 20.0 + n, "age": 45.0, "items": 3.0, "channel": "web"}
        log.append(
            Exchange(
                f"s{n}",
                "log",
                n,
                "predictive",
                time=300_000.0 + n,
                identity="copier",
                prediction=Prediction(features, score(20.0 + n, 45.0)),
            )
        )
    assert "model_extraction" in kinds(log)


def test_drift_of_inputs_and_decisions() -> None:
    log = ordinary(3_000) + ordinary(3_000, seed=5, shift=0.7)
    renamed = [
        Exchange(f"d{n}", e.source, n, e.protocol, time=n * 120.0, identity=e.identity, prediction=e.prediction)
        for n, e in enumerate(log)
    ]
    assert {"input_drift", "decision_drift"} <= set(kinds(renamed))
