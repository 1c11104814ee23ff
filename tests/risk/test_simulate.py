"""The engine against closed forms and the properties that make two runs comparable."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.risk.simulate import (
    Form,
    Process,
    counts,
    draws,
    key,
    normals,
    severities,
    simulate,
    spaced,
    totals,
    uniforms,
)


def process(rate: float, mu: float, sigma: float, size: int, cap: float = math.inf, name: str = "one") -> Process:
    form = Form("all", np.ones(size), np.full(size, mu), sigma, np.full(size, math.inf))
    return Process(name, np.full(size, rate), "group", (form,), np.full(size, cap))


def run(*processes: Process, seed: int = 1, years: int = 200_000, variance: float = 0.0) -> np.ndarray:
    return totals(simulate(processes, seed=seed, years=years, frailty={"group": variance}), years)


def test_counts_follow_the_poisson_distribution() -> None:
    for rate in (0.05, 1.0, 7.5, 120.0):
        found = counts(uniforms(key(3, str(rate)), np.arange(100_000, dtype=np.uint64)), np.full(100_000, rate))
        assert found.mean() == pytest.approx(rate, abs=5 * math.sqrt(rate / 100_000))
        assert found.var() == pytest.approx(rate, rel=0.03)


def test_keyed_draws_are_uniform_and_normal() -> None:
    index = np.arange(200_000, dtype=np.uint64)
    u, z = uniforms(key(1, "u"), index), normals(key(1, "z"), index)
    assert u.min() > 0 and u.max() < 1
    assert np.histogram(u, 20, (0, 1))[0] == pytest.approx(10_000, rel=0.06)
    assert (z.mean(), z.std(), (z**4).mean()) == pytest.approx((0, 1, 3), abs=0.06)
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(u, uniforms(key(2, "u"), index))[0, 1]) < 0.01


@pytest.mark.parametrize("variance", [0.0, 0.5, 2.0])
def test_mean_and_variance_of_a_compound_negative_binomial_lognormal(variance: float) -> None:
    """E = rate m; Var = rate (s2 + m2) + variance rate2 m2, with m and s2 of the lognormal."""
    rate, mu, sigma, years = 0.8, 3.0, 0.6, 400_000
    got = run(process(rate, mu, sigma, 100), years=years, variance=variance)
    m = math.exp(mu + sigma**2 / 2)
    s2 = (math.exp(sigma**2) - 1) * m * m
    expected = rate * (s2 + m * m) + variance * rate * rate * m * m
    assert got.mean() == pytest.approx(rate * m, abs=5 * math.sqrt(expected / years))
    assert got.var() == pytest.approx(expected, rel=0.05)


def test_share_of_empty_years_is_the_negative_binomial_one() -> None:
    rate, variance = 0.7, 1.5
    empty = np.mean(run(process(rate, 1.0, 0.5, 1), variance=variance) == 0)
    assert empty == pytest.approx((1 + variance * rate) ** (-1 / variance), abs=0.005)


def test_published_check_of_rate_a_tenth_and_median_2_69_million() -> None:
    """Multiplying rate and severity would give 1.4M and 2.8M; the years give 2.6M and 9.9M, nine of ten without loss."""
    yearly = run(process(0.1, math.log(2.69e6), 1.0, 1), years=1_000_000)
    p95, p99 = np.quantile(yearly, (0.95, 0.99))
    assert p95 == pytest.approx(2.6e6, rel=0.04)
    assert p99 == pytest.approx(9.9e6, rel=0.04)
    assert np.mean(yearly == 0) == pytest.approx(0.905, abs=0.002)
    assert yearly.mean() == pytest.approx(0.44e6, rel=0.03)


def test_a_shared_factor_fattens_the_tail_and_keeps_the_mean() -> None:
    """Ten scenarios at 0.1 a year: P95 17.6M and P99 33.0M apart, 25.6M and 56.5M under a shared factor of variance 4."""
    ten = [process(0.1, math.log(2.69e6), 1.0, 1, name=f"s{number}") for number in range(10)]
    alone, together = run(*ten), run(*ten, variance=4.0)
    assert np.quantile(alone, (0.95, 0.99)) == pytest.approx((17.6e6, 33.0e6), rel=0.04)
    assert np.quantile(together, (0.95, 0.99)) == pytest.approx((25.6e6, 56.5e6), rel=0.04)
    assert together.mean() == pytest.approx(alone.mean(), rel=0.04)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    first, again, other = (run(process(0.5, 2.0, 1.0, 10), seed=seed, years=5000, variance=1.0) for seed in (7, 7, 8))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 5), st.floats(1, 4), st.floats(-2, 12), st.floats(0, 2), st.floats(0, 1e6))
def test_more_rate_never_loses_less_and_a_cap_never_more(
    rate: float, times: float, mu: float, sigma: float, cap: float
) -> None:
    base = run(process(rate, mu, sigma, 2), years=400, variance=1.0)
    # Years with more events than are drawn singly repeat those drawn; monotony is promised below that.
    if rate * times < 3:
        assert (run(process(rate * times, mu, sigma, 2), years=400, variance=1.0) >= base - 1e-6 * base).all()
    assert (run(process(rate, mu, sigma, 2, cap), years=400, variance=1.0) <= base).all()


def test_removing_events_by_their_mark_equals_a_lower_rate() -> None:
    years = 200_000
    events = simulate((process(1.0, 2.0, 0.5, 1),), seed=1, years=years, frailty={})
    kept = totals(events, years, events.mark < 0.3)
    lower = run(process(0.3, 2.0, 0.5, 1))
    assert kept.mean() == pytest.approx(lower.mean(), rel=0.02)
    assert np.quantile(kept, 0.95) == pytest.approx(np.quantile(lower, 0.95), rel=0.03)


def test_a_paired_difference_is_less_noisy_than_an_unpaired_one() -> None:
    def difference(seed: int, other: int) -> float:
        return float(run(process(0.5, 8.0, 1.0, 1), seed=seed, years=2000).mean()) - float(
            run(process(0.4, 8.0, 1.0, 1), seed=other, years=2000).mean()
        )

    paired = np.std([difference(seed, seed) for seed in range(40)])
    unpaired = np.std([difference(seed, 1000 + seed) for seed in range(40)])
    assert paired < 0.6 * unpaired


def test_extreme_rates_and_amounts_stay_finite_and_bounded() -> None:
    yearly = run(process(1e9, 600.0, 3.0, 1, cap=1e15), years=200)
    assert np.isfinite(yearly).all()
    assert run(process(0.0, 2.0, 1.0, 1), years=200).sum() == 0
    assert run(process(1.0, -math.inf, 1.0, 1), years=200).sum() == 0
    assert len(simulate((), seed=1, years=100, frailty={}).loss) == 0


def test_draws_are_bounded() -> None:
    assert (draws(1), draws(20_000), draws(10**9)) == (1, 200, 2000)


def test_a_held_form_is_counted() -> None:
    form = Form("bill", np.ones(1), np.full(1, 10.0), 0.1, np.full(1, 5.0))
    one = Process("p", np.ones(1), "g", (form,), np.full(1, 4.0))
    loss, held = severities(one, 1, np.zeros(50, dtype=np.int64), np.arange(50, dtype=np.uint64))
    assert held == (50, 50)
    assert (loss == 4.0).all()


def test_spaced_draws_keep_the_distribution_and_vary_less_between_seeds() -> None:
    def beta(random: np.random.Generator, size: int) -> np.ndarray:
        return random.beta(2.0, 6.0, size)

    means = [float(spaced(seed, ("x",), 200, beta).mean()) for seed in range(50)]
    plain = [float(beta(np.random.default_rng(seed), 200).mean()) for seed in range(50)]
    assert np.mean(means) == pytest.approx(0.25, abs=0.003)
    assert np.std(means) < 0.6 * np.std(plain)
    one = spaced(1, ("x",), 4000, beta)
    assert one.std() == pytest.approx(math.sqrt(2 * 6 / (64 * 9)), rel=0.03)
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 0.05
    assert abs(np.corrcoef(one, spaced(1, ("y",), 4000, beta))[0, 1]) < 0.05
