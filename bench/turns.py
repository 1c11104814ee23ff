"""What a turn costs when most of it was judged before.

    python bench/turns.py [--turns 40]

One conversation that grows: every request carries all of it, as applications do, and one new question. For each length: the processor time of a request
through the guard (strict policy, every detector, judge tier one, the request read, judged, decided and the reply read too), and, as a floor in the same run, what it costs only to
decode the same bodies with msgspec. No network: what is measured is the guard's own work. Judging must not grow with what was judged; reading the bytes does.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec

from afterguard.guard.brain import Brain
from afterguard.guard.pool import Thinking, context_of
from afterguard.guard.route import route
from afterguard.guard.session import Session
from afterguard.policy import shipped
from afterguard.wire.endpoint import endpoint

KEY = b"k" * 32
TOOLS = [
    {"type": "function", "function": {"name": name, "description": said, "parameters": {"type": "object"}}}
    for name, said in (
        ("find_booking", "Finds a booking by its code."),
        ("change_seat", "Moves a traveller to another seat."),
        ("cancel_booking", "Cancels a booking."),
    )
]
TEXT = "the seat by the window of coach nine was taken when we arrived at the platform in Lyon and nobody could tell us where to sit"
WORDS = TEXT.split()


def said(rng: random.Random, words: int) -> str:
    """An ordinary sentence."""
    return " ".join(rng.choice(WORDS) for _ in range(words)).capitalize() + "."


def conversation(messages: int, rng: random.Random) -> list[dict[str, Any]]:
    """Questions, calls, results and answers; about a kilobyte each four."""
    out: list[dict[str, Any]] = [{"role": "system", "content": "You help travellers of a railway. " + said(rng, 120)}]
    while len(out) < messages:
        number = len(out)
        call = {"id": f"c{number}", "type": "function", "function": {"name": "find_booking", "arguments": "{}"}}
        out += [
            {"role": "user", "content": said(rng, 20)},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{number}", "content": '{"coach": 9, "note": "' + said(rng, 60) + '"}'},
            {"role": "assistant", "content": said(rng, 50)},
        ]
    return out


def turn(brain: Brain, body: bytes, number: int) -> None:
    """One request and its reply through a session, as a door drives it."""
    spot = endpoint("openai", "POST", "/v1/chat/completions", "")
    session = Session(brain, route("openai=http://127.0.0.1:9", mode="enforce"), spot, f"id{number}", [])
    exchange = session.request(body)
    assert exchange is not None
    hits, past = brain.inspect(exchange, session.past)
    session.forward(body, exchange, hits, past)
    session.keep()
    reply = {"role": "assistant", "content": f"Seat {number} is free."}
    answered = session.response(
        200, msgspec.json.encode({"object": "chat.completion", "choices": [{"message": reply}]})
    )
    assert answered is not None
    hits, _ = brain.inspect(answered, session.past, is_last=True)
    session.backward(b"", answered, hits)
    session.decision(0.0, 0.0, 0.0)


def median(work: Callable[[bytes, int], object], bodies: list[bytes]) -> float:
    """Microseconds a body."""
    spent = []
    for number, body in enumerate(bodies):
        began = time.process_time_ns()
        work(body, number)
        spent.append((time.process_time_ns() - began) / 1000)
    return statistics.median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a turn costs when most of it was judged before.")
    parser.add_argument("--turns", type=int, default=40, help="measured for each length")
    args = parser.parse_args()
    brain = Brain(context_of(Thinking(KEY, "one"), doubting=True), shipped("strict"), key=KEY)
    brain.warm()
    print("| messages | KB | turn, us | decode only, us | judged from the beginning, us |")
    print("|---|---|---|---|---|")
    for messages in (4, 40, 200, 400, 800):
        rng = random.Random(messages)
        history = conversation(messages, rng)
        bodies = []
        for number in range(args.turns + 1):
            history = [*history, {"role": "user", "content": f"And seat {number}? " + said(rng, 20)}]
            bodies.append(msgspec.json.encode({"model": "m", "messages": history, "tools": TOOLS}))
            history = [*history, {"role": "assistant", "content": f"Seat {number} is free."}]
        began = time.process_time_ns()
        turn(brain, bodies[0], 0)
        first = (time.process_time_ns() - began) / 1000
        cost = median(lambda body, number: turn(brain, body, number), bodies[1:])
        floor = median(lambda body, _: msgspec.json.decode(body), bodies[1:])
        print(f"| {messages} | {len(bodies[-1]) // 1024} | {cost:,.0f} | {floor:,.0f} | {first:,.0f} |")


if __name__ == "__main__":
    main()
