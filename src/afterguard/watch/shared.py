"""The same strong identifier in replies to two identities: one of them got somebody else's data.

In: Exchanges with their hits. Out: Alerts of kind pii_of_another. Bounded: the last CAP identifiers; older ones are forgotten. Only cards,
IBANs and national ids count: an e-mail address or a phone number may be the company's own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from afterguard.model import Confidence, Exchange, Hit, Severity
from afterguard.watch.alarm import Alarm, Moment, of

ID = "shared"
TAXONOMIES = ("LLM02:2025", "LLM02:2026", "AML.T0057", "CWE-359")
CAP = 50_000
SPOKEN = "in a reply"


class Shared:
    """Which identity saw which identifier first."""

    def __init__(self) -> None:
        self._first: OrderedDict[str, tuple[str, Moment]] = OrderedDict()
        self._done: list[Alarm] = []

    def feed(self, exchange: Exchange, hit: Hit) -> None:
        """Remember identifiers of one hit that stood in a reply."""
        if not exchange.identity or hit.kind != "inventory" or hit.rule != SPOKEN:
            return
        for identifier in hit.identifiers:
            known = self._first.get(identifier)
            if known is None:
                self._first[identifier] = (exchange.identity, (exchange.id, exchange.time))
                if len(self._first) > CAP:
                    self._first.popitem(last=False)
            elif known[0] != exchange.identity and len(self._done) < 10_000:
                self._done.append(_alert(hit, identifier, known[1], (exchange.id, exchange.time)))

    def finish(self) -> Iterator[Alarm]:
        """Alerts in the order of the log."""
        yield from self._done


def _alert(hit: Hit, identifier: str, first: Moment, second: Moment) -> Alarm:
    kind = hit.data_classes[0] if hit.data_classes else "identifier"
    return of(
        "pii_of_another",
        ID,
        TAXONOMIES,
        [first, second],
        severity=Severity.high,
        confidence=Confidence.medium,
        cause=f"{kind} {identifier[:8]} shown to two identities",
        rule=f"the same {kind.replace('_', ' ')} stood in replies to two identities",
        would_change="both identities are one person or one household",
    )
