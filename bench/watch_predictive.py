"""How many rows a second the watch over predictive models takes on one core, and what it holds when a million callers pass by.

    python bench/watch_predictive.py [--rows 100000] [--width 12] [--callers 1000000]

Speed: rows of 20,000 callers, encoded in batches as brains send them; first only decoded (the floor, same run), then decoded and watched, with three askers known of each row (caller, device, network) and with the caller alone. Memory: rows of ever new callers; what the arrays hold, and the size of the kept
state. Campaigns: `python bench/watch_figures.py --engine watch_predictive:Engine --kinds evasion-walk,boundary-extraction,membership-harvest,label-harvest,feature-poison,score-swap`.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator

import msgspec
import numpy as np

from afterguard.watch.event import Event
from afterguard.watch.predictive import Predictive
from afterguard.watch.scored.block import nbytes

BATCH = 1_000
START = 1_780_272_000.0
PEOPLE = 20_000


class Engine(Predictive):
    """As watch_figures.py wants it: slices of a minute, which cost less where rows are few."""

    def __init__(self) -> None:
        super().__init__(60.0)


def stream(count: int, width: int, people: int, *, shared: bool, a_second: float = 20_000) -> Iterator[Event]:
    """Rows of callers who come back, or, with `people` 0, who never do."""
    rng = np.random.default_rng(1)
    mix = np.eye(width) + 0.3 * rng.normal(size=(width, width))
    weights = rng.normal(size=width) / 2
    for first in range(0, count, BATCH):
        values = rng.normal(size=(BATCH, width)) @ mix
        scores = 1 / (1 + np.exp(-values @ weights))
        who = rng.integers(people, size=BATCH) if people else np.arange(first, first + BATCH)
        for n, row, score, name in zip(
            range(first, first + BATCH), values.tolist(), scores.tolist(), who.tolist(), strict=True
        ):
            yield Event(
                time=START + n / a_second,
                id=f"{n:032x}",
                app="bench",
                route="bench",
                key=f"k{name:016x}",
                device=f"d{name:016x}" if shared else "",
                network=f"n{name // 20:016x}" if shared else "",
                model="m",
                version="1",
                operation="predict",
                features=tuple(row),
                score=score,
                decision="no" if score > 0.5 else "yes",
            )


def batches(events: Iterator[Event]) -> list[bytes]:
    """As brains send them."""
    some = list(events)
    return [msgspec.msgpack.encode(some[n : n + BATCH]) for n in range(0, len(some), BATCH)]


def speed(rows: int, width: int) -> None:
    """Rows a second of processor time."""
    decoder = msgspec.msgpack.Decoder(list[Event])
    for shared in (True, False):
        data = batches(stream(rows, width, PEOPLE, shared=shared))
        begun = time.process_time()
        for batch in data:
            decoder.decode(batch)
        floor = rows / (time.process_time() - begun)
        watch = Predictive()
        begun = time.process_time()
        alerts = [alert for batch in data for event in decoder.decode(batch) for alert in watch.feed(event)]
        taken = time.process_time() - begun
        what = "caller, device and network" if shared else "caller alone"
        print(
            f"{what:28} {rows / taken:10,.0f} rows/s of processor time; only decoded {floor:,.0f}; {len(alerts)} alerts"
        )


def memory(callers: int, width: int) -> None:
    """What is held while ever new callers pass by."""
    watch = Predictive()
    mark = 10_000
    for number, event in enumerate(stream(callers, width, 0, shared=True), 1):
        watch.feed(event)
        if number in (mark, callers):
            mark *= 10
            (model,) = watch.models.values()
            held = sum(map(nbytes, (*model.ones.values(), model.records))) / 2**20
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{number:12,} callers: {held:5.1f} MiB in tables, {resident:6,.0f} MiB resident, {len(watch.kept()) / 1e6:5.1f} MB kept",
                flush=True,
            )
    print(watch.standing())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--callers", type=int, default=1_000_000)
    chosen = parser.parse_args()
    speed(chosen.rows, chosen.width)
    memory(chosen.callers, chosen.width)


if __name__ == "__main__":
    main()
