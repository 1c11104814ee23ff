"""The sinks file: which destinations there are, and what each is sent; and which SIEMs are asked what was said of it.

In: a YAML file. Out: `Sinks`. An unknown key is an error that names the nearest known one and its line, as is a destination outside `hosts` where that list is given. Secrets stand in it by reference only. It opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args
from urllib.parse import urlsplit

import msgspec

from afterguard.code.document import Node
from afterguard.code.yaml import read as read_yaml
from afterguard.config import nearest
from afterguard.errors import UsageError
from afterguard.export.pulls import PULLS, Pull
from afterguard.export.secret import Secret
from afterguard.export.sink import Canary, Settings
from afterguard.export.sinks import SINKS

FORMAT = "afterguard.sinks/1"
LONGEST = 1 << 20
KINDS: dict[str, type[Settings]] = {str(one.__struct_config__.tag): one for one in SINKS}
ASKED: dict[str, type[Pull]] = {str(one.__struct_config__.tag): one for one in PULLS}
TOP = ("format", "folder", "hosts", "sinks", "pulls")
One = TypeVar("One", bound=Settings | Pull)


class Sinks(msgspec.Struct, frozen=True):
    """What a sinks file says."""

    sinks: tuple[Settings, ...]
    hosts: tuple[str, ...] = ()
    """The only hosts that may be spoken to; empty: those that the sinks name."""
    folder: str = ""
    """Where the spools lie, one folder a sink; empty: `spool` beside the sinks file."""
    pulls: tuple[Pull, ...] = ()
    """SIEMs that are asked what was said of our alerts."""

    def spools(self, path: Path) -> Path:
        """That folder, for a sinks file at `path`."""
        return Path(self.folder) if self.folder else path.resolve().parent / "spool"


def load(path: Path) -> Sinks:
    """The sinks of a file. Raises UsageError with the line of what is wrong."""
    try:
        with path.open("rb") as handle:
            data = handle.read(LONGEST + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="--sinks FILE", slug="bad-sinks") from None
    if len(data) > LONGEST:
        raise UsageError(f"{path} is larger than a sinks file can be", hint="--sinks FILE", slug="bad-sinks")
    return parse(data.decode("utf-8", "replace"), str(path))


def load_sinks(path: Path) -> Sinks:
    """The same for who hands something over: a file with pulls alone would take everything and deliver nothing. Raises UsageError."""
    found = load(path)
    if not found.sinks:
        raise UsageError(f"{path} names no sink", hint="sinks: [{name: siem, kind: syslog, host: ...}]; see docs/reference/sinks.md", slug="bad-sinks")  # fmt: skip
    return found


def parse(text: str, path: str = "sinks.yaml") -> Sinks:
    """The sinks of a text; `path` stands in messages."""
    errors: list[tuple[int, str]] = []
    roots = read_yaml(text, errors)
    if errors or len(roots) != 1 or roots[0].kind != "map":
        line, what = errors[0] if errors else (1, "it needs `format` and `sinks`")
        raise _wrong(path, line, what)
    root = roots[0]
    _known(root, TOP, path)
    if root.string("format") != FORMAT:
        raise _wrong(path, root.line, f"`format: {FORMAT}` is missing")
    hosts_node = root.get("hosts")
    hosts = tuple(one.text for one in hosts_node.items) if hosts_node is not None else None
    if root.get("sinks") is None and root.get("pulls") is None:
        raise _wrong(path, root.line, "`sinks` needs a list with at least one")
    sinks = _entries(root, "sinks", KINDS, hosts, path)
    pulls = _entries(root, "pulls", ASKED, hosts, path)
    return Sinks(sinks, hosts or (), root.string("folder"), pulls)


def _entries(root: Node, list_name: str, kinds: Mapping[str, type[One]], hosts: tuple[str, ...] | None, path: str) -> tuple[One, ...]:  # fmt: skip
    listed = root.get(list_name)
    if listed is None:
        return ()
    if listed.kind != "list" or not listed.items:
        raise _wrong(path, root.line, f"`{list_name}` needs a list with at least one")
    found = tuple(_entry(one, kinds, list_name[:-1], path) for one in listed.items)
    for number, one in enumerate(found):
        node = listed.items[number]
        if any(other.name == one.name for other in found[:number]):
            raise _wrong(path, node.line, f"two {list_name} are called {one.name}")
        for host in destinations(one) if hosts is not None else ():
            if host not in (hosts or ()):
                raise _wrong(path, node.line, f"{one.name} goes to {host}, which is not among `hosts`")
    return found


def _entry(node: Node, kinds: Mapping[str, type[One]], what: str, path: str) -> One:
    if node.kind != "map":
        raise _wrong(path, node.line, f"a {what} is a map with `name` and `kind`")
    said = node.string("kind")
    kind = kinds.get(said)
    if kind is None:
        raise _wrong(path, node.line, f"there is no kind {said!r}: {nearest(said, list(kinds))}")
    _known(node, ("kind", *kind.__struct_fields__), path)
    _nested(node, kind, path)
    plain = {key: value for key, value in _plain(node).items() if key != "kind"}
    try:
        return msgspec.convert(plain | {"kind": said}, kind, strict=False)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        raise _wrong(path, node.line, f"{what} {node.string('name') or said}: {error}") from None


def _nested(node: Node, kind: type[msgspec.Struct], path: str) -> None:
    """Keys inside `canary` and inside secrets, and secrets written out."""
    for field in msgspec.structs.fields(kind):
        value = node.get(field.name)
        kinds = (field.type, *get_args(field.type))
        if value is None or value.kind == "null":
            continue
        if Canary in kinds and value.kind == "map":
            _known(value, Canary.__struct_fields__, path)
        if Secret in kinds:
            for one in [inner for _, inner in value.fields] if field.name == "headers" else [value]:
                _reference(one, field.name, path)


def _reference(value: Node, name: str, path: str) -> None:
    if value.kind != "map":
        # The text is a secret, or somebody thinks so: it is not repeated.
        raise _wrong(
            path,
            value.line,
            f"{name} is a secret, which does not stand here: `{name}: {{env: NAME}}` or `{{file: PATH}}`",
        )
    _known(value, ("env", "file"), path)


def _known(node: Node, names: tuple[str, ...], path: str) -> None:
    seen = set()
    for key, _ in node.fields:
        if key.text not in names:
            raise _wrong(path, key.line, f"unknown key {key.text!r}: {nearest(key.text, list(names))}")
        if key.text in seen:
            raise _wrong(path, key.line, f"{key.text!r} stands twice")
        seen.add(key.text)


def _plain(node: Node) -> Any:
    """The node as Python values."""
    if node.kind == "map":
        return {key.text: _plain(value) for key, value in node.fields}
    if node.kind == "list":
        return [_plain(one) for one in node.items]
    if node.kind == "bool":
        return node.text == "true"
    return None if node.kind == "null" else node.text


def destinations(sink: Settings | Pull) -> list[str]:
    """The hosts that a sink or pull speaks to, as far as its settings say."""
    out = []
    for name in ("url", "authority", "host", "proxy"):
        value = getattr(sink, name, "")
        if value and name != "host":
            out.append(urlsplit(value).hostname or "")
        elif value and sink.__struct_config__.tag == "syslog":
            out.append(value)
    for one in (*getattr(sink, "servers", ()), *getattr(sink, "brokers", "").split(",")):
        if one:
            out.append(urlsplit(one if "//" in one else f"//{one.strip()}").hostname or "")
    if isinstance(sink, Settings) and sink.canary is not None and sink.canary.url:
        out.append(urlsplit(sink.canary.url).hostname or "")
    return [one for one in out if one]


def _wrong(path: str, line: int, what: str) -> UsageError:
    return UsageError(f"{path}:{line}: {what}"[:500], hint="see docs/reference/sinks.md", slug="bad-sinks")
