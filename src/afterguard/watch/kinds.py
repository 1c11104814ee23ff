"""What the watch over time looks for: which measure of whom, over how long, above what.

In: nothing. Out: RULES and `Rule`. A rule speaks when one (a key, a user, a shape of text) goes `times` over what its own past and its
peers allow and by at least the floor of that window; the engine raises `times` where the population itself is wilder than that.
"""

from __future__ import annotations

from typing import NamedTuple

from afterguard.model import Severity

WINDOWS = (600.0, 7_200.0, 86_400.0, 604_800.0)
SAID = ("ten minutes", "two hours", "a day", "a week")
NEVER = float("inf")
CONSUMPTION = ("LLM10:2025", "LLM06:2026", "AML.T0029", "CWE-770")
WALLET = ("LLM10:2025", "LLM06:2026", "AML.T0034", "CWE-400")
ACCOUNT = ("LLM10:2025", "LLM06:2026", "ASI03:2026", "AML.T0012", "AML.T0055", "CWE-522")
AGENT = ("LLM06:2025", "LLM03:2026", "ASI02:2026", "AML.T0053", "CWE-840")
THEFT = ("LLM10:2025", "LLM06:2026", "AML.T0024.002", "CWE-799")
PROBING = ("LLM01:2025", "LLM01:2026", "ASI01:2026", "AML.T0054", "CWE-1427")
ONES = ("key", "user", "address", "device", "network")
GROUPS = ("shape", "network", "client", "device", "payee", "document")
MANY = ("client", "shape", "tenant", "app")
ALL = (*ONES, *MANY)


class Rule(NamedTuple):
    """One thing to look for. Floors are for ten minutes, two hours, a day and a week."""

    kind: str
    measure: str
    scopes: tuple[str, ...]
    floors: tuple[float, float, float, float]
    says: str
    """What is counted, in the plural."""
    would_change: str
    taxonomies: tuple[str, ...]
    severity: Severity = Severity.medium
    times: float = 4.0


JOB = "a batch job, a test or a launch that its owner knows of"
MOVE = "the owner of the key moved it, gave it to a colleague or travels"
SHOP = "the business expects it: a sale, a payday, a recall"

