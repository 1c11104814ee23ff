"""What an exchange costs, by the prices that the operator gave.

In: rows MODEL=INPUT/OUTPUT in US dollars a million tokens. Out: the cost of token counts. It ships no prices: they change, and contracts differ.
"""

from __future__ import annotations

from afterguard.errors import UsageError

MILLION = 1_000_000
Price = tuple[str, float, float]


def prices(rows: list[str]) -> tuple[Price, ...]:
    """The rows, longest name first. Raises UsageError."""
    return tuple(sorted((_price(row) for row in rows), key=lambda price: -len(price[0])))


def _price(row: str) -> Price:
    model, _, both = row.rpartition("=")
    given, _, said = both.partition("/")
    try:
        price = model.lower(), float(given), float(said)
    except ValueError:
        price = "", 0.0, 0.0
    if not price[0] or not 0 <= price[1] < 1e6 or not 0 <= price[2] < 1e6:
        raise UsageError(
            f"no price: {row!r}", hint="write MODEL=INPUT/OUTPUT, for instance gpt-4o=2.5/10", slug="bad-configuration"
        )
    return price


def cost(known: tuple[Price, ...], model: str, given: int, said: int) -> float:
    """US dollars of an exchange, 0 for a model without a price."""
    model = model.lower()
    for name, one, other in known:
        if model.startswith(name):
            return (given * one + said * other) / MILLION
    return 0.0
