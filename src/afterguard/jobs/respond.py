"""A case, its plan and what carries it out, put together: everything `afterguard respond` does beyond keeping cases.

In: cases, settings, a person. Out: engines ready to run, journals, and what they did written into the case. It decides nothing that plan, approval and engine do not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from afterguard import files, net
from afterguard.config import GuardConfig
from afterguard.errors import AfterguardError, UsageError
from afterguard.guard import tls, touched, who
from afterguard.jobs import fleet, judging, measured, points
from afterguard.jobs.contain import NAMED, AtGuard
from afterguard.jobs.fleet import Fleet, Reach
from afterguard.jobs.promote import new_key, private_key
from afterguard.jobs.prove import Guard
from afterguard.jobs.source import is_address
from afterguard.model import Case, Entry
from afterguard.policy import measures
from afterguard.policy.measures import Sheet
from afterguard.respond import approval, case, roles, settings
from afterguard.respond.act import Act, digest
from afterguard.respond.engine import POLL, Adapter, Engine
from afterguard.respond.hooks import Hooks
from afterguard.respond.journal import Journal, Line, Verified, Written, verify
from afterguard.respond.kept import DECISIONS, POLICY, Files
from afterguard.respond.person import People
from afterguard.respond.playbook import Playbook, shipped
from afterguard.respond.playbook import load as load_playbook
from afterguard.respond.registries import Registries
from afterguard.respond.roles import Person, Roles
from afterguard.respond.settings import Settings

KEY, JOURNAL = "respond.key", "journal.jsonl"
CAP = 16 << 20
WORDS = {
    "requested": "approval", "approved": "approval", "denied": "approval", "break_glass": "approval", "done": "verification", "failed": "verification",
    "partly": "verification", "unsure": "verification", "begun": "action", "skipped": "action", "undo_begun": "undo", "undo_partly": "undo", "undone": "undo",
    "expired": "undo", "asked": "task",
    "answered": "decision", "planned": "decision",
}  # fmt: skip
"""Word of the journal -> word of the timeline; the rest is not told there."""
CONTAINED = "contain"


class Room(NamedTuple):
    """Where responders work."""

    folder: Path
    settings: Settings
    guard: GuardConfig
    guard_folder: Path
    guard_log: Path
    roles: Roles | None
    clock: Callable[[], float] = time.time

    def place(self, name: str) -> Path:
        """The folder of a case."""
        return self.folder / "cases" / name

    def journal_file(self, name: str) -> Path:
        """The journal of a case."""
        return self.place(name) / JOURNAL


def signing_key(folder: Path) -> Ed25519PrivateKey:
    """The key that journals are signed with; made, readable by its owner only, when there is none."""
    file = folder / KEY
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not file.exists():
        private, public = new_key()
        part = folder / f".{KEY}.{os.getpid()}"
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(private)
        try:
            os.link(part, file)
            (folder / f"{KEY}.pub").write_bytes(public)
        except FileExistsError:  # another process was quicker
            pass
        finally:
            part.unlink()
    return private_key(files.named(file, CAP), str(file))


def playbooks(settings: Settings) -> tuple[Playbook, ...]:
    """Those of the catalogue and one's own; one's own takes the place of one with the same id. Raises UsageError."""
    found = {one.id: one for one in shipped()}
    if settings.playbooks:
        for path in sorted(Path(settings.playbooks).glob("*.yaml")):
            one = load_playbook(files.named(path, CAP).decode("utf-8", "replace"), str(path))
            found[one.id] = one
    return tuple(found.values())


def playbook_of(settings: Settings, name: str) -> Playbook:
    """One by its id. Raises UsageError."""
    found = {one.id: one for one in playbooks(settings)}
    if name not in found:
        raise UsageError(
            f"no playbook is called {name}", hint=f"known: {', '.join(sorted(found))}", slug="bad-playbook"
        )
    return found[name]


def adapters(room: Room, held: Case, person: Person, case_json: Callable[[], bytes]) -> dict[str, Adapter]:
    """What carries acts out, as the settings name it."""
    out: dict[str, Adapter] = {
        "hook": Hooks(room.settings.hooks, os.environ, room.clock, room.place(held.id) / "hook.lock"),
        "person": People(),
    }
    at_guard = guard_of(room, person)
    if at_guard is not None:
        out["guard"] = at_guard
    sheet = at_guard.file if at_guard else measured.place(room.guard, room.guard_folder)
    kept = {DECISIONS: room.guard_log, "measures.json": sheet}
    policy = room.settings.policy or (room.guard.policy if Path(room.guard.policy).is_file() else "")
    if policy:
        kept[POLICY] = Path(policy)
    out["files"] = Files(room.place(held.id), kept, case_json, room.settings.policy, at_guard.in_force if at_guard else None)  # fmt: skip
    if room.settings.vectors:
        from afterguard.respond.vectors.documents import Documents

        out["vectors"] = Documents(room.settings.vectors, _named(room))
    if room.settings.registries:
        out["registries"] = Registries(room.settings.registries, lambda one: _way(one.ca))
    return out


def _named(room: Room) -> Callable[[str], str] | None:
    """How the guard names a text in its decisions; None where its key is not here."""
    folder = guard_place(room)
    if not (folder / judging.KEY).is_file():
        return None
    secret = judging.key(folder)
    return lambda text: touched.name(text, lambda value: who.pseudonym(secret, value))


def guard_place(room: Room) -> Path:
    """The folder of the guard that the settings name."""
    given = room.settings.guard
    return Path(given.folder) if given is not None and given.folder else room.guard_folder


def running(room: Room) -> Guard | None:
    """The running guard, to be asked; None where its key is not here."""
    given, folder = room.settings.guard or settings.Guard(), guard_place(room)
    if not (folder / judging.KEY).is_file():
        return None
    headers = {"x-afterguard-token": room.guard.token} if room.guard.token else {}
    return Guard(_address(room, given), judging.key(folder), headers)


def guard_of(room: Room, person: Person) -> AtGuard | None:
    """The guard that measures are for; None where the settings name none, or its key is not here. Raises UsageError."""
    given, guard = room.settings.guard, running(room)
    if given is None or guard is None:
        return None
    key = private_key(files.named(Path(given.key), CAP), given.key) if given.key else measures.own_key(guard.key)
    address = _address(room, given)
    others = {name: place for name, place in given.points.items() if place.rstrip("/") != address}
    return AtGuard(
        guard, _sheet_file(room, guard_place(room)), key, by=person.name, clock=room.clock,
        fleet=_fleet(room, others) if others else None,
    )  # fmt: skip


def reach(room: Room, sheet: Sheet, *, wait: bool) -> Reach:
    """At how many guards, the one that is probed too, a sheet is in force; waited for where it was just written."""
    given, folder = room.settings.guard, guard_place(room)
    assert given is not None
    here = _address(room, given)
    others = {name: place for name, place in given.points.items() if place.rstrip("/") != here}
    names = who.key_name(judging.key(folder)) if any(one.kind in NAMED for one in sheet.measures) else ""
    known = _fleet(room, {"the guard at " + here: here, **others})
    while not (found := known.reach(sheet.sequence, names)).is_settled and wait:
        time.sleep(POLL)
    return found


def _address(room: Room, given: settings.Guard) -> str:
    return f"{'https' if given.tls else 'http'}://{given.listen or room.guard.listen}"


def _sheet_file(room: Room, folder: Path) -> Path:
    """Where responders write measures."""
    given = room.settings.guard
    if given is not None and given.measures:
        return Path(given.measures)
    if is_address(room.guard.measures):
        raise UsageError(
            f"the guard pulls its measures from {room.guard.measures[:200]}, which is no place to write to",
            hint="name the file that is shown there: guard: {measures: FILE} in respond.yaml",
            slug="bad-respond-settings",
        )
    return measured.place(room.guard, folder)


def _fleet(room: Room, named: Mapping[str, str]) -> Fleet:
    """Guards that can be asked what they have."""
    given = room.guard
    wait = room.settings.guard.wait if room.settings.guard is not None else 0.0

    def ask(addresses: Sequence[str]) -> list[points.Point]:
        way = net.Way(tls.client_context(ca=given.upstream_ca, certificate=given.upstream_certificate))
        return points.asked(addresses, given.token, way, room.clock, fleet.WHOLE)

    return Fleet(named, ask, room.folder / "points.json", wait, room.clock)


def open_journal(room: Room, name: str, person: Person) -> Journal:
    """The journal of a case, for one process. Raises UsageError."""
    return Journal(room.journal_file(name), signing_key(room.folder), case=name, who=person.id, now=room.clock())


def read_journal(room: Room, name: str) -> Verified:
    """What stands in it, for whoever only looks."""
    try:
        data = files.named(room.journal_file(name), 64 << 20)
    except FileNotFoundError:
        return Verified((), "", (), 0)
    return verify(data)


def planned(lines: Sequence[Line]) -> tuple[Act, ...]:
    """The plan that stands in a journal, () where none does."""
    last = next((one for one in reversed(lines) if one.what == "planned"), None)
    return () if last is None else msgspec.convert(last.body["acts"], tuple[Act, ...])


def joined(lines: Sequence[Line], acts: tuple[Act, ...]) -> tuple[Act, ...]:
    """A new plan with what was begun of the one before: it stays in it, or nobody could undo it."""
    ids, begun = {one.id for one in acts}, {one.act for one in lines if one.what == "begun"}
    return (*(one for one in planned(lines) if one.id in begun and one.id not in ids), *acts)


def put_plan(
    journal: Journal, acts: tuple[Act, ...], left: Sequence[str], person: Person, now: float
) -> tuple[Act, ...]:
    """Write a plan down, unless it is the one that stands there already."""
    whole = joined(journal.lines, acts)
    if whole != planned(journal.lines):
        journal.write(
            "planned", person.id, now, text=f"{len(whole)} acts of {', '.join(dict.fromkeys(one.playbook for one in whole))}",
            body={"acts": msgspec.to_builtins(whole), "left": list(left), "plan": digest(whole)},
        )  # fmt: skip
    return whole


def engine(room: Room, held: Case, person: Person, acts: Sequence[Act], journal: Journal | Written | None, case_json: Callable[[], bytes]) -> Engine:  # fmt: skip
    """An engine for a plan."""
    return Engine(
        acts, adapters(room, held, person, case_json), journal, person, clock=room.clock, caps=room.settings.caps
    )


def told(held: Case, found: Sequence[Line], acts: Sequence[Act], now: float) -> Case:
    """The case with what the journal says since it was last told: each line once."""
    seen = {one.ref for one in held.timeline}
    names = {one.id: f"{one.do} {one.target}" if one.on != "case" else one.step for one in acts}
    entries = []
    for line in found:
        ref = f"journal:{line.n}:{line.hash[:12]}"
        word = WORDS.get(line.what)
        if word is None or ref in seen:
            continue
        text = " ".join(one for one in (f"{line.what.replace('_', ' ')}:", names.get(line.act, ""), line.text) if one)
        if line.what == "break_glass":
            text = f"THE GLASS WAS BROKEN by {line.who}: {names.get(line.act, '')}: {line.text}"
        entries.append(Entry(line.at, now, line.who, word, text[:2_000], ref if word != "task" else line.act))
    entries = [one for one in entries if one.what != "task" or one.ref not in seen]
    answered = {one.act for one in found if one.what == "answered"}
    entries += [
        Entry(now, now, "afterguard", "task", f"done: {act}", act)
        for act in sorted(answered)
        if act in case.open_tasks(held) or any(one.what == "task" and one.ref == act for one in entries)
    ]
    grown = case.noted(held, entries, now) if entries else held
    books = tuple(dict.fromkeys((*held.playbooks, *(one.playbook for one in acts))))
    return msgspec.structs.replace(grown, playbooks=books, status=_status(grown, found, acts))


def _status(held: Case, found: Sequence[Line], acts: Sequence[Act]) -> str:
    """Contained once every act of containment that was planned is in effect; open again where one is taken back before the end."""
    last: dict[str, str] = {}
    for line in found:
        if line.act and line.what in (
            "done",
            "partly",
            "undo_partly",
            "undone",
            "expired",
            "failed",
            "unsure",
            "skipped",
        ):
            last[line.act] = line.what
    own = [last.get(one.id, "") for one in acts if one.phase == CONTAINED]
    if held.status == "open" and own and all(one in ("done", "skipped") for one in own) and "done" in own:
        return "contained"
    if held.status == "contained" and ("done" not in own or any(one in ("undone", "undo_partly") for one in own)):
        return "open"
    return held.status


def settle(journal: Journal, acts: Sequence[Act], name: str, person: Person, *, agrees: bool, reason: str, now: float) -> Line:  # fmt: skip
    """Write down that a person agrees to an act, or does not. Raises UsageError where they may not say so."""
    act = _act(acts, name)
    if not reason.strip():
        raise UsageError("an approval needs a reason", hint="--reason TEXT", slug="not-approved")
    why = approval.refusal(act, journal.lines, person, now)
    if why:
        raise UsageError(f"{act.do} {act.target}: {why}", hint="somebody else does, whom the roles file names: docs/how-to/respond.md, Who may do what", slug="not-approved")  # fmt: skip
    what = "denied" if not agrees else "break_glass" if person.is_glass else "approved"
    body = {"act": digest((act,)), "roles": list(person.roles), "via": person.via, "name": person.name}
    return journal.write(what, person.id, now, act=act.id, text=reason, body=body)


def answer(journal: Journal, acts: Sequence[Act], name: str, person: Person, text: str, now: float) -> Line:
    """Write a person's answer down. Raises UsageError for an act that asks nobody."""
    act = _act(acts, name)
    if act.do != "ask" or not text.strip():
        raise UsageError(f"{act.step} asks nobody, or the answer is empty", hint="afterguard respond show CASE", slug="not-approved")  # fmt: skip
    return journal.write("answered", person.id, now, act=act.id, text=text)