RULES: tuple[Rule, ...] = (
    Rule("burst", "requests", (*ONES, "tenant"), (80, 250, 500, 2_000), "requests", JOB, CONSUMPTION, times=5),
    Rule("token_burst", "tokens", (*ONES, "tenant"), (5e5, 1.5e6, 3e6, 1e7), "tokens", JOB, CONSUMPTION, times=10),
    Rule("cost_anomaly", "cost", (*ONES, "tenant", "client", "app"), (2, 4, 8, 25), "US dollars", JOB, WALLET, times=7),
    Rule("cost_anomaly", "cost", ("shape",), (10, 20, 40, 100), "US dollars", "a new button, a template that many use", WALLET, times=7),
    Rule("concurrency", "seconds", (*ONES, "tenant"), (3_000, 15_000, 60_000, 200_000), "seconds of model time", JOB, CONSUMPTION, times=5),
    Rule("denial_of_wallet", "heavy", ALL, (5, 8, 12, 30), "requests far heavier than usual", "long documents became part of the work", WALLET, Severity.high),
    Rule("agent_loop", "repeats", ("conversation",), (14, 25, 40, 80), "repeats of a step it had made before", "the agent polls by design", (*AGENT, "CWE-835")),
    Rule("credential_shared", "new_addresses", ("key", "user", "device"), (7, 9, 12, 25), "addresses it was never used from", MOVE, ACCOUNT, Severity.high),
    Rule("key_misuse", "new_places", ("key", "user"), (4, 4, 5, 8), "regions, networks and clients it was never used from", MOVE, ACCOUNT, Severity.high),
    Rule("impossible_travel", "switches", ("user",), (5, 7, 10, 25), "times within two hours from one country or region to another", "a company's network with exits in several countries", ACCOUNT, Severity.high),
    Rule("key_probing", "listings", ALL, (4, 6, 8, 15), "requests for lists of models", "a new tool that lists models when it starts", ACCOUNT, Severity.high),
    Rule("parameter_probing", "invalid", ALL, (6, 9, 12, 25), "requests with a model or parameter the provider refused", "a release that sends a wrong parameter", ACCOUNT),
    Rule("scripted_abuse", "even_gaps", ("user", "key", "address", "device"), (20, 40, 90, 250), "requests at an even pace", JOB, CONSUMPTION),
    Rule("no_sleep", "active_hours", ("user", "device", "address"), (NEVER, NEVER, 11, 40), "hours with activity", "a shared account, an office behind one address, or a job", CONSUMPTION, Severity.low, 2),
    Rule("template_abuse", "repeats", ("user", "device"), (30, 60, 100, 300), "texts made from a template", JOB, CONSUMPTION),
    Rule("off_purpose", "off_topic", (*ONES, "shape", "client", "tenant", "app"), (12, 18, 25, 60), "questions far from what this application is asked", "the application was given a new purpose", ("LLM10:2025", "LLM06:2026", "ASI02:2026", "AML.T0034", "CWE-840"), times=6),
    Rule("payment_velocity", "moves", (*ONES, "payee", "client"), (6, 9, 14, 30), "actions by tools", SHOP, AGENT, Severity.high),
    Rule("payment_amount", "money", (*ONES, "payee"), (12_000, 14_000, 20_000, 50_000), "in money moved", SHOP, AGENT, Severity.high, 6),
    Rule("account_takeover", "strange_moves", ("user",), (2, 2, 2, 4), "actions by tools for nobody it paid before, from a device, a network and a region that were all new to it", "the person travels with a new telephone", (*ACCOUNT, "AML.T0053"), Severity.high),
    Rule("new_payees", "new_payees", (*ONES, "client"), (3, 4, 6, 12), "payees it never paid before", SHOP, AGENT, Severity.high),
    Rule("amounts_under_limit", "under_limit", (*ALL, "payee"), (3, 4, 5, 8), "amounts just under a limit", "prices that end just below the limit", AGENT, Severity.high, 3),
    Rule("refund_pattern", "refunds", (*ALL, "payee"), (3, 4, 6, 10), "refunds", "a recall or a cancelled event", AGENT, Severity.high),
    Rule("identities_of_device", "identities", ("device",), (4, 5, 6, 9), "identities that never used it before", "a terminal for the public, a shared or a test device", ACCOUNT, Severity.high, 7),
    Rule("escalation", "trouble", ("conversation",), (4, 5, 6, 8), "turns that hit a rule or were refused", "a security test, or a topic that is always refused", PROBING, Severity.high, 4),
    Rule("repeated_attacks", "hits", ALL, (5, 9, 14, 30), "requests that hit a rule", "a security test, or a rule that is too broad", PROBING, Severity.high),
    Rule("scraping", "new_documents", (*ONES, "client", "tenant", "app"), (30, 60, 110, 300), "documents it never asked for before", "an index is being built with its owner's consent", ("LLM02:2025", "LLM02:2026", "AML.T0024", "CWE-799"), Severity.high),
    Rule("chat_extraction", "new_shapes", ("user", "key", "address", "device", "network"), (60, 180, 350, 1_000), "questions unlike any it asked before", "an evaluation its owner runs", THEFT),
    Rule("refusal_burst", "refused", (*ALL, "model", "prompt"), (7, 12, 20, 50), "refusals by the model", "a topic in the news, or a stricter model", PROBING),
    Rule("error_burst", "errors", ("model",), (15, 40, 80, 250), "errors", "an outage of the provider", CONSUMPTION, Severity.info, 5),
    Rule("payee_of_many", "identities", ("payee",), (10, 12, 15, 30), "identities that never paid it before", "a new landlord, shop or appeal that many pay", AGENT, Severity.high, 3),
    Rule("campaign", "identities", ("shape", "network", "client", "document", "address"), (40, 50, 80, 150), "identities that never did this before", "a new button, link or page that many people follow", CONSUMPTION, Severity.high, 9),
    Rule("campaign_of_new", "new_identities", ("payee", "device"), (8, 9, 12, 25), "identities that are new to the application", "a new shop or landlord, a terminal for the public", ACCOUNT, Severity.high, 7),
    Rule("campaign_of_new", "new_identities", ("shape", "network", "client", "document", "address"), (15, 18, 25, 45), "identities that are new to the application", "an invitation or an advertisement", ACCOUNT, Severity.high, 7),
)  # fmt: skip


def measures(scope: str) -> tuple[Rule, ...]:
    """The rules of one scope."""
    return tuple(rule for rule in RULES if scope in rule.scopes)


SCOPES = tuple(dict.fromkeys(scope for rule in RULES for scope in rule.scopes))
OTHER = {
    "budget_gone": "a budget of requests, tokens, cost or concurrency is used up",
    "budget_forecast": "at the pace of late a day's or month's budget is gone before its end",
    "response_drift": "replies of one model under one system prompt changed in length, refusals, pace or wording, chunk after chunk",
    "traffic_surge": "many more identities than usual at this hour of the week: one notice in place of an alarm for each",
}
"""Kinds that are not a matter of one measure."""
KINDS = (*dict.fromkeys(rule.kind for rule in RULES), *OTHER)
OWN_RULE = "sigma_rule"
"""Kind of alert that a rule of the SOC's own raises: what it is about only its tags say."""
