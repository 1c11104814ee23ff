"""respond.yaml: where the guard is, what hooks may be called, which vector stores and registries there are, who may do what.

In: the text of a file. Out: `Settings`. What is not named there cannot be done. It opens nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from afterguard.errors import UsageError
from afterguard.policy.misfit import fitted
from afterguard.respond.vectors import Told

Text = Annotated[str, Meta(min_length=1, max_length=2_000)]
Alias = Annotated[str, Meta(pattern=r"^[^@/:\s][^@/:]{0,199}@[A-Za-z0-9_.-]{1,200}$")]
"""NAME@ALIAS in a registry."""
Seconds = Annotated[float, Meta(gt=0, le=600)]


class Hook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something of yours that may be called: an address or a command, exactly as it stands here."""

    url: str = ""
    """https://..., asked with POST and a signed JSON body."""
    undo_url: str = ""
    check_url: str = ""
    """Asked with GET after the act: 200 with {"in_effect": true} proves it."""
    secret: str = ""
    """File with the secret that signs the body."""
    command: list[Text] = []
    """Program and arguments; {target}, {value}, {act}, {case} stand for the act's own. No shell."""
    undo: list[Text] = []
    check: list[Text] = []
    """Exits with 0 where it is in effect, with 1 where it is not."""
    environment: list[Text] = []
    """Names of variables that the command may see; PATH is set, nothing else is."""
    timeout: Seconds = 30.0
    repeatable: bool = False
    """Whether calling it twice with one idempotency key does it once."""
    plain: bool = False
    """Whether http:// beyond this machine is taken."""


class Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A registry of models and prompts, and what of it may be rolled back."""

    kind: Literal["mlflow"]
    url: Text
    token: str = ""
    """File with a token; with `user`, with its password."""
    user: str = ""
    ca: str = ""
    """Certificates (PEM) that are trusted beside the system's."""
    models: dict[Text, Alias] = {}
    """What a case calls a model, or the mount that it stands behind -> its alias."""
    prompts: dict[Text, Alias] = {}
    """The mount, or what a case calls a prompt -> its alias."""
    plain: bool = False
    """Whether http:// beyond this machine is taken."""


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The guard that measures are for."""

    folder: str = ""
    """Its folder, with its key; empty: as the settings say."""
    listen: str = ""
    tls: bool = False
    measures: str = ""
    """The file it reads measures from, or that a web server shows to guards that pull; empty: in its folder."""
    key: str = ""
    """Ed25519 private key (PEM) that measures are signed with; empty: the guard's own."""
    points: dict[Text, Text] = {}
    """The other guards that take the same measures: name -> address, or a file with what one says at /metrics."""
    wait: Seconds = 20.0
    """Seconds to wait for those of them that do not have the newest measures yet."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A respond.yaml."""

    format: Literal["afterguard.respond/1"]
    guard: Guard | None = None
    hooks: dict[str, Hook] = {}
    vectors: dict[str, Told] = {}
    registries: dict[str, Registry] = {}
    policy: str = ""
    """The policy file that roll_back_policy may replace."""
    caps: dict[str, Annotated[int, Meta(ge=1, le=10_000)]] = {}
    """Kind of act -> targets of one plan."""
    roles: str = ""
    """The roles file."""
    playbooks: str = ""
    """A folder of your own playbooks, beside the catalogue's."""


def load(text: str, name: str) -> Settings:
    """Settings from a file's text. Raises UsageError."""
    found = fitted(text, name, Settings, see="see docs/how-to/respond.md", slug="bad-respond-settings")
    for key, hook in found.hooks.items():
        if bool(hook.url) == bool(hook.command):
            raise UsageError(f"{name}: hook {key} needs a url or a command, and not both", hint="url: https://... or command: [PROGRAM, ARGUMENT]", slug="bad-respond-settings")  # fmt: skip
        if hook.url and not hook.secret:
            raise UsageError(f"{name}: hook {key} has no secret to sign with", hint="secret: FILE", slug="bad-respond-settings")  # fmt: skip
        if hook.command and not hook.command[0].startswith("/"):
            raise UsageError(f"{name}: hook {key}: {hook.command[0]} is looked up nowhere", hint="give its whole path", slug="bad-respond-settings")  # fmt: skip
    for key, one in found.registries.items():
        if one.user and not one.token:
            raise UsageError(f"{name}: registry {key} has a user and no token", hint="token: FILE with the user's password", slug="bad-respond-settings")  # fmt: skip
    for what in ("models", "prompts"):
        named = [target for row in found.registries.values() for target in getattr(row, what)]
        for target in named:
            if named.count(target) > 1:
                raise UsageError(f"{name}: two registries have {what} for {target}", hint="name it in one of them", slug="bad-respond-settings")  # fmt: skip
    return found
