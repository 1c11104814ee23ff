"""TARGET.yaml -> what is attacked, how it is spoken to, what its owner knows of it.

In: text, the environment. Out: `Target`. Raises UsageError with the line's name for whatever is wrong. Secrets stand in the environment, never in the file: a header's value may hold ${NAME}.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import yaml

from afterguard.attack.contract import Aim, Canary, Surface
from afterguard.errors import UsageError
from afterguard.net import host_of

FORMAT = "afterguard.target/1"
CAP = 1 << 20
IDENTITY = "{{identity}}"
VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


class Knows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the owner says of the application. What is missing is not tested, and the report says so."""

    purpose: str = ""
    system_prompt: str = ""
    canaries: tuple[Canary, ...] = ()
    tools: tuple[str, ...] = ()
    forbidden_tools: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    facts: dict[str, str] = {}


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Any JSON interface: where the text goes in and where the answer stands. Texts that hold {{prompt}}, {{conversation}} or {{identity}} are filled in."""

    body: Any
    reply: str = ".answer"
    """Path to the text: .a.b[0].c"""
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    conversation: str = ""
    """Path of an id in the reply that the next turn sends as {{conversation}}."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a run ends, whatever is left to try."""

    requests: int = 600
    per_second: float = 2.0
    minutes: float = 30.0
    dollars: float = 5.0


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """US dollars a million tokens."""

    tokens_in: float = 0.0
    tokens_out: float = 0.0


class Blocked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How something before the model says no. Without it, a reply of Afterguard's own guard is known."""

    status: tuple[int, ...] = ()
    contains: str = ""


class Target(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="format", tag=FORMAT
):
    """One application under test."""

    name: str
    url: str
    kind: Literal["openai", "template"] = "openai"
    model: str = ""
    system: str = ""
    """Kind openai: the system prompt that is sent with each conversation, where the target is a model and not an application."""
    headers: dict[str, str] = {}
    """{{identity}} stands for as whom it is asked, ${NAME} for what stands in the environment."""
    template: Template | None = None
    surfaces: tuple[Surface, ...] = (Surface.user,)
    """Where texts of outsiders can enter."""
    offers: tuple[dict[str, Any], ...] = ()
    """Kind openai: tools as the API takes them."""
    knows: Knows = Knows()
    limits: Limits = Limits()
    price: Price = Price()
    blocked: Blocked = Blocked()
    timeout: float = 60.0
    """Seconds for one reply."""

    @property
    def switches(self) -> bool:
        """Whether a request says as whom it is asked: {{identity}} in a header or in the template."""
        held = [*self.headers.values(), msgspec.json.encode(self.template.body).decode() if self.template else ""]
        return any(IDENTITY in one for one in held)

    @property
    def host(self) -> str:
        return host_of(self.url)

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
            shows_calls=self.template is None,
            facts=knows.facts,
        )


def load(text: str, name: str, environment: Mapping[str, str]) -> Target:
    """A target from its file. Raises UsageError."""
    if len(text) > CAP:
        raise UsageError(f"{name} is larger than a mebibyte", hint="is it a target file?", slug="bad-target")
    try:
        found = msgspec.convert(yaml.safe_load(text), Target, strict=False)
    except (yaml.YAMLError, RecursionError) as error:
        place = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f"{name}:{place + 1}" if place is not None else name
        raise UsageError(f"{where}: no YAML", hint="see docs/how-to/attack.md", slug="bad-target") from None
    except msgspec.ValidationError as error:
        raise UsageError(f"{name}: {error}", hint="see docs/how-to/attack.md", slug="bad-target") from None
    if not found.host:
        raise UsageError(f"{name}: url is no address", hint="https://HOST/PATH", slug="bad-target")
    if found.kind == "template" and found.template is None:
        raise UsageError(f"{name}: kind template needs a template", hint="template: {body: {text: '{{prompt}}'}, reply: .answer}", slug="bad-target")  # fmt: skip
    named = next((one for one in found.knows.identities if not (one.isascii() and one.isprintable())), None)
    if named is not None and any(IDENTITY in value for value in found.headers.values()):
        raise UsageError(f"{name}: the identity {named!a} cannot stand in a header", hint="letters, digits and signs of ASCII alone", slug="bad-target")  # fmt: skip
    return msgspec.structs.replace(found, headers={key: _filled(value, name, environment) for key, value in found.headers.items()})  # fmt: skip


def _filled(text: str, name: str, environment: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise UsageError(f"{name}: {match[1]} is not set", hint=f"export {match[1]}=...", slug="bad-target")
        return environment[match[1]]

    return VARIABLE.sub(value, text)
