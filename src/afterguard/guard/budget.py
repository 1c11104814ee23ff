"""Budgets of the watch over time, as an operator writes them: `user:tokens/day=2000000`, `tenant=acme:cost/month=500`.

In: rows. Out: `Budget`s. A budget holds nobody up: when it is gone, or will be before its time at the pace of late, that is an alarm. What is to be refused stands in the policy (limits).
"""

from __future__ import annotations

import re

import msgspec

from afterguard.errors import UsageError
from afterguard.watch.budgets import Budget

SCOPES = ("key", "user", "address", "device", "network", "tenant", "client", "model", "app")
ROW = re.compile(
    r"(?P<scope>[a-z]+)(=(?P<who>[^:]{1,200}))?:(?P<measure>[a-z]+)/(?P<per>[a-z]+)=(?P<amount>[0-9.eE+]{1,20})"
)


def budgets(rows: list[str]) -> tuple[Budget, ...]:
    """The rows as budgets. Raises UsageError."""
    return tuple(map(_budget, rows))


def _budget(row: str) -> Budget:
    found = ROW.fullmatch(row.strip())
    try:
        if found is None or found["scope"] not in SCOPES or not 0 < float(found["amount"]) < 1e15:
            raise ValueError(row)
        return msgspec.convert({**found.groupdict(default=""), "amount": float(found["amount"])}, Budget)
    except (ValueError, msgspec.ValidationError):
        raise UsageError(
            f"no budget: {row!r}",
            hint=f"write SCOPE:MEASURE/PER=AMOUNT or SCOPE=WHO:MEASURE/PER=AMOUNT, for instance user:tokens/day=2000000; scopes: {', '.join(SCOPES)}; "
            "measures: requests, tokens, cost, concurrency; per minute, hour, day or month",
            slug="bad-configuration",
        ) from None
