"""The catalogue of loss scenarios as types, and which of them apply to an application.

In: catalog/losses and what is known of the application. Out: Scenario structs that apply. Data only; nothing is priced.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec

from afterguard import catalog
from afterguard.model import Asset, AssetKind, Lookback, Survey
from afterguard.risk.business import Business

MIXED = "mixed_kinds"


class Source(msgspec.Struct, frozen=True):
    """Where a prior comes from. Grades as in model.Factor."""

    title: str
    year: int
    grade: str


class Attempts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Attempts a year: a Gamma by mean and shape."""

    mean: float
    shape: float
    source: str
    why: str = ""


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A step of the chain that succeeds with a Beta(a, b), or (`public`) with the chance to become known outside."""

    id: str
    title: str
    source: str
    beta: tuple[float, float] = (1.0, 1.0)
    public: bool = False


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A factor of an amount: published (p10, p90), fixed, or an answer of the owner with what is assumed without it."""

    source: str
    p10: float = 0.0
    p90: float = 0.0
    fixed: float = 0.0
    answer: str = ""
    assume: tuple[float, float] | None = None
    drop: bool = False
    power: float = 1.0
    reference: float = 1.0
    what: str = ""
    usd: bool = False
    """The published or assumed ends are US dollars."""
    measured: str = ""
    """Name of a figure the team may have measured itself; it then takes the place of the published ends."""


class Ceiling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Most a form can cost: an answer times a number, never below `floor` (US dollars)."""

    answer: str
    times: float
    source: str
    floor: float = 0.0


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A form of loss. `chance` is 1 or a Beta; `public`, `classes`, `trait` gate it; `breach` scales it by industry."""

    id: str
    title: str
    chance: int | tuple[float, float]
    parts: tuple[Part, ...]
    source: str
    cap: Ceiling | None = None
    public: bool = False
    classes: tuple[str, ...] = ()
    trait: str = ""
    breach: bool = False
    reply: bool = False


class Driver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Findings that move a stage: by odds, or the attempts by rate; `factor` is the p10 and p90 of the multiplier."""

    id: str
    stage: str
    factor: tuple[float, float]
    source: str
    rules: tuple[str, ...] = ()
    taxonomies: tuple[str, ...] = ()


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"excluded": "not"}):
    """Incident kinds that prove a chain got as far as `stage`; one counts `weight` real events."""

    kinds: tuple[str, ...]
    stage: str
    weight: float
    excluded: tuple[str, ...] = ()


class Tested(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Kinds of attack whose rate is the chance of a stage, and the sentence of `never_measured` that they answer."""

    stage: str
    kinds: tuple[str, ...]
    answers: str = ""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"any_of": "any"}):
    """One way to lose money: a chain of stages, forms of loss, what moves them and what nobody measured."""

    id: str
    title: str
    needs: tuple[str, ...]
    group: str
    attempts: Attempts
    stages: tuple[Stage, ...]
    forms: tuple[Cost, ...]
    drivers: tuple[Driver, ...]
    seen: tuple[Seen, ...]
    never_measured: tuple[str, ...]
    any_of: bool = False
    regulated: bool = False
    tested: tuple[Tested, ...] = ()


@cache
def scenarios() -> tuple[Scenario, ...]:
    """Every scenario of the catalogue."""
    return msgspec.convert(catalog.load("losses/scenarios")["scenarios"], tuple[Scenario, ...])


@cache
def sources() -> dict[str, Source]:
    """Every source of a prior by its id."""
    return msgspec.convert(catalog.load("losses/sources")["sources"], dict[str, Source])


def words(text: str) -> frozenset[str]:
    """The words of an id or name: kebab, snake and camel case taken apart, lower case."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text[:500])
    return frozenset(re.findall(r"[a-z0-9]+", spaced.lower()))


def says(entry: str, found: frozenset[str]) -> bool:
    """Whether every word of a catalogue entry begins one of the words found."""
    return all(any(word.startswith(wanted) for word in found) for wanted in entry.split())


def proves(seen: Seen, kind: str) -> bool:
    """Whether an incident of a kind proves the stage of an entry."""
    found = words(kind)
    return any(says(entry, found) for entry in seen.kinds) and not any(says(entry, found) for entry in seen.excluded)


def applying(survey: Survey, lookback: Lookback | None, business: Business) -> tuple[Scenario, ...]:
    """The scenarios that can happen to this application."""
    has = traits(survey, lookback, business)
    return tuple(scenario for scenario in scenarios() if _applies(scenario, has, business))


def _applies(scenario: Scenario, has: frozenset[str], business: Business) -> bool:
    if scenario.regulated and business.regulated == ():
        return False
    met = [need in has for need in scenario.needs]
    return any(met) if scenario.any_of else all(met)


def traits(survey: Survey, lookback: Lookback | None, business: Business) -> frozenset[str]:
    """What kind of application this is, in the words of the catalogue: language_model, tools, predictive and so on."""
    table: dict[str, dict[str, Any]] = catalog.load("losses/scenarios")["traits"]
    incidents = [words(kind) for kind in sorted({one.kind for one in lookback.incidents})] if lookback else []
    rules = [words(rule) for rule in sorted({finding.rule for finding in survey.findings})]
    out = {name for name, rule in table.items() if _has(rule, survey.assets, incidents, rules)}
    predictive = [asset for asset in survey.assets if is_predictive(asset)]
    # A chat service that staff open in a browser is not part of the application.
    other = [one for one in survey.assets if one not in predictive and one.attributes.get("use") != "staff"]
    if any(asset.kind in table["language_model"][MIXED] for asset in other):
        out.add("language_model")
    if not predictive and any(asset.kind in table["language_model"]["either_kinds"] for asset in other):
        out.add("language_model")
    protocols = lookback.protocols if lookback else {}
    if predictive or "predictive" in protocols or (business.decisions_per_day and business.decisions_per_day.high > 0):
        out.add("predictive")
    if any(protocol != "predictive" for protocol in protocols):
        out.add("language_model")
    if business.action_limit is not None and business.action_limit.high > 0:
        out |= {"money_tools", "tools"}
    return frozenset(out)


def _has(
    rule: dict[str, Any], assets: tuple[Asset, ...], incidents: list[frozenset[str]], rules: list[frozenset[str]]
) -> bool:
    if MIXED not in rule and "task" not in rule:
        wanted = rule.get("words", ())
        for asset in assets:
            if asset.kind in rule.get("kinds", ()) and (
                not wanted or any(says(word, words(asset.name)) for word in wanted)
            ):
                return True
    elif any(asset.kind in rule.get("kinds", ()) for asset in assets):
        return True
    if any(says(entry, found) for entry in rule.get("incidents", ()) for found in incidents):
        return True
    return any(says(entry, found) for entry in rule.get("rules", ()) for found in rules)


def is_predictive(asset: Asset) -> bool:
    """Whether an asset belongs to a predictive model (a score, a class, a forecast) rather than a language model."""
    rule = catalog.load("losses/scenarios")["traits"]["predictive"]
    task = asset.attributes.get("task", "").lower()
    if task:
        return any(word in task for word in rule["task"])
    if asset.kind in (
        AssetKind.agent,
        AssetKind.prompt,
        AssetKind.embedding_model,
        AssetKind.mcp_server,
        AssetKind.tool,
    ):
        return False
    found = words(" ".join((asset.name, *asset.attributes.values())))
    return any(word in found for word in rule["words"])
