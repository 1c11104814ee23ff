"""What the six "model output into ..." checks share: find the sinks of one kind that a model's words reach.

In: a check, a kind of sink, a parsed file. Out: findings at the line of the sink, naming where the value came from.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.model import Confidence, Finding
from afterguard.scan.check import Check, Context
from afterguard.scan.sinks import dangerous
from afterguard.scan.value import Atom


def reaching(check: Check, sink: str, parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for every call of the file that acts on text a model wrote."""
    flow = context.flow(parsed)
    for seen in flow.calls:
        for value in dangerous(seen, sink):
            atom = flow.tainted(value, sink)
            if atom is not None:
                yield reached(check, parsed, context, seen.call.line, seen.call.text, atom, seen.function.name)
                break


def reached(
    check: Check, parsed: Parsed, context: Context, line: int, callee: str, atom: Atom, function: str
) -> Finding:
    """The finding for one sink and the origin that reaches it."""
    name = callee.rsplit("/", 1)[-1]
    if atom.kind == "tool":
        message = f"{name} acts on {atom.what}, an argument that the model chooses."
    else:
        message = f"{name} acts on what {atom.what} returned (line {atom.line}), text that a model wrote."
    return context.finding(check, parsed, line, message, confidence=Confidence.high, function=function)
