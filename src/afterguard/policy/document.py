"""A policy as it stands in a file: the structs that its YAML must fit, and the JSON Schema made of them.

In: nothing. Out: `Document` and what it holds, `schema()`. Meaning is given to it by load.py and decide.py. Grows only by addition.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

FORMAT = "afterguard.policy/1"
Mode = Literal["observe", "shadow", "share", "enforce"]
OnError = Literal["open", "closed"]
At = Literal["any", "request", "response", "call", "tool", "identity"]
Stage = Literal["enforce", "shadow"]
ActionName = Literal[
    "allow", "flag", "redact", "tokenise", "neutralise", "round", "withhold", "pin_version", "step_up", "throttle", "step_down",
    "reroute", "ask", "block",
]  # fmt: skip
Names = str | list[str]
Identifier = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$", description="kebab-case, for ever")]
Share = Annotated[float, Meta(ge=0, le=1, description="share of conversations in which mode share enforces")]
Milliseconds = Annotated[float, Meta(gt=0, le=600_000, description="time for one judgement, in milliseconds")]
Positive = Annotated[int, Meta(ge=1)]


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where it holds: names or globs; what is left out holds everywhere."""

    app: Names = []
    route: Names = []
    identity: Names = []
    environment: Names = []


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is different on the routes whose name fits the glob; the first glob that fits counts."""

    mode: Mode | None = None
    share: Share | None = None
    on_error: OnError | None = None
    budget: Milliseconds | None = None


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one caller may use; the guard counts."""

    per: Literal["identity", "key", "conversation", "app"] = "identity"
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    request_bytes: Positive | None = None
    concurrent: Positive | None = None


class Tools(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is known of the application's tools; detectors compare."""

    allow: list[str] = []
    """Names or globs; empty: every tool."""
    arguments: dict[str, dict[str, Any]] = {}
    """Tool -> JSON Schema of its arguments."""
    pin: dict[str, Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]] = {}
    """Tool -> SHA-256 of its description and parameters."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One sentence of the policy."""

    id: Identifier
    says: Annotated[str, Meta(min_length=1, max_length=400, description="the rule as a sentence")]
    detection: Annotated[dict[str, Any], Meta(description="Sigma: named selections and a condition")]
    action: ActionName
    because: str = ""
    """What asked for it."""
    at: At = "any"
    stage: Stage = "enforce"
    """shadow: only written down, whatever the mode."""
    scope: Scope = Scope()
    replacement: Annotated[str, Meta(max_length=200)] | None = None
    """What redact puts in place; {kind} stands for what was found."""
    model: str = ""
    """Where reroute sends it: a model of the same API, as the provider names it; in the body and in the path."""
    wait: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    """Seconds that throttle asks to wait."""
    tools: Names = []
    """Tools that step_down takes away from the offer: names or globs; empty: those that act on the world."""
    digits: Annotated[int, Meta(ge=0, le=15)] = 2
    """Digits behind the point that round leaves of a score."""
    version: Annotated[str, Meta(max_length=128)] = ""
    """The version that pin_version sends to, as the server names it."""
    answer: dict[str, Any] | None = None
    """What step_up answers instead of the model; without it the reply passes with the header x-afterguard-step-up."""


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a test expects."""

    action: ActionName
    rule: str = ""
    would: ActionName | None = None
    """What rules in shadow would have done."""
    gone: Names = []
    """Texts that must not remain after the edits."""
    kept: Names = []
    """Texts that must remain."""
    calls: list[str] | None = None
    """Tools whose calls are taken out of the reply."""


class Test(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An example with the verdict it must get when the policy is enforced."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    exchange: Annotated[
        dict[str, Any],
        Meta(
            description="messages (OpenAI form) and tools; or request and response bodies; or plain hits, calls, unjudged, prediction"
        ),
    ]
    expect: Expect
    at: Literal["request", "response"] | None = None
    """Only this side; otherwise both, and the stronger verdict counts."""
    facts: dict[str, Any] = {}
    """route, identity, environment, conversation, prompt, fields."""


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A policy file."""

    format: Literal["afterguard.policy/1"]
    name: Annotated[str, Meta(min_length=1, max_length=120)]
    rules: list[Rule]
    app: str = ""
    """The application it was drafted for; scope says where it holds."""
    says: str = ""
    mode: Mode = "observe"
    share: Share = 1.0
    on_error: OnError = "open"
    budget: Milliseconds = 50.0
    routes: dict[str, Route] = {}
    """Glob over route names -> what is different there."""
    scope: Scope = Scope()
    limits: Limits = Limits()
    canaries: list[str] = []
    """Texts that must never leave; $NAME is read from the guard's environment."""
    again: Annotated[int, Meta(ge=0, le=5)] = 2
    """How often the model is asked again when step_down took out every call of a whole reply; then the turn ends with the rule's sentence."""
    plant: bool = False
    """Whether a reference that means nothing is put at the end of the system prompt, to see where it comes out."""
    tools: Tools = Tools()
    freeze: list[Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d/\d{4}-\d\d-\d\d$")]] = []
    """Days on which nothing is promoted, both ends included, UTC: 2026-12-20/2027-01-03."""
    tests: list[Test] = []


KINDS: dict[tuple[str, ...], type[msgspec.Struct]] = {
    (): Document,
    ("scope",): Scope,
    ("limits",): Limits,
    ("tools",): Tools,
    ("routes", "*"): Route,
    ("rules", "*"): Rule,
    ("rules", "*", "scope"): Scope,
    ("tests", "*"): Test,
    ("tests", "*", "expect"): Expect,
}
"""Which struct stands at which path; * is any element or key."""


def keys_of(kind: type[msgspec.Struct]) -> list[str]:
    """Keys that a struct takes, in their order."""
    return [field.name for field in msgspec.structs.fields(kind)]


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a policy file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": FORMAT,
        **msgspec.json.schema(Document),
    }
