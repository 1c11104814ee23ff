"""Prices are the operator's; the longest name counts."""

from __future__ import annotations

import pytest

from afterguard.errors import UsageError
from afterguard.guard.price import cost, prices


def test_the_longest_name_counts() -> None:
    known = prices(["gpt-4o=2.5/10", "gpt-4o-mini=0.15/0.6"])
    assert cost(known, "GPT-4o-mini-2024", 1_000_000, 1_000_000) == pytest.approx(0.75)
    assert cost(known, "gpt-4o", 1_000, 0) == pytest.approx(0.0025)
    assert cost(known, "claude", 1_000, 1_000) == 0.0


@pytest.mark.parametrize("row", ["gpt-4o", "gpt-4o=2.5", "=1/2", "a=x/y", "a=-1/2", "a=nan/1", "a=inf/1"])
def test_a_row_that_is_no_price(row: str) -> None:
    with pytest.raises(UsageError, match="no price"):
        prices([row])
