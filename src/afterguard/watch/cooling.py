"""One alarm for one cause: what was said is not said again until it has cooled down.

In: a kind, a scope and who, and the events it rests on. Out: whether it is news. An alarm whose events mostly belong to causes that were told
already (the same campaign seen by key, user, address and shape) is told once. The pause doubles from one telling to the next, up to a month.
"""

from __future__ import annotations

from collections import OrderedDict

from afterguard.watch.event import Event

PAUSE = 86_400.0
LONGEST = 30 * 86_400.0
FORTNIGHT = 14 * 86_400.0
"""How long a cause that was told explains other kinds of the same family: a new job of the night is told once, not by its requests, then its cost, then its text."""
CAP = 50_000
EXPLAINED = 0.5
FIELDS = ("conversation", "user", "device", "address", "shape", "key", "network")
RANK = {
    name: place
    for place, name in enumerate((*FIELDS, "payee", "document", "client", "model", "prompt", "tenant", "app"))
}
RANK |= {"device": RANK["user"], "address": RANK["user"], "document": RANK["payee"]}
"""From one person to all: who is behind a wide one may be news although the wide one was told, not the other way round."""
FAMILIES = {
    "consumption": ("burst", "token_burst", "cost_anomaly", "concurrency", "scripted_abuse", "template_abuse", "no_sleep"),
    "account": ("account_takeover", "credential_shared", "impossible_travel", "key_misuse", "key_probing", "parameter_probing"),
    "money": ("payment_velocity", "payment_amount", "new_payees", "amounts_under_limit", "refund_pattern", "payee_of_many"),
    "many": ("campaign", "campaign_of_new", "identities_of_device"),
    "theft": ("scraping", "chat_extraction"),
    "attack": ("escalation", "repeated_attacks", "refusal_burst"),
}  # fmt: skip
FAMILY = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}


class Cooling:
    """What was told, and until when it is not told again."""

    def __init__(self) -> None:
        self.told: OrderedDict[tuple[str, str, str], list[float]] = OrderedDict()
        """(kind, scope, who) -> until, pause."""
        self.causes: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        """(family, scope, who) of those whose own alarm was told -> until."""

    def is_cold(self, kind: str, scope: str, who: str, now: float) -> bool:
        """Whether this alarm was told lately."""
        row = self.told.get((kind, scope, who))
        return row is not None and now < row[0]

    def is_news(
        self, kind: str, scope: str, who: str, events: list[Event], now: float, *, is_cause: bool = True
    ) -> bool:
        """Whether to tell it. It is remembered either way. `is_cause`: whether it explains others; the key that a whole application shares explains nothing."""
        explained = self._is_explained(FAMILY.get(kind, kind), scope, who, events, now)
        row = self.told.pop((kind, scope, who), None)
        pause = min(LONGEST, row[1] * 2) if row and now - row[0] < 7 * PAUSE else PAUSE
        self.told[kind, scope, who] = [now + (PAUSE / 24 if explained else pause), pause]
        if not explained:
            family = FAMILY.get(kind, kind)
            self.causes[family if is_cause else f"{family} itself", scope, who] = now + max(pause, FORTNIGHT)
        for rows in (self.told, self.causes):
            while len(rows) > CAP:
                rows.popitem(last=False)
        return not explained

    def _is_explained(self, family: str, scope: str, who: str, events: list[Event], now: float) -> bool:
        if max(self.causes.get((of, scope, who), 0.0) for of in (family, f"{family} itself")) > now:
            return True
        known = 0
        fields = [field for field in FIELDS if RANK[field] <= RANK.get(scope, len(RANK))]
        for event in events:
            names = ((field, str(getattr(event, field))) for field in fields)
            known += any(self.causes.get((family, field, name), 0.0) > now for field, name in names)
        return bool(events) and known > EXPLAINED * len(events)
