"""`afterguard policy`: what may be said and done. Read, tested, tried on the past, and promoted by people."""

from __future__ import annotations

from cyclopts import App

from afterguard.cli.policy_read import explain, fmt, schema, show, test
from afterguard.cli.policy_signed import bundle, key, promote, status
from afterguard.cli.policy_tried import backtest

policy = App(
    name="policy", help="What may be said and done: test, explain, backtest, promote.", help_format="plaintext"
)
for command in (test, explain, fmt, schema, show, backtest, key, promote, bundle, status):
    policy.command(command)
