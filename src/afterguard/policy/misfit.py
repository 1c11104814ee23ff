"""What a file says -> a struct, or what does not fit: the line, and the nearest key.

In: a YAML text, or what `read` found in it, and the struct that it should be. Out: the struct, or UsageError. It opens no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import inspect

from afterguard.config import nearest
from afterguard.errors import UsageError
from afterguard.policy.read import Path, Read, read

PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<where>[^`]*)`)?$", re.S)
STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
UNKNOWN = re.compile(r"unknown field `([^`]*)`")
MISSING = re.compile(r"missing required field `([^`]*)`")
One = TypeVar("One")


class Misfit(NamedTuple):
    """What is wrong, where, and what to write instead."""

    line: int
    what: str
    hint: str


def fitted(text: str, name: str, kind: type[One], *, see: str, slug: str, whole: str = "the file") -> One:
    """The struct that a text holds; `whole` is what messages call its top. Raises UsageError with the line."""
    try:
        found = read(text, name)
    except UsageError as error:
        raise UsageError(str(error), hint=error.hint, slug=slug) from None
    try:
        return msgspec.convert({} if found.value is None else found.value, kind)
    except msgspec.ValidationError as error:
        wrong = misfit(error, found, kind, see=see, whole=whole)
        raise UsageError(f"{name}:{wrong.line}: {wrong.what}", hint=wrong.hint, slug=slug) from None


def misfit(error: msgspec.ValidationError, found: Read, kind: Any, *, see: str, whole: str = "the file") -> Misfit:
    """What the struct check says of `found`; `see` is the hint where no key is to blame."""
    said = PLACE.match(str(error))
    what, where = (said["what"], said["where"] or "$") if said else (str(error), "$")
    steps = [word or number for word, number in STEP.findall(where)]
    here = ".".join(steps) or whole
    if unknown := UNKNOWN.search(what):
        key = unknown[1]
        for path in _paths(found, [*steps, key]):
            struct = _struct(kind, found.value, path[:-1])
            known = list(struct.__struct_encode_fields__) if struct else []
            if key not in known:
                hint = nearest(key[:60], known) if known else "leave it out"
                return Misfit(found.lines[path], f"no such key: {key[:60]}", hint)
    line = next((found.lines[path] for size in range(len(steps), -1, -1) for path in _paths(found, steps[:size])), 1)
    if missing := MISSING.search(what):
        return Misfit(line, f"{here} has no {missing[1]}", f"add {missing[1]}: ...")
    return Misfit(line, f"{here}: {what[:1].lower()}{what[1:300]}", see)


def _paths(found: Read, steps: Sequence[str]) -> Iterator[Path]:
    """Paths that fit one as an error gives it, in which `...` stands for any key."""
    for path in found.lines:
        if len(path) == len(steps) and all(want in ("...", str(is_)) for want, is_ in zip(steps, path, strict=True)):
            yield path


def _struct(kind: Any, value: Any, path: Path) -> type[msgspec.Struct] | None:
    """The struct that stands at a path, None where none does."""
    info = _chosen(inspect.type_info(kind), value)
    for step in path:
        match info:
            case inspect.StructType():
                info = next((one.type for one in info.fields if one.encode_name == step), None)
            case inspect.DictType():
                info = info.value_type
            case inspect.CollectionType():
                info = info.item_type
            case _:
                return None
        value = value[step]
        info = _chosen(info, value)
    return info.cls if isinstance(info, inspect.StructType) else None


def _chosen(info: Any, value: Any) -> Any:
    """Of several types the one that a value is: the struct of its tag, else the one that holds something."""
    if not isinstance(info, inspect.UnionType):
        return info
    holders = [one for one in info.types if isinstance(one, inspect.StructType | inspect.DictType | inspect.CollectionType)]  # fmt: skip
    tagged = (one for one in holders if isinstance(one, inspect.StructType) and isinstance(value, dict) and one.tag_field and value.get(one.tag_field) == one.tag)  # fmt: skip
    return next(tagged, holders[0] if holders else None)
