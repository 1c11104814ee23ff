"""How many events a second the watch over time takes on one core, and what it holds when millions of identities pass by.

    python bench/watch.py [--events 400000] [--identities 1000000]

Speed: events of 20,000 people, encoded in batches; first only decoded (the floor, same run), then decoded and watched. Memory: events of ever new identities
(each its own key, user, address, device, conversation and text), up to `--identities`; resident memory, what the tables and the memory of pairs hold, and the size of the kept
state at every power of ten from 100,000. 100 million take about an hour and a half.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Iterator

import msgspec

from afterguard.watch.event import Event
from afterguard.watch.kept import MEASURED, ROWS
from afterguard.watch.live import Watch

BATCH = 1_000
START = 1_780_272_000.0


def stream(count: int, people: int, seed: int = 1, a_second: float = 20_000) -> Iterator[Event]:
    """Events of people who come back, or, with `people` 0, of people who never do."""
    rng = random.Random(seed)
    at = START
    for number in range(count):
        at += 1 / a_second
        who = rng.randrange(people) if people else number
        yield Event(
            time=at,
            id=f"{number:x}",
            app="bench",
            key=f"k{who % 500 if people else who}",
            user=f"u{who}",
            address=f"a{who}",
            network=f"n{who // 20}",
            region="DE",
            device=f"d{who}",
            client="browser",
            conversation=f"c{who}-{number // 200_000}",
            model="m",
            prompt="p",
            seconds=1.5,
            input_tokens=400,
            output_tokens=200,
            cost=0.001,
            asked=rng.getrandbits(64),
            shape=rng.getrandbits(62),
            answer=rng.getrandbits(64),
            asked_size=300,
            answer_size=800,
            documents=(f"x{rng.randrange(30_000)}", f"x{rng.randrange(30_000)}"),
        )


def batches(count: int, people: int) -> list[bytes]:
    """The events, encoded as brains send them."""
    out, some = [], []
    for event in stream(count, people):
        some.append(event)
        if len(some) == BATCH:
            out.append(msgspec.msgpack.encode(some))
            some = []
    return out


def speed(count: int) -> None:
    """Events a second of processor time, beside only decoding them."""
    decoder = msgspec.msgpack.Decoder(list[Event])
    data = batches(count, 20_000)
    begun = time.process_time()
    for batch in data:
        decoder.decode(batch)
    floor = len(data) * BATCH / (time.process_time() - begun)
    watch = Watch()
    warm = len(data) // 4
    for batch in data[:warm]:
        for event in decoder.decode(batch):
            watch.feed(event)
    begun = time.process_time()
    for batch in data[warm:]:
        for event in decoder.decode(batch):
            watch.feed(event)
    taken = time.process_time() - begun
    print(f"decoded and watched  {(len(data) - warm) * BATCH / taken:10,.0f} events/s of processor time")
    print(f"only decoded (floor) {floor:10,.0f} events/s")


def held(watch: Watch) -> int:
    """Bytes of tables and of the memory of pairs."""
    sites = (table for site in watch.sites.values() for table in site.tables.values())
    rows: int = sum(getattr(table, name).nbytes for table in sites for name in (*ROWS, *MEASURED))
    return rows + sum(int(seen.young.nbytes + seen.old.nbytes) for seen in (watch.seen, watch.read))


def memory(identities: int) -> None:
    """What is held at every power of ten."""
    watch = Watch()
    mark = 100_000
    for number, event in enumerate(stream(identities, 0, a_second=5_000), 1):
        watch.feed(event)
        if number == mark:
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            kept = len(watch.kept()) / 1e6
            print(
                f"{number:12,} identities: {resident:6,.0f} MiB resident, {held(watch) / 2**20:5,.0f} MiB in tables and pairs, {kept:5,.0f} MB kept",
                flush=True,
            )
            mark *= 10
    print({name: value for name, value in watch.standing()[0].items() if name in ("rows", "evicted", "overlooked")})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--identities", type=int, default=1_000_000)
    chosen = parser.parse_args()
    speed(chosen.events)
    memory(chosen.identities)


if __name__ == "__main__":
    main()
