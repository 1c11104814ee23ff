"""Hits -> incidents: one incident for each (kind, cause), however many exchanges it touched.

In: (exchange, hit) pairs in the order of the log. Out: Incidents, worst first. Memory is bounded: exchange ids up to IDS_CAP for an
incident, incidents up to CAUSES_CAP for a kind; what is beyond is counted under one shared cause.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from afterguard.model import SEVERITIES, Confidence, Exchange, Hit, Incident
from afterguard.watch.distinct import Distinct

IDS_CAP = 100_000
CAUSES_CAP = 2_000
OTHER = "further causes"
TITLES = {
    "secret_in_output": "A secret passed through the model",
    "secret_in_input": "A secret was sent to the model",
    "pii_of_another": "Somebody else's personal data in a reply",
    "injection_followed": "The model acted on instructions hidden in data",
    "injection_ignored": "Instructions hidden in data reached the model",
    "exfil_link": "A link in a reply carried data out",
    "invisible_text": "Text a person cannot see",
    "encoded_payload": "Instructions hidden by encoding",
    "system_prompt_leak": "The system prompt was shown",
    "jailbreak": "An attempt to remove the model's rules",
    "prompt_extraction": "An attempt to read the system prompt",
    "unexplained_tool_call": "A tool call that only outside text explains",
    "foreign_order": "An order in outside text that nobody entitled gave",
    "order_in_name": "An order inside a name that a tool gave",
    "canary_leak": "A planted reference came out",
    "lethal_combination": "Outside text, private data and a way out met in one conversation",
    "unsafe_output": "A reply that is dangerous where it is shown or run",
    "tool_not_allowed": "A tool was called that is not allowed",
    "bad_arguments": "A tool was called with arguments that do not fit",
    "tool_changed": "A tool is no longer what was agreed",
    "tool_poisoned": "A tool's description speaks to the model",
    "key_misuse": "A key used from a new place",
    "burst": "Far more requests than usual",
    "cost_anomaly": "Far more cost than usual",
    "evasion_walk": "A walk around the decision boundary",
    "model_extraction": "Systematic queries that copy the model",
    "membership_probing": "Records asked about again and again with a grain of noise",
    "label_harvesting": "A data set labelled by the model",
    "model_swap": "Another model answers than before, and nobody said so",
    "poisoning_suspected": "A few callers shift what the model sees",
    "feature_missing": "A feature is missing",
    "feature_extra": "A feature that is not the model's",
    "feature_type": "A feature of another type",
    "feature_range": "A feature out of its range",
    "feature_category": "A category that was never seen",
    "feature_not_finite": "A feature that is no finite number",
    "feature_outlier": "Inputs far from all that were seen",
    "input_drift": "Inputs no longer look as they did",
    "decision_drift": "Decisions no longer fall as they did",
    "identifier_to_two": "The same identifier went to two identities",
    "token_burst": "Far more tokens than usual",
    "concurrency": "Far more at once than usual",
    "denial_of_wallet": "Requests made to be expensive",
    "agent_loop": "An agent that goes round in circles",
    "credential_shared": "One credential used from many addresses",
    "impossible_travel": "One credential in several countries at once",
    "key_probing": "A key that is tried out on the list of models",
    "parameter_probing": "A key that is tried out on models and parameters",
    "scripted_abuse": "Use at a machine's pace",
    "no_sleep": "Somebody who never sleeps",
    "template_abuse": "Texts made from a template",
    "off_purpose": "Use outside the application's purpose",
    "payment_velocity": "Far more actions by tools than usual",
    "payment_amount": "Far more money moved than usual",
    "new_payees": "Payees that were never paid before",
    "amounts_under_limit": "Amounts just under a limit",
    "refund_pattern": "Far more refunds than usual",
    "payee_of_many": "A payee that many pay all at once",
    "account_takeover": "A known account acts from a strange device, network and region",
    "identities_of_device": "Many identities on one device",
    "escalation": "A conversation that goes further with each turn",
    "repeated_attacks": "One after another that hits a rule",
    "scraping": "Documents read one after another",
    "chat_extraction": "Systematic questions that copy a model",
    "refusal_burst": "Far more refusals than usual",
    "error_burst": "Far more errors than usual",
    "campaign": "Many identities that do the same",
    "campaign_of_new": "Many new identities that do the same",
    "response_drift": "A model no longer answers as it did",
    "budget_gone": "A budget is gone",
    "budget_forecast": "A budget will be gone before its time",
    "traffic_surge": "Everybody does more than usual",
}
LEVELS = tuple(Confidence)


class _Growing:
    """An incident while it is being counted."""

    __slots__ = ("classes", "count", "first", "hit", "identifiers", "ids", "last", "last_id")

    def __init__(self, hit: Hit) -> None:
        self.hit = hit
        self.count = 0
        self.ids: list[str] = []
        self.last_id = ""
        self.first: float | None = None
        self.last: float | None = None
        self.identifiers = Distinct()
        self.classes: set[str] = set()

    def add(self, hit: Hit, exchange_id: str, time: float | None) -> None:
        if exchange_id != self.last_id or not self.count:
            self.count += 1
            self.last_id = exchange_id
            if len(self.ids) < IDS_CAP:
                self.ids.append(exchange_id)
        if time is not None:
            self.first = time if self.first is None else min(self.first, time)
            self.last = time if self.last is None else max(self.last, time)
        for identifier in hit.identifiers:
            self.identifiers.add(identifier)
        self.classes.update(hit.data_classes)
        if _weight(hit) > _weight(self.hit):
            self.hit = hit


def _weight(hit: Hit) -> tuple[int, int]:
    return SEVERITIES.index(hit.severity), LEVELS.index(hit.confidence)


class Merger:
    """Counts hits into incidents. Hits of kind `inventory` are ignored here."""

    def __init__(self, app: str, tenant: str = "default") -> None:
        self.app = app
        self.tenant = tenant
        self._rows: dict[tuple[str, str], _Growing] = {}
        self._causes: dict[str, int] = {}

    def add(self, exchange: Exchange, hit: Hit) -> None:
        """Count one hit of this exchange."""
        self.feed(hit, hit.exchange, exchange.time)

    def feed(self, hit: Hit, exchange_id: str, time: float | None) -> None:
        """Count one hit that stands for `exchange_id` at `time`."""
        if hit.kind == "inventory":
            return
        key = (hit.kind, hit.cause)
        row = self._rows.get(key)
        if row is None:
            if self._causes.get(hit.kind, 0) >= CAUSES_CAP:
                key = (hit.kind, OTHER)
            row = self._rows.get(key)
            if row is None:
                self._causes[hit.kind] = self._causes.get(hit.kind, 0) + 1
                row = self._rows[key] = _Growing(hit)
        row.add(hit, exchange_id, time)

    def incidents(self) -> Iterator[Incident]:
        """Incidents so far, worst first, then most exchanges, then by kind and cause."""
        order = sorted(self._rows.items(), key=lambda row: (*(-n for n in _weight(row[1].hit)), -row[1].count, row[0]))
        for (kind, cause), row in order:
            yield self._incident(kind, cause, row)

    def _incident(self, kind: str, cause: str, row: _Growing) -> Incident:
        hit = row.hit
        return Incident(
            id=identity(self.app, kind, cause),
            kind=kind,
            title=TITLES.get(kind, kind.replace("_", " ")),
            severity=hit.severity,
            confidence=hit.confidence,
            first_seen=row.first,
            last_seen=row.last,
            exchange_ids=tuple(row.ids),
            identifiers=len(row.identifiers),
            taxonomies=hit.taxonomies,
            excerpt=hit.excerpt,
            count=row.count,
            data_classes=tuple(sorted(row.classes)),
            cause=cause,
            rule=hit.rule,
            would_change=hit.would_change,
            app=self.app,
            tenant=self.tenant,
        )


def identity(app: str, kind: str, cause: str) -> str:
    """Stable id of an incident: recipe 1, the same cause in the same application keeps it over runs."""
    text = "\x1f".join(("1", app, kind, cause))
    return "inc-" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def merge(pairs: Iterable[tuple[Exchange, Hit]], app: str) -> Iterator[Incident]:
    """Incidents of a finite stream of (exchange, hit)."""
    merger = Merger(app)
    for exchange, hit in pairs:
        merger.add(exchange, hit)
    yield from merger.incidents()
