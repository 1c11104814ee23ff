"""What the payments agent does with money: refunds in proportion, transfers to payees one knows and sometimes to a new one.

In: who. Out: the columns `moves` and `calls` of the turns that do something.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from afterguard.watch.event import Move

from .draw import F64, U64, lognormal, named, repeated, share

LIMIT = 1_000.0
"""US dollars of one transfer above which the agent asks a person."""


def payees(rng: np.random.Generator, person: U64) -> U64:
    """To whom: of one's own few, of everybody's (landlords, shops, the tax office), or somebody new."""
    n = len(person)
    own = named(person ^ np.floor(6 * rng.random(n) ** 2).astype(np.uint64), "payee")
    everybody = named(np.floor(90 * rng.random(n) ** 2), "known payee")
    chance = rng.random(n)
    return np.where(
        chance < 0.6, own, np.where(chance < 0.93, everybody, named(rng.integers(1, 1 << 62, n), "new payee"))
    )


def ordinary(rng: np.random.Generator, person: U64, last: Any) -> tuple[Any, Any]:
    """Moves and calls of each turn; only the last turn of a conversation moves anything, and not always."""
    n = len(person)
    moves, calls = repeated((), n), repeated((), n)
    chance = np.where(last, rng.random(n), 1.0)
    many = np.exp(0.7 * (share(person, "rich") * 2 - 1))
    refund, transfer = np.nonzero(chance < 0.11)[0], np.nonzero((chance >= 0.11) & (chance < 0.45))[0]
    put(moves, calls, refund, "refund", lognormal(rng, len(refund), 34, 0.9), named(person[refund], "own card"))
    amounts = np.minimum(lognormal(rng, len(transfer), 90, 1.1) * many[transfer], 9_500)
    # People like round numbers, and some stay below the limit by nature.
    round_ones = rng.random(len(transfer)) < 0.4
    amounts = np.where(round_ones, np.maximum(10, np.round(amounts / 10) * 10), amounts)
    put(moves, calls, transfer, "transfer", amounts, payees(rng, person[transfer]))
    return moves, calls


def put(moves: Any, calls: Any, where: Any, tool: str, amounts: F64, to: U64) -> None:
    """One move for each of these rows."""
    rows = zip(where.tolist(), np.round(amounts, 2).tolist(), to.tolist(), strict=True)
    for row, amount, payee in rows:
        moves[row] = (Move(tool, amount, "USD", f"p{payee:x}", tool == "refund"),)
        calls[row] = (tool,)
