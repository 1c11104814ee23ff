"""Replies of a model: a swap for all or for a part of the callers is a change, a release and a season are none."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from afterguard.watch.event import Event
from afterguard.watch.replies import Change, Replies, kept, restored

START = 1_780_272_000.0
STEP = 900.0
DAY = 86_400.0
Part = Callable[[float], float]


class Model:
    """Replies of one model: shorter at night, of a style that a swap turns."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.style = self.rng.random(64)
        self.other = self.rng.random(64)

    def replies(self, at: float, count: int, swapped: float, prompt: str, version: str) -> list[Event]:
        """A quarter of an hour; `swapped` is the share that another model answers."""
        night = 0.15 * np.sin(2 * np.pi * at / DAY)
        size = np.exp(6 + night + 0.05 * self.rng.standard_normal() + 0.6 * self.rng.standard_normal(count))
        is_other = self.rng.random(count) < swapped
        size[is_other] *= 0.55
        odds = np.where(is_other[:, None], self.other, self.style)
        bits = (self.rng.random((count, 64)) < 0.25 + 0.5 * odds) @ (1 << np.arange(64, dtype=object))
        return [
            Event(time=at + n * STEP / count, model="m", prompt=prompt, version=version, seconds=2.0, output_tokens=100, answer=int(bits[n]), answer_size=int(size[n]))
            for n in range(count)
        ]  # fmt: skip


def fed(days: float, swapped: Part, prompt: Part = lambda day: 0, version: Part = lambda day: 0) -> list[Change]:
    """What a stream of so many days says; the state is kept and restored each day."""
    model, replies, out = Model(3), Replies(), []
    for number in range(int(days * DAY / STEP)):
        day = number * STEP / DAY
        events = model.replies(
            START + day * DAY, 160, swapped(day), f"p{prompt(day):.0f}", f"v{version(day):.0f}" if version(day) else "v"
        )
        out += replies.look(events, START + day * DAY + STEP)
        if number % 96 == 0:
            bytes_ = {key: msgspec.msgpack.encode(kept(stream)) for key, stream in replies.streams.items()}
            replies.streams.update({key: restored(msgspec.msgpack.decode(one)) for key, one in bytes_.items()})
    return out


def test_days_with_seasons_and_releases_are_quiet() -> None:
    assert fed(9, lambda day: 0.0, prompt=lambda day: day // 3) == []


@pytest.mark.parametrize("part", [1.0, 1 / 7])
def test_another_model_is_seen_even_if_only_some_get_it(part: float) -> None:
    found = fed(6, lambda day: part if day >= 4.5 else 0.0)
    assert found and START + 4.4 * DAY < found[0].since < START + 6 * DAY
    assert found[0].before == found[0].version and not found[0].is_return and found[0].far > 6


def test_a_release_does_not_blind_the_watch() -> None:
    found = fed(5, lambda day: 1.0 if day >= 4.4 else 0.0, prompt=lambda day: day >= 4)
    assert found and found[0].since > START + 4.3 * DAY


def test_an_announced_version_is_told_as_one() -> None:
    found = fed(5, lambda day: 1.0 if day >= 4 else 0.0, version=lambda day: 2 * (day >= 4))
    assert [(one.before, one.version) for one in found] == [("v", "v2")]


def test_what_was_before_is_a_return() -> None:
    found = fed(6.5, lambda day: 1.0 if 4 <= day < 5 else 0.0)
    assert [one.is_return for one in found] == [False, True]


def test_versions_that_never_end_are_taken_as_none() -> None:
    replies, model = Replies(), Model(1)
    for number in range(400):
        replies.look(model.replies(START + number * STEP, 40, 0, "p", f"v{number}"), START + (number + 1) * STEP)
    assert len(replies.streams) <= 9 and replies.streams["m", "p", ""].known > 15


def quiet(days: float, probes: Callable[[float], int], people: Callable[[float], int], swapped: Part) -> list[Change]:
    """People of whom few come on some days, and a probe that always says the same in four words."""
    model, replies, out = Model(7), Replies(), []
    for number in range(int(days * DAY / STEP)):
        day = number * STEP / DAY
        at = START + number * STEP
        events = [
            msgspec.structs.replace(one, user=f"u{number}-{n // 3}", time=at + n)
            for n, one in enumerate(model.replies(at, people(day), swapped(day), "p", "v"))
        ]
        events += [
            Event(time=at + n, model="m", prompt="p", version="v", seconds=0.1, output_tokens=4, answer=77, answer_size=16, key="probe")
            for n in range(probes(day))
        ]  # fmt: skip
        out += replies.look(sorted(events, key=lambda one: one.time), at + STEP)
    return out


def test_a_probe_and_a_weekend_are_no_other_model() -> None:
    def people(day: float) -> int:
        return 40 if day % 7 >= 5 else 300

    assert quiet(16, lambda _: 15, people, lambda _: 0.0) == []
    found = quiet(14, lambda _: 15, people, lambda day: 1.0 if day >= 12.5 else 0.0)
    assert found and START + 12.4 * DAY < found[0].since < START + 13.5 * DAY, "on a second weekend it is seen"
