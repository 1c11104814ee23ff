"""Everything there is about a case, before anything is contained: what goes into its archive of evidence.

In: a case, its alerts, decision logs, files of the guard, originals where they were kept. Out: members, what could not be had, versions. It changes nothing, and says of each thing that is missing why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from afterguard import __version__, files
from afterguard.errors import UsageError
from afterguard.judges import shipped
from afterguard.model import Alert, App, Case, Coverage
from afterguard.policy import load_policy
from afterguard.respond.evidence import Member, Missing
from afterguard.respond.kept import BEFORE, DECISIONS, POLICY
from afterguard.store.evidence import Vault

UID = re.compile(rb'"metadata":\{"uid":"([^"]{1,200})"')
LINE = 4 << 20
ATTACHED = 64 << 20
Told = Callable[[int, int], None]


class Collected(msgspec.Struct):
    """What was found."""

    members: list[Member] = []
    missing: list[Missing] = []
    facts: dict[str, str] = {}


class Pointer(msgspec.Struct, frozen=True):
    """Where a line stands in the log it was taken from."""

    exchange: str
    file: str
    at: int


def collect(
    case: Case,
    alerts: Sequence[Alert],
    *,
    logs: Sequence[Path],
    policies: Sequence[Path] = (),
    pins: Sequence[Path] = (),
    attached: Sequence[Path] = (),
    kept: Sequence[Path] = (),
    vault: Vault | None = None,
    who: str = "",
    progress: Told | None = None,
) -> Collected:
    """Gather it. `kept`: what acts kept before anything was changed: of its logs what `logs` have no more, of its policies one of each revision. Originals are opened only where a vault is given, and each reading is logged there under `who`."""
    out = Collected()
    out.members += [Member("case.json", _json(case), "store"), Member("alerts.json", _json(list(alerts)), "store")]
    wanted = {name for one in alerts for name in one.exchanges if name}
    more = sum(max(0, one.count - len(one.exchanges)) for one in alerts)
    if more:
        out.missing.append(Missing(f"{more} further exchanges of these alerts", "an alert names its first 20; find them with afterguard watch hunt and attach the answer"))  # fmt: skip
    earlier = [one for one in kept if one.name == DECISIONS]
    before = [one for one in kept if one.name == POLICY or one.suffix == BEFORE]
    _lines(out, wanted, {one.cause for one in alerts if one.cause}, logs, earlier, progress)
    revisions = {one.policy for one in alerts if one.policy}
    _policies(out, revisions, [*policies, *before])
    _files(out, "tools", pins)
    _files(out, "attached", attached)
    _files(out, "kept", [one for one in kept if one not in earlier and one not in before])
    _originals(out, case, wanted, vault, who)
    out.facts |= {
        "afterguard": __version__,
        "policy": ", ".join(sorted(revisions)),
        "models": ", ".join(sorted({one.model for one in alerts if one.model})),
        "prompts": ", ".join(sorted({e.name for one in alerts for e in one.entities if e.kind == "prompt"})),
        "detectors": ", ".join(sorted({one.detector for one in alerts if one.detector})),
        "judge": _judge(),
    }
    return out


def _judge() -> str:
    """Version and checksum of the judge's weights that are installed here."""
    return msgspec.json.decode((shipped() / "judge.json").read_bytes()).get("version", "") if (shipped() / "judge.json").exists() else ""  # fmt: skip


def _lines(out: Collected, wanted: set[str], causes: set[str], logs: Sequence[Path], earlier: Sequence[Path], progress: Told | None) -> None:  # fmt: skip
    found: list[bytes] = []
    pointers: list[Pointer] = []
    seen: set[str] = set()
    count = 0

    def note(row: Coverage) -> None:
        out.missing.append(Missing(row.path, f"{row.reason} {row.detail}".strip()))

    def places() -> Iterator[tuple[Path, str]]:
        yield from ((entry.full, entry.path) for entry in files.walk(list(logs), note))
        yield from ((one, str(one)) for one in earlier if not wanted <= seen)

    for full, path in places():
        for at, data in _read(full, path, note):
            count += 1
            uid = UID.search(data)
            name = uid[1].decode("utf-8", "replace") if uid else ""
            is_alarm = b'"log_name":"watch"' in data and any(cause.encode() in data for cause in causes)
            if (name in wanted or is_alarm) and name not in seen:
                seen |= {name} - {""}
                found.append(data)
                pointers.append(Pointer(name, path, at))
            if progress and count % 5_000 == 0:
                progress(count, 0)
    if found:
        out.members.append(Member("decisions.jsonl", b"\n".join(found) + b"\n", ", ".join(sorted({one.file for one in pointers}))))  # fmt: skip
        out.members.append(Member("decisions.pointers.json", _json(pointers)))
    for name in sorted(wanted - {one.exchange for one in pointers}):
        out.missing.append(Missing(f"decision of exchange {name}", "it is in none of the logs: rotated away, or written elsewhere"))  # fmt: skip


def _read(path: Path, name: str, note: files.Note) -> Iterator[tuple[int, bytes]]:
    at = 0
    try:
        with path.open("rb") as stream:
            for data in iter(lambda: stream.readline(LINE), b""):
                yield at, data.rstrip(b"\n")
                at += len(data)
    except OSError as error:
        note(Coverage(name, "unreadable", files.why(error)))


def _policies(out: Collected, revisions: set[str], policies: Iterable[Path]) -> None:
    had = set()
    for path in policies:
        try:
            data = path.read_bytes()
            revision = load_policy(data.decode("utf-8"), str(path)).revision
        except (OSError, UnicodeDecodeError, UsageError) as error:
            out.missing.append(Missing(f"policy {path.name}", files.why(error)))
            continue
        if revision in had:
            continue
        had.add(revision)
        out.members.append(Member(f"policy/{len(had)}-{path.name}", data, f"{path}, revision {revision}"))
    for name in sorted(revisions - had):
        out.missing.append(Missing(f"policy {name}", "no file of that revision was given; a bundle or its repository has it"))  # fmt: skip


def _files(out: Collected, folder: str, paths: Iterable[Path]) -> None:
    for number, path in enumerate(paths, 1):
        try:
            if path.stat().st_size > ATTACHED:
                raise OSError(f"larger than {ATTACHED >> 20} MiB")
            out.members.append(Member(f"{folder}/{number}-{path.name}", path.read_bytes(), str(path)))
        except OSError as error:
            out.missing.append(Missing(f"{folder} {path.name}", files.why(error) or str(error)))


def _originals(out: Collected, case: Case, wanted: set[str], vault: Vault | None, who: str) -> None:
    if vault is None:
        out.missing.append(Missing("originals of the exchanges", "not asked for (--originals), or none are kept: decisions hold no prompt and no reply"))  # fmt: skip
        return
    app = App(case.app, tenant=case.tenant)
    for name in sorted(wanted):
        kept = vault.originals(app, name)
        for one in kept:
            try:
                out.members.append(Member(f"originals/{one.id}", vault.read(one.id, who=who, why=f"evidence of case {case.id}"), f"exchange {name}"))  # fmt: skip
            except UsageError as error:
                out.missing.append(Missing(f"original {one.id} of exchange {name}", str(error)))
        if not kept:
            out.missing.append(Missing(f"original of exchange {name}", "none is kept, or its time is over"))


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1)
