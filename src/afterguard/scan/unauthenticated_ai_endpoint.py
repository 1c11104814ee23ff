"""HTTP handlers that run a model for anybody who asks.

In: a code file. Out: a finding where the route is registered. Authentication by decorator, dependency, middleware or a check in the
handler counts, in this file or for the whole application; a gateway in front cannot be seen from here.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.routes import routes

CHECK = Check(
    id="unauthenticated-ai-endpoint",
    title="An AI endpoint answers without authentication",
    severity=Severity.high,
    taxonomies=("LLM10:2025", "LLM06:2026", "ASI03:2026", "AML.T0040", "AML.T0034.000", "CWE-306"),
    why="Anybody who finds the address spends your model budget and reaches whatever the application can reach.",
    fix="Require an identity on the route (a dependency, a decorator, middleware for all routes) before the model is called.",
    kinds=CODE,
)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for handlers that run a model and ask nobody who they are."""
    for route in routes(parsed, context):
        if route.runs_model and not route.has_auth:
            message = f"{route.where[:80]} runs a model and nothing here identifies the caller."
            yield context.finding(
                CHECK, parsed, route.line, message, confidence=Confidence.medium, function=route.function
            )
