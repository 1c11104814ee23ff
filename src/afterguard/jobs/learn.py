"""Recorded pairs of an unknown chat or scoring API -> the mapping that the guard reads it with, and how well it fits; of a predictive model -> the schema of its features.

In: files a person named: JSON lines {"request", "response"}, HAR captures, pairs NAME.request.json and NAME.response.json (or .sse, .jsonl, .txt). Out: a
`Learned`. It reads only what was named, sends nothing, and keeps no text of a sample.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from afterguard import files
from afterguard.detect.feature_profile import LEAST, Profile
from afterguard.detect.feature_schema import Schema
from afterguard.errors import NothingToExamine, UsageError
from afterguard.guard import mapping as mapping_files
from afterguard.model import Batch, Coverage
from afterguard.wire import learned, predictive, scoring
from afterguard.wire.frames import framer
from afterguard.wire.learned import Mapping
from afterguard.wire.parts import Parts
from afterguard.wire.scoring import Scoring
from afterguard.wire.table import Unreadable

CAP = 32 << 20
"""Bytes of one sample file."""
EVENTS = 20_000
"""Events of one streamed reply."""
FILES = 2_000
ANSWERS = (".response.json", ".response.sse", ".response.jsonl", ".response.txt")
Note = Callable[[Coverage], None]
Pair = tuple[dict[str, Any], Any]
"""A decoded request, and a decoded reply or the list of a stream's events."""


class Learned(NamedTuple):
    """A mapping and what it does with the samples it was learned from."""

    mapping: Mapping
    pairs: int
    requests: int
    """Requests in which it reads something."""
    replies: int
    found: dict[str, int]
    """Field -> pairs that have something there."""
    unread: dict[str, int]
    """Places of long text that it does not read -> pairs that have it."""


def learn(paths: Sequence[Path], note: Note, address: str = "") -> Learned:
    """Learn from files. Raises NothingToExamine where they hold no pair, UsageError where one cannot be opened."""
    pairs = list(samples(paths, note, address))[: learned.SAMPLES]
    if not pairs:
        raise _nothing()
    return tried(learned.learn(pairs), pairs)


def scores(paths: Sequence[Path], note: Note, address: str = "") -> Scoring:
    """The mapping of a scoring API. Raises NothingToExamine where the files hold no pair."""
    pairs = list(samples(paths, note, address))[: learned.SAMPLES]
    if not pairs:
        raise _nothing()
    return scoring.learn(pairs)


def features(
    paths: Sequence[Path], note: Note, kind: str, address: str = "", mapping: Scoring | None = None
) -> tuple[Schema, int]:
    """(the schema of recorded requests, their rows). Raises NothingToExamine where there are none, or too few."""
    profile = Profile()
    for asked, _ in samples(paths, note, address):
        try:
            found = predictive.request(kind, msgspec.json.encode(asked), {}, mapping).table
        except Unreadable as error:
            note(Coverage("request", "unsupported", f"no rows of features: {error}"))
            continue
        profile.learn(Batch(found.names, found.kinds, found.numbers, found.texts), "")
    if profile.schema is None:
        raise NothingToExamine(
            f"{profile.seen} rows of one set of features in there; {LEAST} make a schema",
            hint="record more, or write the schema by hand: docs/how-to/predictive.md",
            slug="no-samples",
        )
    return profile.schema, profile.seen


def _nothing() -> NothingToExamine:
    return NothingToExamine(
        "no recorded pair of request and reply in there",
        hint='give JSON lines {"request": {...}, "response": {...}}, a HAR capture, or NAME.request.json beside NAME.response.json',
        slug="no-samples",
    )


def tried(mapping: Mapping, pairs: Sequence[Pair]) -> Learned:
    """What a mapping reads of pairs."""
    requests = replies = 0
    found: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    for asked, got in pairs:
        parts = Parts()
        requests += learned.request(asked, mapping, parts)
        replies += learned.response(got, mapping, parts)
        bodies = {"reply": [got], "reply_conversation": [got], "delta": got if isinstance(got, list) else []}
        for name in learned.WAYS:
            path = getattr(mapping, name)
            found[name] += bool(path) and any(learned.has(body, path) for body in bodies.get(name, [asked]))
        unread.update({learned.anywhere(row.where) for row in parts.unjudged})
    return Learned(
        mapping, len(pairs), requests, replies, {name: count for name, count in found.items() if count}, dict(unread)
    )


def samples(paths: Sequence[Path], note: Note, address: str = "") -> Iterator[Pair]:
    """Every pair in the files, in order. Of a HAR the address with the most pairs is taken, or those that `address` is part of."""
    captured: dict[str, list[Pair]] = {}
    for path in _all(paths):
        name = path.name
        if name.endswith(ANSWERS):
            continue
        if name.endswith(".request.json"):
            yield from _beside(path, note)
            continue
        for record, line in _records(_data(path), path, note):
            known = _captured(record)
            if known is not None:
                for url, taken in known:
                    if address in url:
                        captured.setdefault(url, []).append(taken)
                continue
            pair = _pair(record)
            if pair is None:
                note(Coverage(f"{path}:{line}", "unsupported", "no object with request and response"))
            else:
                yield pair
    if captured:
        most = max(captured, key=lambda url: len(captured[url]))
        yield from captured.pop(most)
        for url, rows in captured.items():
            note(Coverage(url[:200], "excluded", f"{len(rows)} pairs of another address than {most[:200]}"))


