"""Were we already hit, and what did it touch: one question asked of everything that is kept.

In: decision logs of guards and recorded traffic of any shape look-back reads, a test over named fields. Out: what matches, where the original stands, how many of each it touched, and which share could not be searched and why. Texts of matches are not kept: a match points at its line.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec

from afterguard import files
from afterguard.guard import touched
from afterguard.model import ENTITIES, Coverage, Exchange, Origin
from afterguard.tap import reading
from afterguard.watch.triage import sightings, traffic

Test = Callable[[Mapping[str, Any]], bool]
Told = Callable[[int, int], None]
SHOWN = 1_000
NAMES = 100_000
LINE = 4 << 20
STEP = 2_000
LINE_OF = "line"
"""Field that holds the line as it is written."""
TEXTS = {Origin.user: "user_text", Origin.system: "system_text", Origin.document: "document_text", Origin.tool: "tool_text", Origin.model: "model_text"}  # fmt: skip


class Match(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line that matches."""

    file: str
    line: int
    time: float | None = None
    exchange: str = ""
    app: str = ""
    action: str = ""
    """What the guard did about it; "" where no guard stood there."""
    entities: dict[str, str] = {}


class Touched(msgspec.Struct):
    """How many of one kind, and which. `names` holds the first, counted how often."""

    distinct: int = 0
    names: dict[str, int] = {}
    has_more: bool = False
    """Whether there were more names than are kept apart: `distinct` is then the least there were."""


class Hunted(msgspec.Struct):
    """The answer."""

    searched: int = 0
    """Exchanges that were looked at."""
    unsearched: int = 0
    """Records that could not be, as far as they can be counted."""
    reasons: dict[str, int] = {}
    blind: int = 0
    """Of those searched, exchanges that hold no text: a question about texts says nothing of them."""
    matches: list[Match] = []
    matched: int = 0
    """All that match; `matches` has the first."""
    held_off: int = 0
    first: float | None = None
    last: float | None = None
    touched: dict[str, Touched] = {}
    format: str = "afterguard.hunt/1"

    @property
    def share(self) -> float:
        """Of the records, those that could not be searched."""
        every = self.searched + self.unsearched
        return self.unsearched / every if every else 0.0


def hunt(paths: Iterable[Path], test: Test, *, needs_text: bool = False, is_of_lines: bool = False, pseudonym: Callable[[str], str], progress: Told | None = None, limits: files.Limits = files.DEFAULT) -> Hunted:  # fmt: skip
    """Ask `test` of every exchange; `is_of_lines`: of the line of the decision log as it is written, and of nothing else. Identities are named by their pseudonyms, as the guard names them. Raises UsageError for a path that is not there."""
    out, size = Hunted(), 0

    def note(row: Coverage) -> None:
        out.unsearched += row.count
        out.reasons[row.reason] = out.reasons.get(row.reason, 0) + row.count

    for entry in files.walk(list(paths), note, limits):
        is_ours = _is_decisions(entry.full)
        rows = _decisions(entry.full, entry.path, note) if is_ours else _exchanges(entry.full, entry.path, note, pseudonym, limits)  # fmt: skip
        for fields, match, is_blind in rows:
            out.searched += 1
            out.blind += is_blind
            if (needs_text and is_blind) or (is_of_lines and not is_ours):
                note(Coverage(entry.path, "no text in it" if needs_text else "no decision log"))
                out.searched -= 1
            elif test(fields[LINE_OF] if is_of_lines else fields):
                _add(out, fields, match)
            if progress and out.searched % STEP == 0:
                progress(out.searched, size)
        size += entry.full.stat().st_size if entry.full.exists() else 0
    if progress:
        progress(out.searched, size)
    return out


def _add(out: Hunted, fields: Mapping[str, Any], match: Match) -> None:
    out.matched += 1
    if len(out.matches) < SHOWN:
        out.matches.append(match)
    out.held_off += fields.get("action") not in (None, "", "allow", "flag")
    if match.time is not None:
        out.first = match.time if out.first is None else min(out.first, match.time)
        out.last = match.time if out.last is None else max(out.last, match.time)
    for kind in ENTITIES:
        held = fields.get(kind)
        for name in held if isinstance(held, list) else [held]:
            if isinstance(name, str) and name:
                one = out.touched.setdefault(kind, Touched())
                one.has_more |= name not in one.names and len(one.names) >= NAMES
                if name in one.names or len(one.names) < NAMES:
                    one.distinct += name not in one.names
                    one.names[name] = one.names.get(name, 0) + 1


