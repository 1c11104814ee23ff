"""URL paths, user agents and ports that AI interfaces are known by, matched against one request.

In: a method with a path, a user agent, a port. Out: the catalog's entry, or None. Marks add up in tally.py: one alone is no claim.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from afterguard.catalog import load


class Shape(NamedTuple):
    """A path that says AI. `marks` 2 claims on its own, 1 needs a second sign; `model` is the model named in the path."""

    id: str
    method: str
    marks: int
    api: str
    kind: str
    task: str = ""
    family: str = ""
    product: str = ""
    segment: str = ""
    """The path segment after which the model's name stands."""


class Agent(NamedTuple):
    """Who called. `use`: sdk, staff, crawler, plain."""

    family: str
    use: str
    api: str = ""


@cache
def _shapes() -> list[tuple[re.Pattern[str], Shape]]:
    out = []
    for row in load("signals/paths")["paths"]:
        signal = Shape(
            row["id"], row["method"], row["marks"], row["api"], row["kind"], row.get("task", ""), row.get("family", ""),
            row.get("product", ""), row.get("model", ""),
        )  # fmt: skip
        out.append((re.compile(expression(row["shape"])), signal))
    return out


def expression(shape: str) -> str:
    """The regular expression of a catalog shape, anchored at both ends."""
    body = re.escape(shape).replace(r"\*\*/", "(?:/[^/]+){0,12}?/" if not shape.startswith("**") else "@@")
    body = body.replace("@@", "(?:/[^/]+){0,12}?/", 1).replace(r"/\*\*", "/.+").replace(r"\*", "[^/]+")
    return rf"\A{body}/?\Z" if not shape.endswith("/") else rf"\A{body}\Z"


@lru_cache(maxsize=65536)
def path(method: str, text: str) -> tuple[Shape, str] | None:
    """The strongest shape of a path with the model it names ("" when none). `method` "" fits every shape."""
    text = text[:2048]
    best: tuple[Shape, str] | None = None
    for pattern, signal in _shapes():
        if method and signal.method and method != signal.method:
            continue
        if pattern.match(text):
            model = model_of(text, signal.segment)
            if best is None or (signal.marks, bool(model)) > (best[0].marks, bool(best[1])):
                best = (signal, model)
    return best


def model_of(text: str, segment: str) -> str:
    """The model after the segment, percent-decoded, without the verb: /models/gemini-2.0:generateContent -> gemini-2.0."""
    if not segment:
        return ""
    parts = text.split("/")
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == segment:
            name = unquote(parts[at + 1])[:200]
            if segment in ("models", "endpoints") and ":" in parts[at + 1]:
                name = unquote(parts[at + 1].rpartition(":")[0])[:200]
            return name if re.fullmatch(r"[\w.:/@+-]+", name) else ""
    return ""


@lru_cache(maxsize=4096)
def word(text: str) -> str:
    """The first word in a path that suggests an AI feature, "" when none."""
    words = _words()
    for segment in text[:512].lower().split("/")[1:8]:
        for part in re.split(r"[-_.:]", segment):
            if part in words:
                return part
    return ""


@cache
def _words() -> frozenset[str]:
    return frozenset(load("signals/paths")["words"])


@lru_cache(maxsize=16384)
def agent(text: str) -> Agent | None:
    """Who a user agent names, AI programs and crawlers first, then general clients; None when nobody known."""
    tokens = [one.lower() for one in re.split(r"[\s;(),]+", text[:400]) if one][:40]
    known = load("signals/user_agents")
    for row in known["agents"]:
        if any(token.startswith(row["starts"]) for token in tokens):
            return Agent(row["family"], row["use"], row["api"])
    for token in tokens:
        for start, family in known["plain"].items():
            if token.startswith(start):
                return Agent(family, "plain")
    return None


@cache
def _ports() -> dict[int, tuple[str, str, tuple[str, ...], bool]]:
    return {
        row["port"]: (row["product"], row["kind"], tuple(row["apis"]), bool(row.get("shared")))
        for row in load("signals/ports")["ports"]
    }


def port(number: int) -> tuple[str, str, tuple[str, ...], bool] | None:
    """(product, kind, interfaces it speaks, whether other software uses the port too)."""
    return _ports().get(number)
