"""Prompts in any interface, by a template of its owner.

In: a Template, a Prompt, the id of the conversation; or a decoded reply. Out: a body, an address; or the text at a path. Pure.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from afterguard.attack.contract import Prompt, Reply, Surface
from afterguard.targets import reading
from afterguard.targets.document import Template
from afterguard.targets.spoken import held, planted

STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,9})\]")
DEPTH = 40
WORD = re.compile(r"\{\{\s*(\w{1,40})\s*\}\}")
WORDS = ("prompt", "question", "document", "conversation", "identity")
DATA = "data"
"""In the place of a path: the data of events as they are, where they are no JSON."""
FORM = "application/x-www-form-urlencoded"


def filled(value: Any, words: dict[str, str], depth: int = 0) -> Any:
    """The body with {{prompt}} and the like filled in; once, so that a prompt that holds such a word stays as it is."""
    if depth > DEPTH:
        return value
    if isinstance(value, str):
        return WORD.sub(lambda match: words.get(match[1], match[0]), value)
    if isinstance(value, dict):
        return {key: filled(one, words, depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, words, depth + 1) for one in value]
    return value


def named(value: Any, depth: int = 0) -> set[str]:
    """The words that a template names."""
    if isinstance(value, str):
        return set(WORD.findall(value))
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return set().union(*(named(one, depth + 1) for one in inner)) if depth <= DEPTH else set()


def words(prompt: Prompt, conversation: str) -> dict[str, str]:
    """What a template may name. Texts of outsiders come before the question, as the application would put them."""
    texts = [*held(prompt), *(plant.content for plant in planted(prompt, Surface.tool_result))]
    return {
        "prompt": "\n\n".join([*texts, prompt.text]),
        "question": prompt.text,
        "document": "\n\n".join(texts),
        "conversation": conversation,
        "identity": prompt.identity,
    }


def address(url: str, query: dict[str, str], words: dict[str, str]) -> str:
    """The address with its words and its query filled in, percent-encoded."""
    path = filled(url, {name: quote(word, safe="") for name, word in words.items()})
    added = urlencode(filled(query, words), errors="replace")
    return f"{path}{'&' if '?' in path else '?'}{added}" if added else str(path)


def encoded(body: Any, is_form: bool) -> tuple[bytes, str]:
    """A filled body as bytes, and their content type."""
    if isinstance(body, str):
        return body.encode("utf-8", "replace"), FORM if is_form else "text/plain; charset=utf-8"
    if is_form:
        return urlencode(body, doseq=True, errors="replace").encode(), FORM
    return msgspec.json.encode(body), "application/json"


def at(value: Any, path: str) -> Any:
    """The value at a path like .a.b[0]; None where there is none. Raises ValueError for no path."""
    for name, index in steps(path):
        if name and isinstance(value, dict):
            value = value.get(name)
        elif index and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            return None
    return value


def steps(path: str) -> list[tuple[str, str]]:
    """The keys and places of a path. Raises ValueError."""
    found: list[tuple[str, str]] = STEP.findall(path)
    if "".join(f".{name}" if name else f"[{index}]" for name, index in found) != path:
        raise ValueError(path)
    return found


def answer(headers: dict[str, str], body: bytes, reply: str, stream: str, conversation: str = "") -> tuple[Reply, str]:
    """What a reply says at the path `reply` ("" is all of it), or a stream piece by piece at `stream`; and the id at the path `conversation`."""
    try:
        text = reading.plain(headers, body)
        if stream and reading.is_stream(headers, text):
            if stream == DATA:
                return Reply(reading.datas(text)), ""
            found, _ = reading.events(text)
            pieces = [piece for piece in (at(one, stream) for one in found) if isinstance(piece, str)]
            ids = [id for id in (id_at(one, conversation) for one in found) if id]
            return Reply("".join(pieces)) if pieces else Reply(error="unreadable"), (ids or [""])[0]
        if not reply and not conversation:
            return Reply(text), ""
        whole = reading.decoded(text)
    except reading.Unreadable as why:
        return Reply(error=str(why)), ""
    said = at(whole, reply) if reply else text
    return Reply(said) if isinstance(said, str) else Reply(error="unreadable"), id_at(whole, conversation)


def id_at(found: Any, path: str) -> str:
    """An id at a path, "" where there is none."""
    value = at(found, path) if path else None
    return str(value)[:1_000] if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def ending(one: Template) -> reading.Ending:
    """What sees the end of a stream whose server leaves it open."""

    def is_last(data: str) -> bool:
        try:
            return bool(at(reading.decoded(data), one.end))
        except reading.Unreadable:
            return False

    return reading.Ending(is_last if one.end else None)
