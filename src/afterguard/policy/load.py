"""YAML text -> Policy, compiled once, so that deciding is cheap.

In: the text of a policy file. Out: a frozen `Policy`: what the file says, its rules strongest first, and an index of rules by what
they need. An unknown key is an error that names its line and the nearest key. It opens no file.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from afterguard.config import nearest
from afterguard.detect.canary import SHORTEST, is_long_enough
from afterguard.errors import UsageError
from afterguard.match import Matcher, compile
from afterguard.model import ACTIONS, Action, Exchange, Verdict
from afterguard.policy.document import Document, Names, Rule, Scope, keys_of
from afterguard.policy.fields import group_of
from afterguard.policy.misfit import misfit
from afterguard.policy.read import Path, bad, read

EDITS = (Action.redact, Action.tokenise, Action.neutralise)
RULES_CAP = 1_000


class Globs(msgspec.Struct, frozen=True):
    """A compiled Scope: expressions by name, only those that were given."""

    tests: tuple[tuple[str, re.Pattern[str]], ...]

    def holds(self, values: Mapping[str, str]) -> bool:
        """Whether each value fits."""
        return all(test.match(values.get(name) or "") for name, test in self.tests)


class Compiled(msgspec.Struct, frozen=True):
    """A rule ready to be asked."""

    number: int
    """Place among the policy's rules, strongest first."""
    id: str
    says: str
    action: Action
    at: str
    enforced: bool
    group: str
    """exchange, hit, call, unjudged, or pair (a hit with the calls that belong to it)."""
    matcher: Matcher
    kinds: frozenset[str] | None
    """Kinds of hits one of which it needs; None: any."""
    scope: Globs | None
    document: Rule


class Plan(msgspec.Struct, frozen=True):
    """The rules of one side by what they need."""

    exchange: tuple[Compiled, ...]
    by_kind: dict[str, tuple[Compiled, ...]]
    hit: tuple[Compiled, ...]
    """Rules for hits of any kind; they stand in every row of by_kind too."""
    call: tuple[Compiled, ...]
    unjudged: tuple[Compiled, ...]


class Policy(msgspec.Struct, frozen=True):
    """A loaded policy."""

    name: str
    revision: str
    document: Document
    rules: tuple[Compiled, ...]
    request: Plan
    response: Plan
    calls: Plan
    """Of a request through an MCP mount: it is a call."""
    replies: Plan
    """Of a reply through one: it is what a tool says."""
    scope: Globs | None
    routes: tuple[tuple[re.Pattern[str], str], ...]
    exchange_fields: tuple[str, ...]
    hit_fields: tuple[str, ...]
    call_fields: tuple[str, ...]
    unjudged_fields: tuple[str, ...]
    nothing: Verdict
    """What is said where no rule matches."""


class Settings(msgspec.Struct, frozen=True):
    """What holds on one route."""

    mode: str
    share: float
    on_error: str
    budget: float


def load(text: str, name: str = "policy") -> Policy:
    """The policy of a text; `name` is what messages call it. Raises UsageError with line and remedy."""
    whole = read(text, name)
    if not isinstance(whole.value, dict):
        bad(name, 1, "not a policy", "begin with format: afterguard.policy/1")
    try:
        document = msgspec.convert(whole.value, Document)
    except msgspec.ValidationError as error:
        wrong = misfit(error, whole, Document, see="see afterguard policy schema", whole="the policy")
        bad(name, wrong.line, wrong.what, wrong.hint)
    return _policy(document, whole.value, whole.lines, name)


def plan_of(policy: Policy, at: str, exchange: Exchange) -> Plan:
    """The rules that are asked on this side of an exchange."""
    if exchange.protocol == "mcp":
        return policy.calls if at == "request" else policy.replies
    return policy.request if at == "request" else policy.response


def settings(policy: Policy, route: str) -> Settings:
    """Mode, share, failure and budget on a route: the policy's own, and what the first fitting glob changes."""
    document = policy.document
    mode, share, on_error, budget = document.mode, document.share, document.on_error, document.budget
    for glob, key in policy.routes:
        if glob.match(route):
            own = document.routes[key]
            mode = own.mode or mode
            share = share if own.share is None else own.share
            on_error = own.on_error or on_error
            budget = own.budget or budget
            break
    return Settings(mode, share, on_error, budget)


def names(given: Names) -> list[str]:
    """One name or several, as a list."""
    return [given] if isinstance(given, str) else given


def glob(patterns: Sequence[str]) -> re.Pattern[str]:
    """Shell globs as one expression; `*` also crosses slashes. Runs of * count once, so that none is slow."""
    squeezed = (re.sub(r"\*+", "*", one) for one in patterns)
    return re.compile("|".join(fnmatch.translate(one) for one in squeezed) or "(?!)")


