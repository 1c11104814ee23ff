"""HTTP handlers that run a model as often as anybody asks.

In: a code file. Out: a finding where the route is registered. A limiter on the route, in the file or for the whole application
counts; one in a gateway cannot be seen from here, so confidence is low.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.routes import routes

CHECK = Check(
    id="missing-rate-limit",
    title="An AI endpoint has no rate limit",
    severity=Severity.medium,
    taxonomies=("LLM10:2025", "LLM06:2026", "ASI08:2026", "AML.T0034.000", "AML.T0029", "CWE-770"),
    why="Each request costs money and capacity; a script can spend a month's budget in a night or stop everybody else.",
    fix="Limit requests and tokens per caller on this route, and set a spending limit at the provider.",
    kinds=CODE,
)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for handlers that run a model without a limit."""
    for route in routes(parsed, context):
        if route.runs_model and not route.has_limit:
            message = f"{route.where[:80]} runs a model and nothing here limits how often."
            yield context.finding(
                CHECK, parsed, route.line, message, confidence=Confidence.low, function=route.function
            )
