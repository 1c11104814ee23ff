"""Whether a call reaches a model, cleans a value or reads what a user wrote, by its name in any language.

In: callee names with imports resolved, from code.syntax. Out: yes or no, from the dated lists of catalog/rules/model_calls.
It judges names only; where the values go is flow's work.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

from afterguard import catalog
from afterguard.code.syntax import Module


@lru_cache(maxsize=65536)
def fold(name: str) -> str:
    """A callee name made comparable between languages: lower case, no underscores, no call brackets, no optional chaining."""
    return name.replace("()", "").replace("_", "").replace("?.", ".").replace("!.", ".").replace("[]", "").lower()


_STORES = {
    "session",
    "driver",
    "conn",
    "connection",
    "cursor",
    "cur",
    "db",
    "database",
    "engine",
    "graph.db",
    "pool",
    "redis",
    "tx",
    "browser",
    "page",
}


class Tails:
    """Names that are compared by their last dotted words."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_last: dict[str, list[str]] = {}
        for name in names:
            self._by_last.setdefault(fold(name).rsplit(".", 1)[-1], []).append(fold(name))

    def match(self, folded: str) -> str:
        """The listed name that `folded` ends with, on a dot boundary, "" when none does."""
        best = ""
        for name in self._by_last.get(folded.rsplit(".", 1)[-1], ()):
            if (folded == name or folded.endswith(("." + name, "/" + name, ":" + name))) and len(name) > len(best):
                best = name
        return best


class Words:
    """The lists of catalog/rules/model_calls, compiled."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.strong = Tails(data["strong"])
        self.with_package = Tails(data["with_package"])
        self.methods = {fold(name) for name in data["methods"]}
        self.receivers = {fold(name) for name in data["receivers"]}
        self.receivers_with_package = {fold(name) for name in data["receivers_with_package"]}
        self.not_models = tuple(fold(name) for name in data["not_models"])
        self.metadata = {fold(name) for name in data["metadata"]}
        self.packages = {name.lower() for name in data["packages"]}
        self.addresses = (*data["hosts"], *data["paths"])
        self.requests = {fold(name) for name in data["requests"]}
        self.sanitisers = {fold(name): frozenset(kinds) for name, kinds in data["sanitisers"].items()}
        self.sanitiser_tails = Tails(data["sanitisers"])
        self.sanitiser_words = tuple(data["sanitiser_words"])
        self.user_calls = Tails(data["user_calls"])
        names = "|".join(re.escape(fold(name)) for name in data["user_names"])
        self.user_pattern = re.compile(rf"\.(?:{names})\.")
        self.user_params = {fold(name) for name in data["user_params"]}


@cache
def words() -> Words:
    """The compiled lists, once a process."""
    return Words(catalog.load("rules/model_calls"))


@lru_cache(maxsize=65536)
def is_ai_package(dotted: str) -> bool:
    """Whether a module or resolved name belongs to an AI package: openai.OpenAI, @langchain/core, com.openai.client."""
    name = dotted.lower().strip("\"'")
    known = words().packages
    if name in known:
        return True
    for position, char in enumerate(name):
        if char in "./-:" and name[:position] in known and not (char == "-" and not name.startswith("@")):
            return True
    return name.startswith(("langchain_", "llama_index", "llama-index", "@langchain", "langchain4j"))


def uses_ai(module: Module) -> bool:
    """Whether a file imports an AI package."""
    return any(is_ai_package(one.module) or is_ai_package(f"{one.module}.{one.name}") for one in module.imports)


def is_model_call(name: str, is_handle: bool, with_ai: bool, constants: Iterable[str]) -> bool:
    """Whether the callee `name` (resolved) runs a model.

    `is_handle`: its receiver came from an AI package. `with_ai`: the file imports one. `constants`: literal arguments, for
    requests to a provider's address.
    """
    if _is_named_model_call(name, is_handle, with_ai):
        return True
    known = words()
    if fold(name).rsplit(".", 1)[-1] in known.requests:
        return any(address in text for text in constants for address in known.addresses)
    return False


@lru_cache(maxsize=65536)
def _is_named_model_call(name: str, is_handle: bool, with_ai: bool) -> bool:
    known = words()
    folded = fold(name)
    last = folded.rsplit(".", 1)[-1]
    if known.strong.match(folded):
        return True
    receiver = folded[: -len(last) - 1] if "." in folded else ""
    if last in known.methods and receiver.endswith(("queryengine", "chatengine")):
        return True
    if any(word in receiver for word in known.not_models):
        return False
    if (is_handle or with_ai) and known.with_package.match(folded):
        return True
    if last in known.methods and receiver:
        nearest = receiver.rsplit(".", 1)[-1]
        if nearest in _STORES:
            return False
        if is_handle or nearest in known.receivers or (with_ai and nearest in known.receivers_with_package):
            return True
    return False


@lru_cache(maxsize=65536)
def cleans(name: str) -> frozenset[str]:
    """What the result of a call is safe for: kinds of sink, {"all"} when nothing of the text is left, empty for nothing."""
    known = words()
    folded = fold(name)
    found = known.sanitiser_tails.match(folded)
    if found:
        return known.sanitisers[found]
    last = folded.rsplit(".", 1)[-1]
    if last.startswith(("modelvalidate", "validatejson", "validatepython", "validatestrings")):
        return frozenset()
    if any(word in last for word in known.sanitiser_words) or last.startswith(
        ("is", "has", "check", "verify", "ensure")
    ):
        return frozenset({"all"}) if last.startswith(("is", "has")) else frozenset({"any"})
    return frozenset()


@lru_cache(maxsize=65536)
def is_user_text(folded: str) -> bool:
    """Whether a folded dotted name reads what came in with a request."""
    return words().user_pattern.search(f".{folded}.") is not None
