"""The alias of a registered model or prompt set back to an earlier version, and to where it was. MLflow's registry, over its REST API 2.0.

In: an act, the registries that respond.yaml names. Out: an alias moved, and the registry asked again where it points. Who loads `models:/NAME@ALIAS` or `prompts:/NAME@ALIAS` gets the earlier version the next time
it loads. A target is what a case calls a model, prompt or mount; only what respond.yaml names for it can be moved. Nothing else is written, and nothing is deleted. What a server says is read into structs, and cut.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlencode

import msgspec

from afterguard import files, net
from afterguard.errors import AfterguardError, Unreachable, UsageError
from afterguard.respond.act import Act
from afterguard.respond.engine import State
from afterguard.respond.settings import Registry

CAP = 4 << 20
"""Bytes of a reply: the latest versions of a prompt come with their texts."""
API = "/api/2.0/mlflow/"
ALIASES, MODEL, VERSION = "registered-models/alias", "registered-models/get", "model-versions/get"
IS_PROMPT = "mlflow.prompt.is_prompt"
"""The tag that makes a registered model a prompt."""
PROMPT = "roll_back_prompt"
NUMBER = re.compile("[1-9][0-9]{0,8}")
"""A version, as the registry spells it."""
Way = Callable[[Registry], net.Way]


class Place(NamedTuple):
    """What an act is about."""

    registry: str
    name: str
    alias: str

    def __str__(self) -> str:
        return f"{self.name}@{self.alias}"


class Tag(msgspec.Struct):
    """A tag."""

    key: str
    value: str = ""


class Alias(msgspec.Struct):
    """An alias, and where it points."""

    alias: str
    version: str


class Registered(msgspec.Struct):
    """A registered model, or a prompt."""

    tags: list[Tag] = []
    aliases: list[Alias] = []


class Version(msgspec.Struct):
    """One version of it."""

    status: str = "READY"


class Said(msgspec.Struct):
    """A reply."""

    registered_model: Registered | None = None
    model_version: Version | None = None
    message: str = ""


class Registries:
    """See engine.Adapter."""

    def __init__(self, registries: Mapping[str, Registry], way: Way = lambda _: net.Way()) -> None:
        self.registries, self.way = registries, way

    def objections(self, act: Act) -> list[str]:
        """See Adapter."""
        try:
            place = self._place(act)
            if not NUMBER.fullmatch(act.value):
                return [f"{act.value!r} is no version"]
            here = self._pointed(act, place)
            if not here:
                return [f"{place.name} has no alias {place.alias}"]
            if here == act.value:
                return [f"{place} is version {here} already"]
            found = self._ask(place, "GET", VERSION, {"name": place.name, "version": act.value}).model_version
            if found is None or found.status != "READY":
                return [f"version {act.value} of {place.name} is not ready"]
        except AfterguardError as error:
            return [f"{error}"]
        return []

    def before(self, act: Act) -> dict[str, Any]:
        """See Adapter."""
        place = self._place(act)
        return {**place._asdict(), "version": self._pointed(act, place)}

    def do(self, act: Act, until: float) -> dict[str, Any]:
        """See Adapter."""
        return self._point(self._place(act), act.value)

    def undo(self, act: Act, before: dict[str, Any]) -> dict[str, Any]:
        """See Adapter."""
        place, version = self._place(act), str(before.get("version") or "")
        if before and place != Place(*(str(before.get(key, "")) for key in Place._fields)):
            raise UsageError(f"respond.yaml names {place} now, and it was another", hint="set the alias by hand", slug="no-undo")  # fmt: skip
        here = self._pointed(act, place)
        if here != act.value:
            return {"left": here}  # it was never moved, or somebody moved it since, who had a reason
        if not version:
            raise UsageError(f"nobody wrote down where {place} pointed", hint="set it by hand", slug="no-undo")
        return self._point(place, version)

    def state(self, act: Act) -> State:
        """See Adapter."""
        try:
            place = self._place(act)
            here = self._pointed(act, place)
        except AfterguardError as error:
            return State("unknown", f"{error}")
        return State("in_effect" if here == act.value else "not", f"{place.registry} says {place} is version {here or 'none'}")  # fmt: skip

    def is_repeatable(self, act: Act) -> bool:
        """See Adapter."""
        return True

    def is_provable(self, act: Act) -> bool:
        """See Adapter."""
        return True

    def _place(self, act: Act) -> Place:
        what = "prompts" if act.do == PROMPT else "models"
        for registry, one in self.registries.items():
            named = getattr(one, what).get(act.target)
            if named:
                name, _, alias = named.rpartition("@")
                return Place(registry, name, alias)
        known = sorted({key for one in self.registries.values() for key in getattr(one, what)})
        raise UsageError(f"respond.yaml names none of {what} for {act.target}", hint=f"registries.NAME.{what}; known: {', '.join(known) or 'none'}", slug="registry-failed")  # fmt: skip

    def _pointed(self, act: Act, place: Place) -> str:
        """The version that the alias points to, "" where there is no such alias. Raises AfterguardError where nothing of the kind is registered."""
        found = self._ask(place, "GET", MODEL, {"name": place.name}).registered_model
        if found is None:
            _failed(place, "its reply names no registered model")
        is_prompt = any(tag.key == IS_PROMPT and tag.value.lower() == "true" for tag in found.tags)
        if is_prompt is not (act.do == PROMPT):
            raise UsageError(f"{place.name} is a {'prompt' if is_prompt else 'model'}", hint="roll_back_prompt is for prompts, roll_back_model for models", slug="registry-failed")  # fmt: skip
        return next((one.version[:20] for one in found.aliases if one.alias == place.alias), "")

    def _point(self, place: Place, version: str) -> dict[str, Any]:
        self._ask(place, "POST", ALIASES, {"name": place.name, "alias": place.alias, "version": version})
        return {"registry": place.registry, "alias": str(place), "version": version}

    def _ask(self, place: Place, method: str, path: str, told: Mapping[str, str]) -> Said:
        """What the registry says. Raises AfterguardError."""
        one = self.registries[place.registry]
        url, body = one.url.rstrip("/") + API + path, msgspec.json.encode(told) if method == "POST" else None
        headers = {"accept": "application/json", "content-type": "application/json", **_known(one)}
        reply = net.ask(method, url if body else f"{url}?{urlencode(told)}", allow=[net.host_of(url)], headers=headers, body=body, way=self.way(one), cap=CAP, is_plain=one.plain)  # fmt: skip
        try:
            said = msgspec.json.decode(reply.body, type=Said)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            said = None
        if reply.status != 200:
            _failed(place, f"it says {reply.status}: {said.message[:200] if said else ''}")
        if said is None:
            _failed(place, "it is no registry of MLflow's")
        return said


def _known(one: Registry) -> dict[str, str]:
    """The header that says who asks. Raises UsageError."""
    if not one.token:
        return {}
    found = files.secret(one.token)
    return {"authorization": "Basic " + b64encode(f"{one.user}:{found}".encode()).decode() if one.user else f"Bearer {found}"}  # fmt: skip


def _failed(place: Place, why: str) -> NoReturn:
    raise Unreachable(f"the registry {place.registry} does not do it: {why}", hint="is it there, and may we write?", slug="registry-failed")  # fmt: skip
