"""TARGET.yaml -> what is attacked, how it is spoken to, what its owner knows of it.

In: decoded YAML. Out: the struct `Target` and its parts; load.py reads and checks the file. Secrets stand in the environment, never in the file: wherever something is sent, ${NAME} may stand.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from afterguard.attack.contract import Aim, Canary, Surface
from afterguard.errors import UsageError
from afterguard.net import host_of
from afterguard.targets.scored import Scoring

FORMAT = "afterguard.target/1"
IDENTITY = "{{identity}}"
Through = Literal["direct", "guarded"]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A map of a target file: a key that nothing reads is an error."""


class Knows(Part, frozen=True, omit_defaults=True):
    """What the owner says of the application. What is missing is not tested, and the report says so."""

    purpose: str = ""
    system_prompt: str = ""
    canaries: tuple[Canary, ...] = ()
    tools: tuple[str, ...] = ()
    forbidden_tools: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    facts: dict[str, str] = {}


class Template(Part, frozen=True, omit_defaults=True):
    """Any interface: where the text goes in and where the answer stands. Texts that hold {{prompt}}, {{question}}, {{document}}, {{conversation}} or {{identity}} are filled in."""

    body: Any = None
    """A map or list, sent as JSON, or as a form where `form` is set; a text is sent as it is. Kind websocket: one message."""
    form: bool = False
    """Send the body as application/x-www-form-urlencoded."""
    query: dict[str, str] = {}
    """Parameters of the address."""
    reply: str = ".answer"
    """Path to the text: .a.b[0].c; "" takes all of it."""
    stream: str = ""
    """Path to the piece of text in each event of a stream; "data" where the events are no JSON."""
    end: str = ""
    """Path whose value is true in the last event of a stream, where the server leaves it open."""
    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    conversation: str = ""
    """Path of an id in the reply that the next turn sends as {{conversation}}."""
    then: Then | None = None


class Then(Part, frozen=True, omit_defaults=True):
    """A second request that fetches the answer, where the first one only gives a ticket. It is repeated until the answer is there."""

    url: str
    """Address, or a path at the target's host, with {{ticket}}."""
    ticket: str
    """Path of the ticket in the first reply."""
    every: Positive = 1.0
    """Seconds between two looks."""


class Audit(Part, frozen=True, omit_defaults=True):
    """Where a test instance lists what its tools did: read after each turn, and what is new there was done in it."""

    url: str
    """Address, or a path at the target's host; answers GET."""
    calls: str = ""
    """Path of the list; "" where it is the whole reply."""
    name: str = ".name"
    """In each of them, path of the tool's name."""
    arguments: str = ".arguments"
    """Path of its arguments."""


class Open(Part, frozen=True, omit_defaults=True):
    """A first request that opens a session, before each conversation. Its cookies are kept."""

    url: str
    """Address, or a path at the target's host."""
    method: Literal["POST", "PUT", "GET"] = "POST"
    body: Any = None
    form: bool = False
    take: str = ""
    """Path of an id in its reply, sent as {{conversation}}."""


class Mcp(Part, frozen=True, omit_defaults=True):
    """Kind mcp: the tool that is called, and which of its arguments holds the prompt."""

    tool: str
    argument: str = "text"
    arguments: dict[str, Any] = {}
    """Its other arguments."""
    example: str = ""
    """A value of the argument with which the tool does what it is for; with it the techniques for tools are tried. The tool has to be one that only reads: each request calls it."""


class Limits(Part, frozen=True, omit_defaults=True):
    """Where a run ends, whatever is left to try."""

    requests: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 600
    per_second: Positive = 2.0
    minutes: Amount = 30.0
    dollars: Amount = 5.0


class Price(Part, frozen=True, omit_defaults=True):
    """US dollars a million tokens."""

    tokens_in: Amount = 0.0
    tokens_out: Amount = 0.0


class Blocked(Part, frozen=True, omit_defaults=True):
    """How something before the model says no. Without it, a reply of Afterguard's own guard is known."""

    status: tuple[int, ...] = ()
    contains: str = ""


class Target(Part, frozen=True, omit_defaults=True, tag_field="format", tag=FORMAT):
    """One application under test."""

    name: str
    url: str
    guarded: str = ""
    """The same through a door of the guard, for a paired comparison: --through guarded."""
    kind: Literal[
        "openai", "responses", "anthropic", "gemini", "ollama", "bedrock-converse", "template", "websocket", "mcp",
        "kserve", "tfserving", "mlflow", "sagemaker", "torchserve", "scoring",
    ] = "openai"  # fmt: skip
    model: str = ""
    system: str = ""
    """Kinds of providers: the system prompt that is sent with each conversation, where the target is a model and not an application."""
    stream: bool = False
    """Kinds of providers: ask for a stream. Gemini and Bedrock say it in the address."""
    body: dict[str, Any] = {}
    """Kinds of providers: more fields of each request, as temperature."""
    headers: dict[str, str] = {}
    """{{identity}} stands for as whom it is asked, ${NAME} for what stands in the environment."""
    template: Template | None = None
    open: Open | None = None
    audit: Audit | None = None
    mcp: Mcp | None = None
    scoring: Scoring | None = None
    """Kinds of predictive models: rows, features, what an attacker can change, what a decision means."""
    listener: str = ""
    """Address at which the application reaches our listener, where that is another than the one it listens on: through a proxy, by a name."""
    surfaces: tuple[Surface, ...] = (Surface.user,)
    """Where texts of outsiders can enter."""
    offers: tuple[dict[str, Any], ...] = ()
    """Kinds of providers: tools as the API takes them."""
    knows: Knows = Knows()
    limits: Limits = Limits()
    price: Price = Price()
    blocked: Blocked = Blocked()
    timeout: Annotated[float, msgspec.Meta(gt=0, le=600)] = 60.0
    """Seconds for one reply."""

    @property
    def switches(self) -> bool:
        """Whether a request says as whom it is asked: {{identity}} in a header or in the template."""
        held = [*self.headers.values(), msgspec.json.encode(self.template.body).decode() if self.template else ""]
        return self.kind != "mcp" and any(IDENTITY in one for one in held)

    @property
    def requests_of_turn(self) -> int:
        """What a turn takes at most, before anything is known of how long the target makes one wait."""
        asks_twice = self.template is not None and self.template.then is not None
        return 1 + bool(self.open) + 2 * bool(self.audit) + asks_twice + 3 * bool(self.mcp)

    @property
    def host(self) -> str:
        return host_of(self.url)

    def through(self, way: Through) -> Target:
        """The target as it is spoken to: directly or through a door of the guard. Raises UsageError where it names no door."""
        if way == "direct":
            return self
        if not self.guarded:
            raise UsageError(f"{self.name} names no door of the guard", hint="guarded: URL in the target file", slug="bad-target")  # fmt: skip
        return msgspec.structs.replace(self, url=self.guarded, guarded="")

    def aim(self, seed: str, listener: str = "") -> Aim:
        """What a technique may know."""
        knows = self.knows
        return Aim(
            seed=seed,
            surfaces=frozenset(self.surfaces),
            canaries=knows.canaries,
            system_prompt=knows.system_prompt or self.system,
            purpose=knows.purpose,
            tools=knows.tools,
            forbidden_tools=knows.forbidden_tools,
            listener=listener,
            identities=knows.identities,
            switches=self.switches,
            shows_calls=self.template is None or self.audit is not None,
            example=self.mcp.example if self.mcp else "",
            facts=knows.facts,
        )
