"""Which campaigns come when: every kind once with few identities and once spread over many.

In: the calendar. Out: a list of `Campaign`. Those with few identities come in the first half of the examined days, those that are spread in the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import abuse, attacks_on_scores, fraud
from .campaign import Campaign
from .days import DAY, Days
from .draw import generator


@dataclass(frozen=True)
class Kind:
    """A kind of campaign and what it usually looks like."""

    kind: str
    app: str
    does: Any
    hours: float
    few: int
    names: tuple[str, ...]
    words: tuple[str, ...]
    slow: bool = False
    alters: bool = False


WHO = ("user", "address", "device", "conversation")
KINDS = (
    Kind("wallet-burst", "shop-chat", abuse.wallet_burst, 0.7, 4, (*WHO, "network", "shape"), ("wallet", "cost", "spend", "token", "budget", "rate", "burst")),
    Kind("sponge", "shop-chat", abuse.sponge, 3, 3, (*WHO, "network", "shape"), ("sponge", "slow", "seconds", "long", "token", "wallet", "cost")),
    Kind("cost-creep", "assistant", abuse.cost_creep, 144, 2, ("user", "device", "client"), ("cost", "token", "creep", "wallet", "budget", "rise", "rate"), slow=True),
    Kind("leaked-key", "coder", abuse.leaked_key, 6, 3, ("key", "address", "network", "device"), ("key", "credential", "jack", "stolen", "leak", "region")),
    Kind("shared-credential", "assistant", abuse.shared_credential, 60, 25, ("user",), ("shar", "credential", "account", "device", "takeover"), slow=True),
    Kind("agent-loop", "coder", abuse.agent_loop, 2, 1, ("user", "device", "conversation", "key", "shape"), ("loop", "repeat", "same")),
    Kind("off-purpose", "shop-chat", abuse.off_purpose, 14, 5, (*WHO, "network", "shape"), ("purpose", "script", "topic", "automat", "template")),
    Kind("jailbreak-escalation", "assistant", abuse.jailbreak_escalation, 4, 1, (*WHO, "shape"), ("jailbreak", "escalat", "refus", "probing", "turn")),
    Kind("refusal-burst", "shop-chat", abuse.refusal_burst, 1, 2, (*WHO, "network", "shape"), ("refus", "probing", "block", "jailbreak")),
    Kind("scrape-fast", "doc-search", abuse.scrape_fast, 2.5, 1, (*WHO, "network"), ("scrap", "document", "crawl", "coverage", "enumerat")),
    Kind("scrape-slow", "doc-search", abuse.scrape_slow, 130, 1, (*WHO, "network"), ("scrap", "document", "crawl", "coverage", "enumerat"), slow=True),
    Kind("distillation", "shop-chat", abuse.distillation, 20, 3, (*WHO, "network", "shape"), ("extract", "distil", "copy", "script", "template", "systematic")),
    Kind("baseline-poisoning", "assistant", abuse.baseline_poisoning, 150, 2, (*WHO, "network"), ("rate", "cost", "token", "poison", "rise", "creep", "wallet", "baseline"), slow=True),
    Kind("silent-swap", "shop-chat", abuse.silent_swap, 30, 1, ("app",), ("drift", "swap", "model", "answer", "style"), alters=True),
    Kind("refund-fraud", "payments", fraud.refund_fraud, 8, 4, (*WHO, "payee"), ("refund", "money", "fraud", "payee")),
    Kind("mule-payees", "payments", fraud.mule_payees, 14, 8, (*WHO, "payee"), ("payee", "mule", "money", "fraud", "limit", "velocity")),
    Kind("structuring", "payments", fraud.structuring, 96, 15, (*WHO, "payee"), ("structur", "limit", "device", "money", "payee", "fraud", "identit"), slow=True),
    Kind("account-takeover", "payments", fraud.account_takeover, 6, 3, (*WHO, "network", "payee"), ("takeover", "device", "account", "credential", "money", "payee")),
    Kind("evasion-walk", "fraud-score", attacks_on_scores.evasion_walk, 1, 1, (*WHO, "network"), ("evasion", "walk", "decision", "near")),
    Kind("boundary-extraction", "loan-score", attacks_on_scores.boundary_extraction, 7, 1, (*WHO, "network"), ("extract", "boundary", "coverage", "copy", "systematic", "decision")),
    Kind("membership-harvest", "fraud-score", attacks_on_scores.membership_harvest, 4, 1, (*WHO, "network"), ("member", "repeat", "same", "harvest", "walk")),
    Kind("label-harvest", "loan-score", attacks_on_scores.label_harvest, 40, 1, (*WHO, "network", "key"), ("label", "harvest", "extract", "copy", "volume", "rate"), slow=True),
    Kind("feature-poison", "fraud-score", attacks_on_scores.feature_poison, 110, 5, (*WHO, "network", "app"), ("poison", "drift", "feature"), slow=True),
    Kind("score-swap", "loan-score", attacks_on_scores.score_swap, 40, 1, ("app",), ("swap", "drift", "score", "model", "decision"), alters=True),
)  # fmt: skip
"""Twenty-four kinds; seven of them are slow."""


def scheduled(days: Days) -> list[Campaign]:
    plan = days.plan
    begin = plan.start + (plan.learn + plan.quiet) * DAY
    part = plan.examined * DAY / max(1, len(plan.variants))
    out: list[Campaign] = []
    for place, variant in enumerate(plan.variants):
        for kind in KINDS:
            if (plan.kinds is not None and kind.kind not in plan.kinds) or not days.draws(kind.app):
                continue
            out.append(campaign(days, kind, variant, len(out) + 1, begin + place * part, part))
    return out


def campaign(days: Days, kind: Kind, variant: str, number: int, begin: float, room: float) -> Campaign:
    """One of them, at a moment of its half of the examined days; slow ones are cut to fit."""
    rng = generator(days.seed, "schedule", kind.kind, variant)
    hours = min(kind.hours * float(rng.uniform(0.8, 1.25)), room / 3600 * 0.94)
    spread = variant == "spread"
    start = begin + float(rng.uniform(0.01, 1)) * max(0.0, room * 0.97 - 3600 * hours)
    return Campaign(
        number,
        kind.kind,
        variant,
        kind.app,
        start,
        hours,
        days.plan.spread if spread else kind.few,
        intensity=float(rng.uniform(0.7, 1.4)),
        slow=kind.slow,
        names=kind.names,
        words=kind.words,
        sends=None if kind.alters else kind.does,
        alters=kind.does if kind.alters else None,
        seed=days.seed,
    )