def _is_decisions(path: Path) -> bool:
    try:
        with _open(path) as stream:
            head = stream.read(400)
    except (OSError, EOFError):
        return False
    return head.startswith(b'{"class_uid":')


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _decisions(path: Path, name: str, note: files.Note) -> Iterator[tuple[dict[str, Any], Match, bool]]:
    try:
        with _open(path) as stream:
            for number, data in enumerate(iter(lambda: stream.readline(LINE), b""), 1):
                try:
                    line = msgspec.json.decode(data)
                except (msgspec.DecodeError, RecursionError):
                    note(Coverage(name, "bad_syntax", f"line {number}"))
                    continue
                if isinstance(line, dict) and line.get("class_uid") == 6003:
                    fields = decision(line)
                    names = {kind: value if isinstance(value, str) else ", ".join(value[:5]) for kind in ENTITIES if (value := fields.get(kind))}  # fmt: skip
                    yield fields, Match(name, number, fields["time"], fields["exchange"], fields["app"], fields["action"], names), not fields.get("excerpt")  # fmt: skip
    except (OSError, EOFError) as error:
        note(Coverage(name, "unreadable", str(error)))


def decision(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the decision log as flat fields: the entities by their kinds, hits under hit, detector, cause, severity, excerpt."""
    about, found = traffic(line), sightings(line)
    assert about is not None
    own = line.get("unmapped", {}).get("afterguard", {}) if isinstance(line.get("unmapped"), dict) else {}
    own = own if isinstance(own, dict) else {}
    policy, meta, api, model = (part if isinstance(part := line.get(name), dict) else {} for name in ("policy", "metadata", "api", "ai_model"))  # fmt: skip
    service = api.get("service") if isinstance(api.get("service"), dict) else {}
    return {
        "time": about.time, "app": about.app, "exchange": str(meta.get("uid", "")), "identity": about.identity, "conversation": about.conversation, "mount": str((service or {}).get("uid", "")),
        "model": str(model.get("name", "")), "prompt": str(own.get("prompt", "")), "document": _names(own.get("documents")), "tool": _names(own.get("tools")), "operation": str(api.get("operation", "")),
        "action": str(own.get("action", "")), "rule": str(policy.get("uid", "")), "policy": str(policy.get("version", "")), "status": str(line.get("status_code", "")),
        LINE_OF: line, "hit": [one.kind for one in found], "detector": [one.detector for one in found], "cause": [one.cause for one in found], "severity": [one.severity.value for one in found], "excerpt": [one.excerpt for one in found],
    }  # fmt: skip


def _names(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _exchanges(path: Path, name: str, note: files.Note, pseudonym: Callable[[str], str], limits: files.Limits) -> Iterator[tuple[dict[str, Any], Match, bool]]:  # fmt: skip
    for one in reading.read(path, name, note, limits=limits):
        fields = exchange(one, pseudonym)
        names = {kind: value if isinstance(value, str) else ", ".join(value[:5]) for kind in ENTITIES if (value := fields.get(kind))}  # fmt: skip
        yield fields, Match(one.source, one.line, one.time, one.id, one.app, "", names), not one.texts


def exchange(one: Exchange, pseudonym: Callable[[str], str]) -> dict[str, Any]:
    """A recorded exchange as flat fields, texts by where they came from and all together under `text`."""
    texts: dict[str, list[str]] = {}
    for text in one.texts:
        texts.setdefault(TEXTS.get(text.origin, "other_text"), []).append(text.value)
    documents = [touched.document(text, pseudonym) for text in one.texts if text.origin in (Origin.document, Origin.tool)]  # fmt: skip
    return {
        "time": one.time, "app": one.app, "exchange": one.id, "identity": pseudonym(one.identity) if one.identity else "", "key": one.key, "conversation": one.conversation, "model": one.model,
        "prompt": touched.prompt(one.texts, pseudonym), "document": documents, "document_name": [text.name for text in one.texts if text.name], "tool": [call.name for call in one.calls],
        "argument": [call.arguments for call in one.calls], "tool_offered": [tool.name for tool in one.tools], "tool_description": [tool.description for tool in one.tools],
        "status": str(one.status or ""), "client": one.client, "text": [text.value for text in one.texts], **texts,
    }  # fmt: skip
