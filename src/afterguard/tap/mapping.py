"""A mapping file for logs that no reader knows: where in a record which part of an exchange stands.

In: YAML and a decoded record. Out: an Exchange of protocol "mapped". The file:

    format: afterguard.map/1
    records: events[*]            # optional: the records inside each line or document
    id: meta.request_id           # all paths optional; at least one of messages, request, response, texts, features, decision, score
    time: ts                      # ISO 8601 or epoch
    user: caller.account          # identity
    key: headers["x-key-name"]    # hashed where it looks like a raw key
    model: engine
    conversation: session
    app: service
    client: peer.ip
    messages: payload.chat        # a list of messages in any known dialect
    request: payload.in           # a whole request body of any known provider, also as a JSON string
    response: payload.out
    texts:                        # plain texts, in the order given
      system: prompt.policy
      user: prompt.question
      document: prompt.chunks[*].body
      tool: steps[*].result
      assistant: answer
    tool_name: steps[0].name
    features: row                 # an object, or a list of paths; "*" takes every plain column that is not mapped
    decision: verdict
    score: p

A path is names joined by dots, [3] for a position, [*] for all of a list, ["a.b"] for a name with dots; a leading "$." is allowed.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import msgspec

from afterguard.code import yaml
from afterguard.code.document import Node
from afterguard.errors import UsageError
from afterguard.files import open_file
from afterguard.model import Exchange, Prediction, Source
from afterguard.tap import bodies
from afterguard.tap.meta import FIELDS, columns, key_name, word
from afterguard.tap.record import Place, build, unknown
from afterguard.tap.when import when
from afterguard.wire import blocks, predict
from afterguard.wire.parts import Parts, count_of, dumps

FORMAT = "afterguard.map/1"
SCALARS = (
    "id",
    "time",
    "user",
    "key",
    "model",
    "conversation",
    "app",
    "client",
    "provider",
    "status",
    "cost",
    "input_tokens",
    "output_tokens",
    "tool_name",
    "decision",
    "score",
)
BODIES = ("messages", "request", "response")
ROLES = ("system", "user", "document", "tool", "assistant")
NAMES = ("format", "records", *SCALARS, *BODIES, "texts", "features")
CAP = 1 << 20
FOUND = 10_000
STEP = re.compile(r"\.?(?:([^.\[\]\"$]+)|\[(\d{1,9})\]|\[(\*)\]|\[\"([^\"]*)\"\]|\['([^']*)'\])")
Path_ = tuple[str | int | None, ...]


class Mapping(msgspec.Struct, frozen=True):
    """A parsed mapping: name -> path; a path's None means every element."""

    paths: dict[str, Path_]
    texts: tuple[tuple[str, Path_], ...] = ()
    features: tuple[Path_, ...] = ()
    takes_rest: bool = False
    records: Path_ = ()


def load(path: Path) -> Mapping:
    """The mapping of a file. Raises UsageError with file, line and the nearest name."""
    try:
        with open_file(path) as handle:
            data = handle.read(CAP)
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror or error}", hint="name a readable mapping file", slug="map"
        ) from None
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Mapping:
    """The mapping in these bytes. Raises UsageError."""
    document = yaml.parse(Source(name, data, "yaml", len(data)))
    if document.errors:
        raise _wrong(name, *document.errors[0])
    if not document.roots or document.roots[0].kind != "map":
        raise _wrong(name, 1, "a mapping is a list of name: path")
    root = document.roots[0]
    paths: dict[str, Path_] = {}
    texts: list[tuple[str, Path_]] = []
    features: list[Path_] = []
    takes_rest = False
    for key, value in root.fields:
        _known(name, key, NAMES)
        if key.text == "format":
            if value.text != FORMAT:
                raise _wrong(name, value.line, f"format is {FORMAT}, not {value.text}")
        elif key.text == "texts":
            texts = _texts(name, value)
        elif key.text == "features":
            takes_rest = value.text == "*"
            wanted = value.items if value.kind == "list" else () if takes_rest else (value,)
            features = [_path(name, item) for item in wanted]
        else:
            paths[key.text] = _path(name, value)
    if not (texts or features or takes_rest or paths.keys() & {*BODIES, "decision", "score"}):
        raise _wrong(
            name, root.line, "nothing to read: give messages, request, response, texts, features, decision or score"
        )
    return Mapping(paths, tuple(texts), tuple(features), takes_rest, paths.pop("records", ()))


def _texts(name: str, value: Node) -> list[tuple[str, Path_]]:
    if value.kind != "map":
        raise _wrong(name, value.line, f"texts holds {', '.join(ROLES)}")
    out = []
    for key, inner in value.fields:
        _known(name, key, ROLES)
        out += [(key.text, _path(name, item)) for item in (inner.items if inner.kind == "list" else (inner,))]
    return out