def _policy(document: Document, content: Any, lines: Mapping[Path, int], name: str) -> Policy:
    if len(document.rules) > RULES_CAP:
        bad(name, lines.get(("rules",), 1), f"more than {RULES_CAP} rules", "split it into policies with a scope each")
    for index, text in enumerate(document.canaries):
        if not text.startswith("$") and not is_long_enough(text):
            bad(name, lines.get(("canaries", index), 1), f"the canary {text!r} is too short to be told from chance", f"at least {SHORTEST} letters and digits")  # fmt: skip
    seen: dict[str, int] = {}
    fields: dict[str, set[str]] = {"exchange": set(), "hit": set(), "call": set(), "unjudged": set()}
    built: list[Compiled] = []
    for index, rule in enumerate(document.rules):
        line = lines.get(("rules", index, "id"), 1)
        if rule.id in seen:
            bad(name, line, f"rule {rule.id} stands here twice (first on line {seen[rule.id]})", "give it another id")
        seen[rule.id] = line
        built.append(_rule(rule, index, lines, name, fields))
    ordered = sorted(built, key=lambda one: -ACTIONS.index(one.action))
    rules = tuple(msgspec.structs.replace(one, number=number) for number, one in enumerate(ordered))
    canonical = msgspec.json.encode(content, order="sorted")
    revision = f"{document.name}@{hashlib.sha256(canonical).hexdigest()[:12]}"
    for index, test in enumerate(document.tests):
        if test.expect.rule and test.expect.rule not in seen:
            line = lines.get(("tests", index, "expect", "rule"), 1)
            bad(name, line, f"no rule is called {test.expect.rule}", nearest(test.expect.rule, list(seen)))
    return Policy(
        name=document.name,
        revision=revision,
        document=document,
        rules=rules,
        request=_plan([one for one in rules if one.at in ("any", "identity", "request", "tool")]),
        response=_plan([one for one in rules if one.at in ("any", "identity", "response", "call")]),
        calls=_plan([one for one in rules if one.at in ("any", "identity", "request", "call")]),
        replies=_plan([one for one in rules if one.at in ("any", "identity", "response", "tool")]),
        scope=_globs(document.scope),
        routes=tuple((glob([key]), key) for key in document.routes),
        exchange_fields=tuple(sorted(fields["exchange"])),
        hit_fields=tuple(sorted(fields["hit"])),
        call_fields=tuple(sorted(fields["call"])),
        unjudged_fields=tuple(sorted(fields["unjudged"])),
        nothing=Verdict(policy=revision),
    )


def _rule(rule: Rule, index: int, lines: Mapping[Path, int], name: str, fields: dict[str, set[str]]) -> Compiled:
    line = lines.get(("rules", index, "detection"), 1)
    try:
        matcher = compile(rule.detection, rule.id)
        groups = set()
        for field in matcher.fields:
            group = group_of(field)
            groups.add(group)
            fields[group].add(field)
    except UsageError as error:
        bad(name, line, str(error), error.hint)
    if matcher.has_keywords:
        bad(name, line, f"rule {rule.id}: words without a field", "name the field: hit.excerpt|contains: word")
    if matcher.unused:
        bad(name, line, f"rule {rule.id}: the condition does not ask for {matcher.unused[0]}", "use it, or take it out")
    groups.discard("exchange")
    if "unjudged" in groups and len(groups) > 1:
        bad(name, line, f"rule {rule.id} names unjudged parts and hits or calls", "write two rules")
    group = "pair" if len(groups) > 1 else next(iter(groups), "exchange")
    action = Action(rule.action)
    _check(rule, action, group, lines.get(("rules", index, "action"), 1), name)
    return Compiled(
        number=index,
        id=rule.id,
        says=rule.says,
        action=action,
        at=rule.at,
        enforced=rule.stage == "enforce",
        group=group,
        matcher=matcher,
        kinds=matcher.required.get("hit.kind") if group in ("hit", "pair") else None,
        scope=_globs(rule.scope),
        document=rule,
    )


def _check(rule: Rule, action: Action, group: str, line: int, name: str) -> None:
    """What an action needs."""
    if action in EDITS and group not in ("hit", "pair"):
        bad(name, line, f"rule {rule.id}: {action} needs a place in a text", "name a field of hit, such as hit.kind")
    if action is Action.reroute and not rule.model:
        bad(name, line, f"rule {rule.id}: reroute needs a model", "add model: NAME")
    if action is Action.pin_version and not rule.version:
        bad(name, line, f"rule {rule.id}: pin_version needs a version", 'add version: "3"')
    if action is Action.pin_version and rule.at in ("response", "call"):
        bad(name, line, f"rule {rule.id}: a reply comes from the version it comes from", "write at: request")
    if action is Action.reroute and rule.at in ("response", "call"):
        bad(name, line, f"rule {rule.id}: a reply cannot be sent elsewhere", "write at: request")
    if group in ("call", "pair") and rule.at in ("request", "tool"):
        bad(name, line, f"rule {rule.id}: calls stand in replies", "write at: call, or leave it out")


def _globs(scope: Scope) -> Globs | None:
    given = [(field, names(getattr(scope, field))) for field in keys_of(Scope)]
    tests = tuple((field, glob(patterns)) for field, patterns in given if patterns)
    return Globs(tests) if tests else None


def _plan(rules: Sequence[Compiled]) -> Plan:
    hits = [one for one in rules if one.group in ("hit", "pair")]
    kinds = sorted({kind for one in hits for kind in one.kinds or ()})
    return Plan(
        exchange=tuple(one for one in rules if one.group == "exchange"),
        by_kind={kind: tuple(one for one in hits if one.kinds is None or kind in one.kinds) for kind in kinds},
        hit=tuple(one for one in hits if one.kinds is None),
        call=tuple(one for one in rules if one.group == "call"),
        unjudged=tuple(one for one in rules if one.group == "unjudged"),
    )
