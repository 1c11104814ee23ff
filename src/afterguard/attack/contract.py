"""What a technique says to an application under test, what it hears, and what it may claim.

In: nothing. Out: structs. A technique is a generator: it yields a Prompt, is sent a Reply, and returns a Claim or None (resisted). It never sees a socket, a clock or a model; what it may use of the target stands in
its `Aim`. Whatever the target could have said without giving way is no claim: see oracles.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import StrEnum
from typing import NamedTuple

import msgspec

from afterguard.model import Severity


class Surface(StrEnum):
    """Where a text can enter the application. All but the first can be written by an outsider."""

    user = "user"
    document = "document"
    mail = "mail"
    page = "page"
    tool_result = "tool_result"
    file_name = "file_name"
    image_text = "image_text"
    tool_description = "tool_description"
    memory = "memory"


class Plant(msgspec.Struct, frozen=True, omit_defaults=True):
    """A text that an outsider wrote and that reaches the application with this turn. `name` is that of the file, the subject, the page."""

    surface: Surface
    content: str
    name: str = ""


class Prompt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn."""

    text: str
    plants: tuple[Plant, ...] = ()
    is_new: bool = False
    """Whether it begins a new conversation; the first turn of a trial always does."""
    identity: str = ""
    """As whom it is asked, of those the target file names; "" the first."""
    leaves: str = ""
    """What this turn leaves behind in the application, in words for whoever cleans up; "" nothing. It is written down before the turn is sent."""
    removes: str = ""
    """What is gone after this turn, in the same words: where it was answered, and the answer does not say `unless`."""
    unless: str = ""
    """What an answer says as long as the thing to be removed is still there."""

    def sent(self) -> str:
        """Everything the application is given with this turn, for oracles that must not be fooled by an echo."""
        return "\n".join([self.text, *(f"{plant.name}\n{plant.content}" for plant in self.plants)])


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool call the application made, as far as it shows."""

    name: str
    arguments: str = ""


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened outside the conversation: our listener was asked, our mock tool called, our tenant's record changed."""

    kind: str
    what: str


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came back of one turn."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    status: int = 200
    error: str = ""
    """Why nothing that can be judged came back, in a fixed word: see trial.ERRORS."""
    is_blocked: bool = False
    """Whether something before the model refused it and said so: a guard, a filter."""
    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    requests: int = 1
    """That the turn took: some conversations have to be opened first."""


class Canary(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value that was planted and must not come out: in the system prompt, in a document, in another tenant's record."""

    value: str
    place: str = "system prompt"
    owner: str = ""
    """Whose it is, where it is another identity's."""


class Aim(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a technique may know and use. Everything random in a trial comes from `seed`."""

    seed: str
    surfaces: frozenset[Surface] = frozenset({Surface.user})
    canaries: tuple[Canary, ...] = ()
    system_prompt: str = ""
    purpose: str = ""
    """What the application is for, in a few words of its owner."""
    tools: tuple[str, ...] = ()
    forbidden_tools: tuple[str, ...] = ()
    """Tools that nothing in these conversations entitles anybody to call."""
    listener: str = ""
    """Address of our own listener, without a slash at its end; "" where there is none."""
    identities: tuple[str, ...] = ()
    switches: bool = False
    """Whether a turn can be asked as another identity than the first."""
    shows_calls: bool = True
    """Whether a reply says which tools were called: where it does not, that none was called is not known."""
    example: str = ""
    """What a tool works with that is called directly; "" where no tool is."""
    facts: dict[str, str] = {}
    """What the owner says is true: refund limit, price of a product."""


class Claim(msgspec.Struct, frozen=True):
    """That the application gave way, and what shows it."""

    oracle: str
    evidence: str
    """The part of a reply, the call, the receipt."""


Attack = Generator[Prompt, Reply, Claim | None]


class Forms(NamedTuple):
    """A technique's conversation and its twin, both by (aim, variant)."""

    attack: Callable[[Aim, str], Attack]
    twin: Callable[[Aim, str], Attack]


NEEDS = (
    "document", "mail", "page", "tool_result", "file_name", "image_text", "tool_description", "memory",
    "canary", "system_prompt", "purpose", "tools", "forbidden_tools", "listener", "identities", "facts", "joins",
    "canary_of_other", "canary_in_document", "second_identity", "switches", "shows_calls", "fact_limit", "fact_number", "fact_packages", "fact_off_purpose",
    "example", "canary_at_address", "canary_in_file",
)  # fmt: skip


class Technique(NamedTuple):
    """One family of attacks."""

    id: str
    title: str
    kind: str
    """Attack kind, as in names.KINDS_OF_ATTACK."""
    severity: Severity
    taxonomies: tuple[str, ...]
    fix: str
    """What mends it in the application, in a sentence or two."""
    rule: str
    """Id of the rule of the shipped policy `strict`, or of those to add (`extra`), that holds it off meanwhile; "" where no rule can."""
    variants: tuple[str, ...]
    """Names of its forms; each is tried."""
    attack: Callable[[Aim, str], Attack]
    """(aim, variant) -> the conversation."""
    twin: Callable[[Aim, str], Attack]
    """The same conversation with nothing bad in it: what the application says then is how it talks."""
    needs: frozenset[str] = frozenset()
    """Of NEEDS: what the target file has to offer."""
    is_read_only: bool = True
    """Whether nothing stays behind in the application."""
    turns: int = 1
    """Requests that one trial takes at most, its twin not counted, and its clean-up neither."""
    clean: Callable[[Aim, str], Attack] | None = None
    """Turns that take away what `attack` or `twin` left, the last of them `removes` it. Run after every trial, however it ended."""

    @property
    def is_of_tool(self) -> bool:
        """Whether it is for a tool that is called directly, and hears its errors."""
        return "example" in self.needs
