"""Acts at a running guard: its next sheet of measures, and probes that ask it whether they took effect.

In: an act, the guard's folder and address. Out: see respond/engine.Adapter. A sheet is written whole, under a lock, and holds everything that is to hold; what a guard really does is asked through its own
door, with a signed probe that stands for the target. Where other guards take the same sheet, they are asked which one they have: what is in effect at this one and not at all of them is in effect in part.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from afterguard import files
from afterguard.errors import AfterguardError, UsageError
from afterguard.guard import probe, probe_request
from afterguard.guard.who import key_name
from afterguard.jobs import points
from afterguard.jobs.fleet import Fleet
from afterguard.jobs.prove import Guard
from afterguard.policy import measures
from afterguard.policy.measures import Measure, Sheet
from afterguard.respond.act import Act
from afterguard.respond.engine import State
from afterguard.respond.kinds import KINDS

LONGEST = 14 * 86_400.0
NAMED = ("deny_identity", "deny_conversation", "quota", "enforce_identity", "pin_prompt")
"""Measures about somebody or something that the guard names with its key."""
LLM = ("openai", "azure", "anthropic", "gemini", "bedrock", "ollama")


class AtGuard:
    """See engine.Adapter."""

    def __init__(
        self,
        guard: Guard,
        file: Path,
        key: Ed25519PrivateKey,
        *,
        by: str,
        clock: Callable[[], float] = time.time,
        fleet: Fleet | None = None,
    ) -> None:
        self.guard, self.file, self.key, self.by, self.clock, self.fleet = guard, file, key, by, clock, fleet
        self.trusted = [measures.public_of(key)]
        self._before: dict[str, int] = {}
        self._proven: dict[str, tuple[int, State]] = {}
        """Act -> sequence and state: what was proven here is not probed again while the others are waited for."""
        self._as_before: set[str] = set()
        """Acts taken back whose mount was enforced before them: it still is."""

    def objections(self, act: Act) -> list[str]:
        """See Adapter."""
        out = []
        try:
            measures.check(self._measure(act, self.clock() + 1))
            held = self._read()
            out += self._against(act, held.measures if held else ())
            rows = self.guard.mounts()[0]
            if not self._cells(act, rows):
                out.append(f"no mount of this guard could show that {act.do} took effect")
        except AfterguardError as error:
            out.append(f"{error}")
        except msgspec.ValidationError as error:
            out.append(str(error))
        return out

    def before(self, act: Act) -> dict[str, Any]:
        """See Adapter."""
        sheet = self._read()
        mode = self._mode(act) if KINDS[act.do].measure == "enforce_route" else ""
        return {"sequence": sheet.sequence if sheet else 0, "measures": len(sheet.measures) if sheet else 0, "mode": mode}  # fmt: skip

    def do(self, act: Act, until: float) -> dict[str, Any]:
        """See Adapter."""
        one = self._measure(act, until or self.clock() + LONGEST)
        return self._write(lambda rows: (*rows, one), act.id)

    def undo(self, act: Act, before: dict[str, Any]) -> dict[str, Any]:
        """See Adapter."""
        self._before[act.id] = int(before.get("sequence", -1))
        if before.get("mode") == "enforce":
            self._as_before.add(act.id)
        return self._write(lambda rows: rows, act.id)

    def renew(self) -> dict[str, Any]:
        """Sign what holds once more, with a higher sequence; an empty sheet where nothing does."""
        return self._write(lambda rows: rows, "")

    def sheet(self) -> Sheet | None:
        """The sheet as it lies there. Raises UsageError."""
        return self._read()

    def state(self, act: Act) -> State:
        """See Adapter."""
        if self.fleet is None:
            return self._here(act)
        try:
            sheet = self._read()
        except AfterguardError as error:
            return State("unknown", str(error))
        return self._here(act) if sheet is None else self._everywhere(act, sheet, self.fleet)

    def _everywhere(self, act: Act, sheet: Sheet, fleet: Fleet) -> State:
        """What this guard shows and the others say."""
        sequence, here = self._proven.get(act.id, (0, State("", "")))
        if sequence != sheet.sequence:
            here = self._here(act)
        is_held = any(one.id == act.id for one in sheet.measures)
        names = key_name(self.guard.key) if KINDS[act.do].measure in NAMED else ""
        if here.word == "unknown" and is_held:
            found = fleet.reach(sheet.sequence, names)
            says = f"by their own word in effect at {found.have} of the {found.of} others"
            return State("unknown", f"{here.says}; {says}{found.says}")
        if here.word == "unknown":
            # That this one cannot be asked says nothing of the others, where it may still hold.
            found = fleet.lifted(sheet.sequence, self._before.get(act.id, -1))
            says = f"by their own word gone at {found.have} of the {found.of} others{found.says}; {here.says}"
            return State("lingers" if found.lack else "unknown", says, found.is_settled)
        if here.word != ("in_effect" if is_held else "not"):
            return here
        self._proven[act.id] = sheet.sequence, here
        if is_held:
            found = fleet.reach(sheet.sequence, names)
            word, says = "partly" if found.lack else "in_effect", "in effect"
        else:
            found = fleet.lifted(sheet.sequence, self._before.get(act.id, -1))
            word, says = "lingers" if found.lack else "not", "gone"
        where = f"{says} at {found.have + 1} of {found.of + 1} points{found.says}; {here.says}"
        return State(word, where, found.is_settled)

    def _here(self, act: Act) -> State:
        """What the guard shows that can be probed, once every process of it has the sheet: a probe meets one of them."""
        found = self._probed(act)
        try:
            sheet = self._read()
            is_held = sheet is not None and any(one.id == act.id for one in sheet.measures)
            if sheet is None or found.word != ("in_effect" if is_held else "not") or not self._is_behind(sheet.sequence):  # fmt: skip
                return found
        except AfterguardError as error:
            return State("unknown", str(error))
        return State("not" if is_held else "in_effect", f"a process of the guard does not have sheet {sheet.sequence} yet; {found.says}")  # fmt: skip

    def _is_behind(self, sequence: int) -> bool:
        """Whether the guard says that one of its processes has an older sheet. Raises Unreachable."""
        status, _, page = self.guard.ask("GET", "/metrics", "metrics")
        if status != 200:
            return False
        return points.point("", page.decode("utf-8", "replace"), self.clock()).measures < sequence

    def _probed(self, act: Act) -> State:
        """What probes through the guard's own door meet."""
        try:
            rows = self.guard.mounts()[0]
            if KINDS[act.do].measure == "enforce_route":
                mode = self._mode(act)
                if act.id in self._as_before:
                    return State("not", f"/{act.target} was in mode enforce before, and is in mode {mode}")
                return State("in_effect" if mode == "enforce" else "not", f"the guard says /{act.target} is in mode {mode or 'unknown'}")  # fmt: skip
            if KINDS[act.do].measure == "enforce_identity":
                rows = [row for row in rows if row[2] != "enforce"]
                if not rows:  # where everybody's policy is enforced no probe can tell whether this caller's is
                    sheet = self._read()
                    is_held = sheet is not None and any(one.id == act.id for one in sheet.measures)
                    return State("in_effect" if is_held else "not", f"every mount enforces the policy for everybody; the measure {'stands in the sheet' if is_held else 'is out of the sheet'}")  # fmt: skip
            cells = self._cells(act, rows)
            seen = [self._asked(act, name, cell) for name, cell in cells]
            if seen and all(seen) and KINDS[act.do].measure == "pin_prompt":
                return self._passes(act, cells, seen)
        except AfterguardError as error:
            return State("unknown", f"the guard cannot be asked: {error}")
        if not seen or any(one is None for one in seen):
            return State("unknown", "the guard did not say what it decided about a probe")
        if all(seen):
            return State(
                "in_effect",
                f"{len(seen)} probe{'s' * (len(seen) != 1)} through the guard's own door met the measure: {seen[0]}",
            )
        return State("not", f"{sum(1 for one in seen if not one)} of {len(seen)} probes passed the guard unhindered")

    def is_repeatable(self, act: Act) -> bool:
        """See Adapter."""
        return True

    def is_provable(self, act: Act) -> bool:
        """See Adapter."""
        return True

    def in_force(self) -> str:
        """The revision of the policy, as the guard says."""
        return self.guard.mounts()[1]

    def _mode(self, act: Act) -> str:
        return next((row[2] for row in self.guard.mounts()[0] if row[0] == act.target), "")

    def _passes(self, act: Act, cells: Sequence[tuple[str, probe.Cell]], seen: Sequence[str | None]) -> State:
        """Whether what is pinned passes, where everything else is refused: else it would be no pin."""
        for name, cell in cells:
            found = self._once(act, name, cell, act.value)
            if found is None:
                return State("unknown", "the guard did not say what it decided about a probe")
            if found:
                return State("not", f"a probe that stands for {act.value} is refused as well: {found}")
        return State("in_effect", f"a probe with another system prompt met the measure ({seen[0]}), one that stands for {act.value} did not")  # fmt: skip

    def _against(self, act: Act, held: Sequence[Measure]) -> list[str]:
        """Why a pin would refuse everything: a mount is pinned to another prompt, or a guard of the fleet has another name for this one."""
        if KINDS[act.do].measure != "pin_prompt":
            return []
        now, names = self.clock(), key_name(self.guard.key)
        others = self.fleet.points() if self.fleet is not None else {}
        strangers = [name for name, one in others.items() if not one.problem and one.names != names]
        return [
            f"{name} has another guard.key: the prompt has another revision there, and everything would be refused"
            for name in strangers
        ] + [
            f"{one.case or one.id} pins {one.target} to {one.value} already"
            for one in held
            if one.kind == "pin_prompt"
            and (one.target == act.target and one.value != act.value)
            and (one.id != act.id and one.until > now)
        ]

    # -- the sheet

    def _measure(self, act: Act, until: float) -> Measure:
        kind: Any = KINDS[act.do].measure
        made = Measure(act.id, kind, act.target, until, act.title[:300], act.value, act.case, self.by[:100])
        return msgspec.convert(msgspec.to_builtins(made), Measure)

    def _read(self) -> Sheet | None:
        """The sheet as it lies there. Raises UsageError where somebody else signed it."""
        try:
            return measures.read(files.named(self.file, measures.CAP), self.trusted)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"{self.file} cannot be read: {files.why(error)}", hint="check guard.measures in respond.yaml", slug="bad-measures") from None  # fmt: skip

    def _write(self, change: Callable[[tuple[Measure, ...]], tuple[Measure, ...]], name: str) -> dict[str, Any]:
        with _locked(self.file):
            held = self._read()
            now = self.clock()
            rows = tuple(one for one in (held.measures if held else ()) if one.id != name and one.until > now)
            # Where the file was taken away the guard still knows its sequence; a clock's is above any that was counted up.
            sequence = max(held.sequence + 1 if held else 0, int(now * 1000))
            sheet = measures.sign(Sheet(sequence, now, change(rows)), self.key)
            _replace(self.file, measures.written(sheet))
        return {"sequence": sheet.sequence}

    # -- asking

    def _cells(self, act: Act, rows: list[list[str]]) -> list[tuple[str, probe.Cell]]:
        """(mount, cell) through which an act can be seen: one for each mount where it has to hold."""
        measure = KINDS[act.do].measure
        through = [(name, kind) for name, kind, _, upstream in rows if upstream]
        if measure in ("deny_route", "enforce_route", "pin_version"):
            through = [(name, kind) for name, kind in through if name == act.target]
        elif measure == "pin_prompt":
            through = [(name, kind) for name, kind in through if name == act.target and kind in LLM]
        elif measure == "tool_off":
            through = [(name, kind) for name, kind in through if kind in ("openai", "azure", "mcp")]
        elif measure in ("domain_off", "deny_model", "pin_model", "enforce_identity", "quota"):
            through = [(name, kind) for name, kind in through if kind in ("openai", "azure")]
        place = "call" if measure in ("domain_off", "enforce_identity") else "user"
        out = []
        for name, kind in through:
            here = "features" if any(one.place == "features" for one in probe.cells(kind)) else place
            here = "call" if kind == "mcp" else here
            cell = next((one for one in probe.cells(kind) if one.place == here and not one.streamed and not one.encoding), None)  # fmt: skip
            if cell is not None:
                out.append((name, cell))
        return out

    def _asked(self, act: Act, mount: str, cell: probe.Cell) -> str | None:
        """What the guard decided about a probe that stands for the target: the rule where it was the measure, "" where it was not, None where nobody says."""
        measure = KINDS[act.do].measure
        times = min(int(act.value) + 1, 61) if measure == "quota" and act.value.isdigit() else 1
        found: str | None = ""
        for _ in range(times):
            found = self._once(act, mount, cell)
            if found is None or found:
                return found
        return found

    def _once(self, act: Act, mount: str, cell: probe.Cell, prompt: str = "") -> str | None:
        pose = probe.Pose(
            act.target if act.on in ("identity", "key") else "",
            act.target if act.on == "conversation" else "",
            f"https://{act.target}/probe" if act.on == "domain" else "",
            prompt,
        )
        headers = {
            "content_type": "application/json",
            "authorization": "Bearer probe",
            "accept": "application/json, text/event-stream",
            "x_afterguard_pose": probe.posed(self.guard.key, pose, int(time.time())).decode(),
        }
        _, told, _ = self.guard.send(f"/{mount}{probe.path(cell)}", probe.named(cell), self._body(act, cell), **headers)
        identifier = told.get("x-afterguard-decision", "")
        made = self.guard.decision(identifier) if identifier else None
        if made is None:
            return None
        if KINDS[act.do].measure == "enforce_identity":
            # Enforced, the planted reference in a call is acted upon; else it is only written down. A policy that says nothing of it shows nothing.
            if made.get("would", "allow") in ("allow", "flag"):
                return None
            return "enforced" if made.get("action") not in ("allow", "flag") else ""
        rules = [one for one in made.get("matched", ()) if one.startswith(measures.PREFIX + act.id)]
        is_done = made.get("action") not in ("allow", "flag") and made.get("mode") != "observe"
        return f"{made['action']} by {rules[0]}" if rules and is_done else ""

    def _body(self, act: Act, cell: probe.Cell) -> bytes:
        body = probe_request.request(cell, self.guard.key, f"-respond-{time.time_ns()}")
        if act.on not in ("tool", "model"):
            return body
        found = msgspec.json.decode(body)
        if act.on == "model":
            found["model"] = act.target
        elif cell.kind == "mcp":
            found["params"]["name"] = _plain(act.target)
        else:
            tool = {
                "name": _plain(act.target),
                "description": "probe",
                "parameters": {"type": "object", "properties": {}},
            }
            found["tools"] = [{"type": "function", "function": tool}]
        return msgspec.json.encode(found)


def _plain(name: str) -> str:
    """A name that a glob fits."""
    return name.replace("*", "x").replace("?", "x")


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Nobody else writes the file meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(file.with_name(file.name + ".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(file: Path, data: bytes) -> None:
    try:
        files.put(file, data, _let_in)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {files.why(error)}", hint="check permissions and space", slug="cannot-write") from None  # fmt: skip


def _let_in(part: Path) -> None:
    """Who may look into the folder, as a web server, may read it; and what an administrator writes, the guard has to be able to read."""
    owner = part.parent.stat()
    os.chmod(part, 0o600 | owner.st_mode & 0o044)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        os.chown(part, owner.st_uid, owner.st_gid)
