"""What was found -> a first policy, as YAML that reads as a sentence and waits for a person.

In: a Survey and, where traffic was given, a Lookback. Out: text. Every rule says which evidence asked for it, starts in
observe mode and uses Sigma's `field|modifier: value` grammar, so that hunting rules and policy are one dialect.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

import yaml

from afterguard.model import Asset, AssetKind, Lookback, Survey
from afterguard.safe import line

FORMAT = "afterguard.policy/1"


class Response(NamedTuple):
    """What a kind of suspected incident asks for."""

    rule: str
    action: str
    sentence: str
    where: str = "response"


RESPONSES = {
    "secret_in_output": Response("no-secrets-in-answers", "redact", "a secret stands in the model's answer"),
    "secret_in_input": Response("no-secrets-in-prompts", "tokenise", "a secret stands in the prompt", "request"),
    "pii_of_another": Response(
        "no-data-of-others", "redact", "the answer holds identifiers nobody in the conversation gave"
    ),
    "exfil_link": Response("no-data-in-links", "neutralise", "a link in the answer carries data to an unknown host"),
    "system_prompt_leak": Response("instructions-stay-inside", "block", "the answer repeats the instructions"),
    "invisible_text": Response(
        "no-invisible-text", "neutralise", "the text holds characters no person can see", "request"
    ),
    "encoded_payload": Response("no-hidden-orders", "flag", "an encoded text holds instructions", "request"),
    "injection_followed": Response(
        "orders-from-outsiders", "neutralise", "a tool result or document gives orders", "tool"
    ),
    "injection_ignored": Response(
        "orders-from-outsiders", "neutralise", "a tool result or document gives orders", "tool"
    ),
    "unexplained_tool_call": Response(
        "calls-need-a-reason", "ask", "a call's arguments come only from third-party text", "call"
    ),
    "jailbreak": Response("no-jailbreaks", "flag", "the user asks the model to leave its rules", "request"),
    "prompt_extraction": Response("no-prompt-extraction", "flag", "the user asks for the instructions", "request"),
    "burst": Response("steady-use-of-keys", "throttle", "a key is used far above what is usual", "identity"),
    "cost_anomaly": Response("budget-of-keys", "throttle", "a key spends far above what is usual", "identity"),
    "key_misuse": Response("keys-stay-home", "block", "a key is used from a place it was never used from", "identity"),
    "evasion_walk": Response(
        "no-walks-around-a-decision", "throttle", "near-identical inputs are tried around a decision", "identity"
    ),
    "model_extraction": Response(
        "no-systematic-coverage", "throttle", "inputs cover the space systematically", "identity"
    ),
    "membership_probing": Response(
        "no-probing-of-records", "withhold", "the same records are asked about with a grain of noise", "identity"
    ),
    "label_harvesting": Response("no-labelled-copies", "throttle", "a caller has a data set labelled", "identity"),
}
DANGER = ("dangerous-tool-without-approval", "agent-without-approval")


def draft(survey: Survey, lookback: Lookback | None) -> str:
    """The policy text. Deterministic for the same input."""
    rules = _from_incidents(lookback) + _from_tools(survey) + _from_providers(survey.assets)
    body: dict[str, Any] = {
        "format": FORMAT,
        "name": line(survey.app.name, 120) or "draft",
        "app": survey.app.name,
        "mode": "observe",
        "on_error": "open",
        "rules": rules,
    }
    head = (
        f"# Draft policy for {line(survey.app.name, 120)}, made from what was found. Nothing enforces it yet.\n"
        "# Read each rule, strike what is wrong, keep `mode: observe` until its figures are known.\n"
    )
    return head + yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110)


def _from_incidents(lookback: Lookback | None) -> list[dict[str, Any]]:
    if lookback is None:
        return []
    counted = Counter[str]()
    kinds: dict[str, set[str]] = {}
    for incident in lookback.incidents:
        response = RESPONSES.get(incident.kind)
        if response:
            counted[response.rule] += 1
            kinds.setdefault(response.rule, set()).add(incident.kind)
    out = []
    for response in dict.fromkeys(RESPONSES.values()):
        if response.rule in kinds:
            out.append(
                _rule(
                    response.rule,
                    f"When {response.sentence}: {response.action}.",
                    f"{counted[response.rule]} suspected incident(s) in the recorded traffic",
                    {"hit.kind": sorted(kinds[response.rule]), "hit.confidence|gte": "medium"},
                    response.action,
                    response.where,
                )
            )
            kinds.pop(response.rule)
    return out


def _from_tools(survey: Survey) -> list[dict[str, Any]]:
    names = sorted(
        {one.asset.split(":", 1)[1] for one in survey.findings if one.rule in DANGER and one.asset.startswith("tool:")}
    )
    if not names:
        return []
    sentence = "When the model calls a tool that acts on the world: ask a person."
    return [
        _rule(
            "acting-tools-need-a-person",
            sentence,
            f"{len(names)} tool(s) act without approval",
            {"call.tool": [_literal(name) for name in names]},
            "ask",
            "call",
        )
    ]


def _from_providers(assets: tuple[Asset, ...]) -> list[dict[str, Any]]:
    declared = sorted(
        {
            one.name
            for one in assets
            if one.kind in (AssetKind.provider, AssetKind.cloud_ai_service)
            and any(item.source in ("code", "config", "infrastructure", "manifest") for item in one.evidence)
        }
    )
    if not declared:
        return []
    return [
        {
            "id": "only-known-providers",
            "says": "When a request goes to a provider that code and configuration do not name: flag.",
            "because": f"{len(declared)} provider(s) are declared",
            "at": "request",
            "detection": {
                "known": {"exchange.provider": [_literal(name) for name in declared]},
                "condition": "not known",
            },
            "action": "flag",
        }
    ]


def _literal(name: str) -> str:
    """A name as a value of a rule: no wildcards in it."""
    return re.sub(r"([*?\\])", r"\\\1", name)


def _rule(identity: str, says: str, because: str, selection: dict[str, Any], action: str, at: str) -> dict[str, Any]:
    return {
        "id": identity,
        "says": says,
        "because": because,
        "at": at,
        "detection": {"selection": selection, "condition": "selection"},
        "action": action,
    }
