"""Cloud bills and expense lists -> assets: AWS CUR and Cost Explorer, Azure usage, GCP export, FOCUS, card statements.

In: rows of a CSV with a header. Out: assets with cost per service; the model where the bill names it. A bill proves payment, not
use, so nothing here is more than inferred; GPU hours and payees by name alone are unresolved.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from afterguard.catalog import load
from afterguard.discover import stamps
from afterguard.discover.events import Event
from afterguard.discover.fields import Table
from afterguard.discover.tally import Tally
from afterguard.model import AssetKind, Certainty, Edge

AMOUNT = re.compile(r"\A[^\d-]{0,4}(-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d{1,12}(?:\.\d+)?)(?:E-?\d{1,2})?[^\d]{0,4}\Z")
MODEL = re.compile(
    r"\b((?:claude|gpt|o\d|llama|mistral|mixtral|nova|titan|command|gemini|gemma|jamba|deepseek|qwen|text-embedding|cohere embed|phi|dall-e|whisper|imagen|veo|grok)[ -]?[\w.-]*(?: (?:\d[\w.]*|opus|sonnet|haiku|pro|flash|mini|nano|lite|turbo|large|small|micro|instruct|premier)){0,4})",
    re.I,
)
COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "aws_cur": {
        "text": (
            "lineitem/productcode", "product/productname", "lineitem/usagetype", "lineitem/operation",
            "lineitem/lineitemdescription", "line_item_product_code", "product_product_name", "line_item_usage_type",
            "line_item_operation", "line_item_line_item_description", "product_servicename", "product/servicename", "product",
        ),
        "code": ("lineitem/productcode", "line_item_product_code"),
        "cost": ("lineitem/unblendedcost", "line_item_unblended_cost"),
        "currency": ("lineitem/currencycode", "line_item_currency_code"),
        "time": ("lineitem/usagestartdate", "line_item_usage_start_date"),
        "account": ("lineitem/usageaccountid", "line_item_usage_account_id"),
    },
    "azure_usage": {
        "text": (
            "metercategory", "metersubcategory", "metername", "servicename", "servicefamily", "consumedservice", "productname",
            "product", "meter category", "meter sub-category", "meter name", "consumed service", "resourcetype", "resourceid",
        ),
        "cost": ("costinbillingcurrency", "costinusd", "pretaxcost", "cost", "extendedcost", "paygcostinusd"),
        "currency": ("billingcurrencycode", "billingcurrency", "currency"),
        "time": ("date", "usagedatetime", "usagedate", "usage date"),
        "account": ("subscriptionid", "subscriptionguid", "subscription id"),
    },
    "gcp_billing": {
        "text": ("service description", "sku description", "service.description", "sku.description", "service_description", "sku_description"),
        "cost": ("cost ($)", "cost", "subtotal ($)", "unrounded cost ($)", "subtotal"),
        "currency": ("currency", "cost currency"),
        "time": ("usage start date", "usage_start_time", "usage start time", "date"),
        "account": ("project id", "project.id", "project_id"),
    },
    "focus": {
        "text": ("servicename", "chargedescription", "skuid", "servicecategory", "resourcetype", "skupriceid"),
        "cost": ("billedcost", "effectivecost"),
        "currency": ("billingcurrency",),
        "time": ("chargeperiodstart",),
        "account": ("subaccountid", "billingaccountid"),
    },
    "expenses": {
        "text": ("description", "merchant", "payee", "vendor", "counterparty", "supplier", "name", "merchant name", "transaction description", "memo", "narrative", "details"),
        "cost": ("amount", "debit", "total", "value", "amount usd", "amount eur", "transaction amount", "paid out"),
        "currency": ("currency",),
        "time": ("date", "transaction date", "posted date", "booking date", "posting date"),
        "account": (),
    },
}  # fmt: skip


def kind_of(header: list[str]) -> str:
    """Which bill a CSV header belongs to, "" for none. Column names lower case."""
    names = set(header)
    if names & {"lineitem/productcode", "line_item_product_code"}:
        return "aws_cur"
    if {"servicename", "chargeperiodstart"} <= names:
        return "focus"
    if names & {"metercategory", "meter category"}:
        return "azure_usage"
    if names & {"service description", "service.description", "service_description"}:
        return "gcp_billing"
    if header and header[0] in ("service", "services", "linked account") and any("($)" in one for one in header):
        return "aws_cost_explorer"
    if (
        names & set(COLUMNS["expenses"]["text"][:6])
        and names & set(COLUMNS["expenses"]["cost"])
        and names & set(COLUMNS["expenses"]["time"])
    ):
        return "expenses"
    return ""


class Bill:
    """Reads the rows of one bill into a tally."""

    def __init__(self, kind: str, tally: Tally) -> None:
        self.kind, self.tally = kind, tally
        self.table = Table("csv_hosts")
        self.costs: dict[tuple[AssetKind, str], float] = {}

    def read(self, line: int, text: str) -> bool:
        """Take one line; False when it does not parse."""
        if not self.table.columns:
            return self.table.header(text)
        row = self.table.row(text)
        if not row:
            return not text.strip()
        if self.kind == "aws_cost_explorer":
            return self._matrix(line, row)
        columns = COLUMNS[self.kind]
        words = " | ".join(row[one] for one in columns["text"] if row.get(one))
        cost = _amount(_first(row, columns["cost"]))
        self._judge(line, row, words, cost, _first(row, columns["time"]), _first(row, columns["account"]))
        return True

    def _judge(self, line: int, row: dict[str, str], words: str, cost: float | None, time: str, account: str) -> None:
        found = service_of(
            self.kind, words, _first(row, COLUMNS[self.kind].get("code", ())), row.get("providername", "")
        )
        if found is None or cost is None or (cost <= 0 and self.kind != "expenses"):
            return
        kind, name, certainty, use = found
        event = _event(line, time, account)
        currency = _first(row, COLUMNS[self.kind]["currency"])[:8]
        label = _label(words, name)
        self._add(event, kind, name, certainty, label, abs(cost), currency, use)
        model = (
            MODEL.search(words[:1000])
            if kind is AssetKind.cloud_ai_service and certainty is Certainty.inferred
            else None
        )
        if model:
            named = " ".join(model[1].lower().split()).rstrip("-. ")[:80]
            self._add(
                event, AssetKind.model, named, Certainty.unresolved, label, abs(cost), currency, "", provider=name
            )
            entry = self.tally.entry(kind, name)
            if entry is not None and len(entry.edges) < 100:
                entry.edges.setdefault(Edge("serves", AssetKind.model, named))

    def _matrix(self, line: int, row: dict[str, str]) -> bool:
        """Cost Explorer: dates down and services across, or services down and dates across."""
        first = next(iter(row.values()), "")
        day = stamps.read(first[:40])
        for column, value in row.items():
            amount = _amount(value)
            text = column.removesuffix("($)").strip() if day else first
            found = service_of("aws_cur", text, "", "")
            if amount and amount > 0 and found and not column.startswith("total"):
                kind, name, certainty, use = found
                self._add(
                    _event(line, first if day else column, ""),
                    kind,
                    name,
                    certainty,
                    _label(text, name),
                    amount,
                    "USD",
                    use,
                )
        return True

    def _add(
        self, event: Event, kind: AssetKind, name: str, certainty: Certainty, label: str, cost: float, currency: str,
        use: str, **facts: str,
    ) -> None:  # fmt: skip
        entry = self.tally.count(event, kind, name, label, use=use, currency=currency, **facts)
        if entry is not None:
            entry.certainty = certainty
            entry.source = "billing"
            self.costs[(kind, name)] = self.costs.get((kind, name), 0.0) + cost
            entry.attributes["cost"] = f"{self.costs[(kind, name)]:.2f}"


def service_of(kind: str, words: str, code: str, provider: str) -> tuple[AssetKind, str, Certainty, str] | None:
    """Asset kind, name, certainty and use that the text of a bill's line stands for."""
    words = words[:1000]
    low = words.lower()
    if kind == "expenses":
        for row in _bills()["payees"]:
            if re.search(rf"(?:\A|[^a-z0-9]){re.escape(row['word'])}(?:\Z|[^a-z])", low):
                return AssetKind.provider, row["provider"], Certainty.unresolved, row.get("use", "")
        return None
    clouds = {"aws_cur": ("aws",), "azure_usage": ("azure",), "gcp_billing": ("google",)}.get(
        kind, ("aws", "azure", "google")
    )
    for cloud in clouds:
        rows = _bills()[cloud]
        if code in rows.get("products", {}):
            return AssetKind.cloud_ai_service, rows["products"][code], Certainty.inferred, ""
        for row in rows["words"]:
            if re.search(rf"(?:\A|[^a-z0-9]){re.escape(row['word'])}(?:\Z|[^a-z0-9])", low) or (
                row["word"].endswith(":") and row["word"] in low
            ):
                return AssetKind.cloud_ai_service, row["service"], Certainty.inferred, ""
        if re.search(rows["gpu"], words, re.I):
            return AssetKind.cloud_ai_service, f"{cloud}-gpu", Certainty.unresolved, "accelerator"
    return None


def _label(words: str, name: str) -> str:
    return f"{name}: {' '.join(words.split())}"[:160]


def _first(row: dict[str, str], names: tuple[str, ...]) -> str:
    return next((row[one] for one in names if row.get(one)), "")


def _amount(text: str) -> float | None:
    found = AMOUNT.match(text.strip()[:40])
    return float(found[1].replace(",", "")) if found else None


def _event(line: int, time: str, account: str) -> Event:
    stamp = stamps.read(_iso_day(time.strip())[:40])
    return Event(
        line,
        time=stamp.seconds if stamp else None,
        zoned=True,
        dated=bool(stamp and stamp.dated),
        client=account,
        channel="billing",
    )


def _iso_day(text: str) -> str:
    """Month/day/year as US exports write it, in ISO order; everything else unchanged."""
    found = re.match(r"(\d{1,2})/(\d{1,2})/(\d{4})(?:\D|\Z)", text)
    return f"{found[3]}-{int(found[1]):02d}-{int(found[2]):02d}" if found else text


@cache
def _bills() -> dict[str, Any]:
    rows: dict[str, Any] = load("signals/billing")
    return rows