def _known(name: str, key: Node, names: tuple[str, ...]) -> None:
    if key.text not in names:
        near = difflib.get_close_matches(key.text, names, 1)
        raise _wrong(
            name, key.line, f"unknown name {key.text[:60]!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        )


def _path(name: str, node: Node) -> Path_:
    """The steps of a path."""
    text = node.text.removeprefix("$").strip()
    steps: list[str | int | None] = []
    at = 0
    while at < len(text):
        found = STEP.match(text, at)
        if not found or len(steps) >= 32:
            break
        plain, index, every, quoted, single = found.groups()
        steps.append(
            None if every else int(index) if index else next(g for g in (plain, quoted, single) if g is not None)
        )
        at = found.end()
    if node.kind in ("map", "list") or at < len(text) or not steps:
        raise _wrong(name, node.line, f"not a path: {node.text[:80]!r}")
    return tuple(steps)


def _wrong(name: str, line: int, what: str) -> UsageError:
    return UsageError(f"{name}:{line}: {what}", hint="the schema is in the reference under --map", slug="map")


def find(record: Any, path: Path_) -> list[Any]:
    """Every value at a path, in order; a JSON string on the way is decoded."""
    found = [record]
    for step in path:
        following: list[Any] = []
        for value in found[:FOUND]:
            value = bodies.unwrap(value) if isinstance(value, str) else value
            if step is None and isinstance(value, list):
                following += value[:FOUND]
            elif isinstance(step, str) and isinstance(value, dict):
                following.append(value.get(step))
            elif isinstance(step, int) and isinstance(value, list):
                following += value[step : step + 1]
        found = following
    return [value for value in found[:FOUND] if value is not None]


def exchanges(mapping: Mapping, record: Any, place: Place) -> list[Exchange]:
    """The Exchanges of one line or document."""
    if not mapping.records:
        return [exchange(mapping, record, place)]
    found = find(record, mapping.records)
    share = place.size // max(1, len(found))
    return [exchange(mapping, item, place._replace(part=i + 1, size=share)) for i, item in enumerate(found)] or [
        unknown(place, "unknown_shape")
    ]


def exchange(mapping: Mapping, record: Any, place: Place) -> Exchange:
    """The Exchange of one record; what the mapping did not find is counted."""
    known = _columns(mapping, record)
    parts = Parts()
    parts.model = known.get("model", "")
    tool = next(iter(find(record, mapping.paths["tool_name"])), "") if "tool_name" in mapping.paths else ""
    seen = False
    for name in BODIES:
        for value in find(record, mapping.paths[name]) if name in mapping.paths else ():
            reader = bodies.reply if name == "response" else bodies.ask
            seen = bool(reader(value, parts, name)) or seen
    for role, path in mapping.texts:
        parts.turn += 1
        for value in find(record, path):
            seen = True
            _say(role, value if isinstance(value, str) else dumps(value), word(tool), parts)
    row = _row(mapping, record)
    if not seen and row is None:
        return unknown(place, "unknown_shape", **known)
    built = build(parts, known, "mapped", place)
    return built if row is None else msgspec.structs.replace(built, prediction=row)


def _say(role: str, value: str, tool: str, parts: Parts) -> None:
    if role == "tool":
        parts.result(value, tool, "texts.tool")
    elif role == "document":
        parts.text(value, *blocks.DOCUMENT, "texts.document")
    else:
        blocks.text(value, blocks.ROLES[role], parts, "texts." + role)


def _columns(mapping: Mapping, record: Any) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name, path in mapping.paths.items():
        value = next(iter(find(record, path)), None)
        if name == "time":
            moment = when(value)
            if moment:
                known["time"], known["time_zone_known"] = moment
        elif name in ("input_tokens", "output_tokens", "status"):
            count = count_of(int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 12 else value)
            known.update({name: count} if count is not None else {})
        elif name == "cost":
            found = predict.score(value)
            known.update({name: found} if found is not None else {})
        else:
            field = FIELDS.get("caller" if name == "user" else name)
            text = word(value)
            if field and text:
                known[field] = key_name(text) if name == "key" else text
    if not mapping.paths and isinstance(record, dict):
        return columns(record)
    return known


def _row(mapping: Mapping, record: Any) -> Prediction | None:
    features: dict[str, predict.Feature] = {}
    for path in mapping.features:
        for value in find(record, path):
            if isinstance(value, dict):
                features.update((k, predict.feature(v)) for k, v in list(value.items())[: predict.FEATURES_CAP])
            elif isinstance(value, list):
                features.update((f"f{i}", predict.feature(v)) for i, v in enumerate(value[: predict.FEATURES_CAP]))
            else:
                features[str(path[-1])] = predict.feature(value)
    if mapping.takes_rest and isinstance(record, dict):
        used = {path[0] for path in mapping.paths.values()}
        features.update(
            (k, predict.feature(v)) for k, v in record.items() if k not in used and not isinstance(v, (dict, list))
        )
    decided = next(iter(find(record, mapping.paths["decision"])), None) if "decision" in mapping.paths else None
    scored = next(iter(find(record, mapping.paths["score"])), None) if "score" in mapping.paths else None
    if not features and decided is None and scored is None:
        return None
    return Prediction(features, predict.label(decided), predict.score(scored))