def _act(acts: Sequence[Act], name: str) -> Act:
    found = [one for one in acts if name in (one.id, one.step) or (len(name) >= 8 and one.id.startswith(name))]
    if len(found) != 1:
        raise UsageError(f"{len(found) or 'no'} acts are called {name}", hint="name it by its id: afterguard respond show CASE", slug="no-such-act")  # fmt: skip
    return found[0]


def person_of(room: Room, account: str, token: str, glass: str, password: str) -> Person:
    """Who is asking. Without a roles file everybody of this machine is somebody without a role. Raises AfterguardError."""
    known = room.roles or Roles("afterguard.roles/1", {})
    if glass:
        return roles.by_glass(known, glass, password)
    if token:
        return roles.by_token(known, token, provider_keys(known), room.clock())
    return roles.by_account(known, account)


def provider_keys(known: Roles) -> bytes:
    """The provider's keys, as it shows them now. Raises AfterguardError."""
    if not known.issuer:
        return b'{"keys": []}'
    host = net.host_of(known.issuer)
    way = _way(known.ca)
    where = known.jwks
    if where and "://" not in where:
        return files.named(Path(where), CAP)
    try:
        if not where:
            said = net.get(known.issuer.rstrip("/") + "/.well-known/openid-configuration", allow=[host], way=way)
            found: Mapping[str, object] = msgspec.json.decode(said.body)
            if found.get("issuer") != known.issuer:
                raise UsageError(f"{known.issuer} says that it is {found.get('issuer')!s:.200}", hint="issuer: exactly as the provider spells it", slug="not-recognised")  # fmt: skip
            where = str(found["jwks_uri"])
        return net.get(where, allow=[host, net.host_of(where)], way=way).body
    except (msgspec.DecodeError, KeyError, AttributeError):
        raise UsageError(
            f"{known.issuer} shows no keys", hint="name them: jwks: https://...", slug="not-recognised"
        ) from None


def _way(ca: str) -> net.Way:
    """The way to a server whose certificate `ca` signed, or somebody whom the system trusts."""
    return net.Way(tls.client_context(ca=ca)) if ca else net.Way()


__all__ = ["AfterguardError", "Room", "Written", "adapters", "answer", "engine", "joined", "open_journal", "person_of", "planned", "playbook_of", "playbooks", "put_plan", "read_journal", "settle", "signing_key", "told"]  # fmt: skip