def _all(paths: Sequence[Path]) -> Iterator[Path]:
    count = 0
    for path in paths:
        try:
            inside = sorted(path.iterdir()) if path.is_dir() else [path]
        except OSError as error:
            raise _cannot(path, files.why(error)) from None
        for one in inside:
            count += 1
            if count <= FILES and (one is path or one.is_file()):
                yield one


def _cannot(path: Path, why: str) -> UsageError:
    return UsageError(f"cannot read {path}: {why}", hint="name files of recorded pairs", slug="no-such-path")


def _data(path: Path) -> bytes:
    try:
        return files.named(path, CAP)
    except OSError as error:
        raise _cannot(path, files.why(error)) from None


def _beside(path: Path, note: Note) -> Iterator[Pair]:
    """NAME.request.json and the reply of the same name."""
    stem = path.name.removesuffix(".request.json")
    asked = _decoded(_data(path))
    for ending in ANSWERS:
        other = path.with_name(stem + ending)
        if other.exists():
            pair = _pair({"request": asked, "response": _data(other).decode("utf-8", "replace")})
            if pair is None:
                note(Coverage(str(path), "unsupported", "the request is no JSON object"))
            else:
                yield pair
            return
    note(Coverage(str(path), "unsupported", f"no reply beside it ({stem}.response.json)"))


def _decoded(data: bytes | str) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        return None


def _records(data: bytes, path: Path, note: Note) -> Iterator[tuple[Any, int]]:
    """(record, line): a document of one pair, of a list of pairs, a HAR; or JSON lines."""
    whole = _decoded(data)
    if isinstance(whole, list):
        yield from ((one, 1) for one in whole)
    elif whole is not None:
        yield whole, 1
    else:
        for number, line in enumerate(data.splitlines(), 1):
            if line.strip():
                record = _decoded(line)
                if record is None:
                    note(Coverage(f"{path}:{number}", "bad_syntax", "no JSON"))
                else:
                    yield record, number


def _pair(record: Any) -> Pair | None:
    """The pair of a record, None where there is none."""
    if not isinstance(record, dict) or "request" not in record or "response" not in record:
        return None
    asked = _body(record["request"])
    got = _reply(record["response"])
    return (asked, got) if isinstance(asked, dict) and got is not None else None


def _body(value: Any) -> Any:
    """A body as it was logged: decoded, as text, or below `body`."""
    if isinstance(value, dict) and isinstance(value.get("body"), (dict, str)) and set(value) & ENVELOPE:
        value = value["body"]
    return _decoded(value) if isinstance(value, str) else value


ENVELOPE = {"method", "url", "headers", "status", "path"}


def _reply(value: Any) -> Any:
    """A whole reply, or the events of a streamed one."""
    found = _body(value)
    if isinstance(found, (dict, list)):
        return [one for one in found if isinstance(one, dict)][:EVENTS] if isinstance(found, list) else found
    text = value.get("body") if isinstance(value, dict) else value
    return _events(text) if isinstance(text, str) else None


def _events(text: str) -> list[Any] | None:
    """Events of a recorded stream, read as the guard reads a live one."""
    is_sse = any(line.startswith(("data:", "event:")) for line in text[:4_000].splitlines())
    stream = framer("plain", "text/event-stream" if is_sse else "application/x-ndjson")
    frames = [*stream.feed(text.encode("utf-8", "replace")), *stream.close()]
    found = [frame.event for frame in frames if isinstance(frame.event, dict)][:EVENTS]
    return found or None


def _captured(record: Any) -> list[tuple[str, Pair]] | None:
    """(address, pair) of a HAR document or entry; None where the record is neither."""
    if not isinstance(record, dict):
        return None
    log = record.get("log")
    entries = log.get("entries") if isinstance(log, dict) else [record] if "startedDateTime" in record else None
    if not isinstance(entries, list):
        return None
    out = []
    for entry in entries:
        request, response = _dict(_dict(entry).get("request")), _dict(_dict(entry).get("response"))
        pair = _pair(
            {
                "request": _dict(request.get("postData")).get("text"),
                "response": _content(_dict(response.get("content"))),
            }
        )
        if pair is not None:
            out.append((_address(request.get("url")), pair))
    return out


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _address(url: Any) -> str:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
    except ValueError:
        return ""
    return f"{parts.netloc}{parts.path}"


def _content(content: dict[str, Any]) -> Any:
    text = content.get("text")
    if content.get("encoding") == "base64" and isinstance(text, str):
        try:
            return base64.b64decode(text).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return None
    return text


def told(made: Learned) -> Iterator[str]:
    """What a person should know before the mapping is used."""
    mapping, pairs = made.mapping, made.pairs
    yield f"learned from {pairs} pairs: reads {made.requests} requests and {made.replies} replies"
    for name in learned.WAYS:
        path = getattr(mapping, name)
        if path:
            beside = f" (each turn: {mapping.role} speaks, {mapping.said} is said)" if name == "turns" else ""
            yield f"  {path:<28} {mapping_files.SAYS[name].partition(';')[0]}{beside}; in {made.found.get(name, 0)} of {pairs}"
    for sentence in mapping.unsure:
        yield f"not sure: {sentence}"
    for place, count in made.unread.items():
        yield f"not read: long text at {place}, in {count} of {pairs}; it will be counted as unjudged"
