"""Business facts: the short file a person who owns the application fills in within ten minutes.

In: the bytes of a business.yaml. Out: a Business, or UsageError naming file and line. Every answer may be missing or
`unknown`: it is then None here and listed in Loss.unknown_business. The questions are data in catalog/losses/business.
Only plain YAML is read: no tags, no anchors, nothing is constructed from it.
"""

from __future__ import annotations

import difflib
from typing import Any

import msgspec

from afterguard import catalog
from afterguard.errors import UsageError
from afterguard.model import Range
from afterguard.risk.amount import amount, between
from afterguard.risk.answers import Answer, read

UNKNOWN = ("", "unknown", "~", "null", "?")


class Business(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answers; None where nobody knows. Amounts are Ranges (80 % intervals) in `currency`, a year unless named."""

    currency: str = "USD"
    per_usd: Range | None = None
    industry: str | None = None
    country: str | None = None
    annual_revenue: Range | None = None
    revenue_through_app: Range | None = None
    customers: Range | None = None
    users_per_month: Range | None = None
    requests_per_day: Range | None = None
    blocked_request_cost: Range | None = None
    records: dict[str, Range] = {}
    """People whose records can be read, by data class; a class answered `unknown` is in records_unknown."""
    records_unknown: tuple[str, ...] = ()
    action_limit: Range | None = None
    daily_limit: Range | None = None
    incident_hour_cost: Range | None = None
    provider_spend_month: Range | None = None
    provider_quota_month: Range | None = None
    no_quota: bool = False
    """True where the owner says that no hard limit exists."""
    decisions_per_day: Range | None = None
    decision_amount: Range | None = None
    regulated: tuple[str, ...] | None = None
    listed: bool | None = None
    audience: str | None = None
    response: str | None = None
    appetite: Range | None = None
    applications: dict[str, dict[str, Any]] = {}
    """Answers that differ for one application, by its name; see for_app."""

    def for_app(self, name: str) -> Business:
        """The answers with those of one application laid over them."""
        return msgspec.structs.replace(self, **self.applications.get(name, {}), applications={})

    def answered(self, key: str) -> bool:
        """Whether a question has an answer."""
        if key == "records":
            return bool(self.records) and not self.records_unknown
        if key == "provider_quota_month":
            return self.no_quota or self.provider_quota_month is not None
        return getattr(self, key) is not None

    def unknown(self, traits: frozenset[str] | None = None) -> tuple[str, ...]:
        """What was not answered and what that leaves open, one sentence each; only what matters to the traits given."""
        skip = {"per_usd"} if self.currency == "USD" or self.per_usd else set()
        rows = []
        for question in questions():
            key, matters = question["key"], question.get("matters")
            if (
                key in skip
                or self.answered(key)
                or (traits is not None and matters and not traits.intersection(matters))
            ):
                continue
            if key == "records" and self.records:
                classes = ", ".join(self.records_unknown)
                rows.append(f"records: {classes} unknown; the largest class known counts")
            else:
                rows.append(f"{key}: {question['changes']}")
        return tuple(rows)

    @property
    def rate(self) -> float:
        """Units of the currency per US dollar."""
        return self.per_usd.mid if self.per_usd else float(catalog.load("losses/business")["per_usd"][self.currency])


def questions() -> list[dict[str, Any]]:
    """The questions in order, as data."""
    return list(catalog.load("losses/business")["questions"])


def parse(data: bytes, path: str = "business.yaml") -> Business:
    """The answers in a business.yaml. Raises UsageError with file, line and what to write instead."""
    values = _values(read(data, path), path, top=True)
    business = Business(**values)
    if business.per_usd is None and business.currency not in catalog.load("losses/business")["per_usd"]:
        raise UsageError(
            f"{path}: no rate is built in for the currency {business.currency}",
            hint="Add per_usd: how many units of it one US dollar buys.",
            slug="business-file",
        )
    return business


def _values(answers: dict[str, Answer], path: str, *, top: bool) -> dict[str, Any]:
    known = {str(question["key"]): question for question in questions()}
    out: dict[str, Any] = {}
    for key, answer in answers.items():
        if key == "applications" and top:
            out["applications"] = _applications(answer, path)
        elif key not in known:
            raise _unknown_key(key, answer, [*known, *(["applications"] if top else [])], path)
        elif not top and key in ("currency", "per_usd"):
            raise _wrong(path, answer, f"{key} is the same for every application; set it once, at the top")
        else:
            out.update(_answer(known[key], answer, path))
    return out


def _applications(answer: Answer, path: str) -> dict[str, dict[str, Any]]:
    if answer.text in UNKNOWN and answer.kind == "text":
        return {}
    if answer.kind != "map":
        raise _wrong(path, answer, "applications holds one block of answers for each application")
    out = {}
    for name, block in answer.fields.items():
        if block.kind != "map":
            raise _wrong(path, block, f"the answers of {name[:60]!r} are not a block of key: value lines")
        out[name] = _values(block.fields, path, top=False)
    return out


def _answer(question: dict[str, Any], answer: Answer, path: str) -> dict[str, Any]:
    key, kind = question["key"], question["kind"]
    if answer.kind == "text" and answer.text.strip().lower() in UNKNOWN and not answer.quoted:
        return {}
    try:
        if kind == "records":
            return _records(answer)
        if kind in ("money", "count", "rate"):
            return _amount(question, answer)
        if kind == "words":
            return {key: _words(question, answer)}
        if answer.kind != "text":
            raise ValueError(f"{key} takes one value")
        if kind == "yesno":
            return {key: _yesno(answer.text)}
        if kind == "code":
            return {key: _code(question, answer.text)}
        return {key: _word(answer.text, question["words"])}
    except ValueError as error:
        raise _wrong(path, answer, f"{key}: {error}") from None


def _amount(question: dict[str, Any], answer: Answer) -> dict[str, Any]:
    key = question["key"]
    if question.get("none") and answer.kind == "text" and answer.text.strip().lower() == "none":
        return {"no_quota": True}
    value = _range(answer)
    if question["kind"] == "rate" and value.low <= 0:
        raise ValueError("must be above zero")
    return {key: value}


def _range(answer: Answer) -> Range:
    if answer.kind == "text":
        return amount(answer.text)
    if answer.kind == "list" and len(answer.items) == 2 and all(item.kind == "text" for item in answer.items):
        low, high = (amount(item.text) for item in answer.items)
        return between(low.low, high.high)
    raise ValueError("write a number, a range such as 10k-50k, or [low, high]")


def _records(answer: Answer) -> dict[str, Any]:
    classes = catalog.load("losses/business")["record_classes"]
    if answer.kind == "text":
        return {"records": {"contact": amount(answer.text)}}
    if answer.kind != "map":
        raise ValueError("write one line for each class of data: contact: 40k")
    known: dict[str, Range] = {}
    unknown = []
    for name, value in answer.fields.items():
        word = _word(name, classes)
        if value.kind == "text" and value.text.strip().lower() in UNKNOWN:
            unknown.append(word)
        else:
            known[word] = _range(value)
    return {"records": known, "records_unknown": tuple(unknown)}


def _words(question: dict[str, Any], answer: Answer) -> tuple[str, ...]:
    items = answer.items if answer.kind == "list" else [answer]
    if any(item.kind != "text" for item in items):
        raise ValueError("write a list of words")
    words = tuple(dict.fromkeys(_word(item.text, question["words"]) for item in items))
    return tuple(word for word in words if word != "none")


def _word(text: str, words: list[str]) -> str:
    word = text.strip().lower().replace("-", "_").replace(" ", "_")
    if word in words:
        return word
    near = difflib.get_close_matches(word[:60], words, 1, 0.5)
    raise ValueError(f"{text[:40]!r} is none of {', '.join(words)}" + (f"; did you mean {near[0]}?" if near else ""))


def _yesno(text: str) -> bool:
    word = text.strip().lower()
    if word not in ("yes", "no", "true", "false"):
        raise ValueError(f"{text[:40]!r} is neither yes nor no")
    return word in ("yes", "true")


def _code(question: dict[str, Any], text: str) -> str:
    word = text.strip().upper()
    if len(word) != question["length"] or not (word.isascii() and word.isalpha()):
        raise ValueError(f"{text[:40]!r} is not a code of {question['length']} letters, such as {question['example']}")
    return word


def _wrong(path: str, answer: Answer, sentence: str) -> UsageError:
    return UsageError(
        f"{path}:{answer.line}: {sentence}",
        hint="Write unknown where nobody knows; docs/reference/business.md lists every key.",
        slug="business-file",
    )


def _unknown_key(key: str, answer: Answer, known: list[str], path: str) -> UsageError:
    near = difflib.get_close_matches(key[:60], known, 1)
    return UsageError(
        f"{path}:{answer.line}: no question is called {key[:60]!r}",
        hint=f"Did you mean {near[0]}?" if near else "docs/reference/business.md lists every key.",
        slug="business-file",
    )


def template() -> str:
    """The questionnaire as a business.yaml in which every answer is `unknown`; it parses."""
    lines = [
        "# Ten minutes of business facts for the money pages. Write a number (25000, 25k, 2.5M), a range (10k-50k: you",
        "# would be surprised one time in five), or leave unknown: the report then shows what that leaves open.",
    ]
    for question in questions():
        lines += ["", f"# {question['ask']}"]
        if "words" in question:
            lines.append(
                f"# One of: {', '.join(question['words'])}."
                if question["kind"] == "word"
                else f"# Any of: {', '.join(question['words'])}."
            )
        lines.append(f"# {question['key']}: {question['example']}")
        if question["kind"] == "records":
            lines.append("records:")
            lines += [f"  {name}: unknown" for name in catalog.load("losses/business")["record_classes"]]
        else:
            lines.append(f"{question['key']}: {'USD' if question['key'] == 'currency' else 'unknown'}")
    lines += [
        "",
        "# Where several applications share this file, answers that differ for one of them:",
        "applications: {}",
    ]
    return "\n".join(lines) + "\n"
