"""Acts upon files: what is there is kept before anything is contained, and a policy file goes back to an earlier one.

In: an act, the case's folder, the files that are to be kept. Out: snapshots with their hashes; a policy file replaced whole. What it replaces it keeps first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from afterguard import files
from afterguard.errors import AfterguardError, UsageError
from afterguard.policy.load import load as load_policy
from afterguard.respond.act import Act
from afterguard.respond.engine import State

CAP = 256 << 20
DECISIONS, POLICY, BEFORE = "decisions.jsonl", "policy.yaml", ".before"
"""Names of what is kept: the log, the policy in force, what a file was before it was replaced."""


class Files:
    """See engine.Adapter."""

    def __init__(
        self, folder: Path, sources: Mapping[str, Path], case: Callable[[], bytes], policy: str = "", in_force: Callable[[], str] | None = None
    ) -> None:  # fmt: skip
        self.folder, self.sources, self.case = folder, dict(sources), case
        self.policy = Path(policy) if policy else None
        self.in_force = in_force
        """The revision that the guard says is in force."""

    def objections(self, act: Act) -> list[str]:
        """See Adapter."""
        if act.do == "snapshot":
            return []
        if self.policy is None or not self.policy.is_file():
            return ["respond.yaml names no policy file that may be replaced"]
        try:
            self._earlier(act)
        except AfterguardError as error:
            return [f"{error}"]
        return []

    def before(self, act: Act) -> dict[str, Any]:
        """See Adapter."""
        if act.do == "snapshot":
            return {}
        assert self.policy is not None
        data = files.named(self.policy, CAP)
        copy = self.folder / f"{act.id}{BEFORE}"
        files.put(copy, data)
        return {"copy": copy.name, "sha256": hashlib.sha256(data).hexdigest()}

    def do(self, act: Act, until: float) -> dict[str, Any]:
        """See Adapter."""
        try:
            if act.do == "snapshot":
                return self._snapshot(act)
            assert self.policy is not None
            files.put(self.policy, self._earlier(act))
        except OSError as error:
            raise UsageError(f"cannot write: {files.why(error)}", hint="make room, check permissions", slug="cannot-write") from None  # fmt: skip
        return {"policy": act.value}

    def undo(self, act: Act, before: dict[str, Any]) -> dict[str, Any]:
        """See Adapter."""
        if act.do == "snapshot":
            return {}
        assert self.policy is not None
        try:
            data = files.named(self.folder / str(before.get("copy", "")), CAP)
        except OSError as error:
            raise UsageError(f"what was there before cannot be read: {files.why(error)}", hint="put the policy back by hand", slug="no-undo") from None  # fmt: skip
        if hashlib.sha256(data).hexdigest() != before.get("sha256"):
            raise UsageError("what was kept of before was changed since", hint="put the policy back by hand", slug="no-undo")  # fmt: skip
        files.put(self.policy, data)
        return {}

    def state(self, act: Act) -> State:
        """See Adapter."""
        return self._kept(act) if act.do == "snapshot" else self._in_force(act)

    def is_repeatable(self, act: Act) -> bool:
        """See Adapter."""
        return True

    def is_provable(self, act: Act) -> bool:
        """See Adapter."""
        return True

    def _snapshot(self, act: Act) -> dict[str, Any]:
        """Everything that can be kept from here, one folder, with a list of hashes that is written last."""
        place = self.folder / act.id
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        rows: dict[str, Any] = {}
        for name, source in {**self.sources, "case.json": None}.items():
            try:
                data = self.case() if source is None else files.named(source, CAP)
            except OSError as error:
                rows[name] = {"missing": files.why(error)}
                continue
            files.put(place / name, data)
            rows[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        files.put(place / "list.json", msgspec.json.format(msgspec.json.encode(rows, order="sorted"), indent=2))
        return {"files": rows}

    def _kept(self, act: Act) -> State:
        place = self.folder / act.id
        try:
            rows = msgspec.json.decode(files.named(place / "list.json", CAP), type=dict[str, dict[str, Any]])
            for name, row in rows.items():
                if "sha256" in row and hashlib.sha256(files.named(place / name, CAP)).hexdigest() != row["sha256"]:
                    return State("not", f"{name} is not what was kept")
        except (OSError, msgspec.DecodeError) as error:
            return State("not", f"not kept: {str(error)[:200]}")
        missing = sorted(name for name, row in rows.items() if "missing" in row)
        says = f"{len(rows) - len(missing)} files read back, their hashes hold"
        return State("in_effect", says + (f"; there was no {', '.join(missing)}" if missing else ""))

    def _earlier(self, act: Act) -> bytes:
        try:
            data = files.named(Path(act.value), CAP)
            load_policy(data.decode("utf-8"), act.value)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the earlier policy {act.value} cannot be read: {error}", hint="give the path of a policy file", slug="bad-policy") from None  # fmt: skip
        return data

    def _in_force(self, act: Act) -> State:
        assert self.policy is not None
        revision = load_policy(self._earlier(act).decode("utf-8"), act.value).revision
        try:
            here = load_policy(files.named(self.policy, CAP).decode("utf-8"), "policy").revision
            there = self.in_force() if self.in_force is not None else here
        except (OSError, AfterguardError, UnicodeDecodeError) as error:
            return State("unknown", f"nobody says what is in force: {error}")
        if here == there == revision:
            return State("in_effect", f"{revision} is in force" + (", says the guard" if self.in_force else ""))
        return State("not", f"the file holds {here}, the guard says {there}")


def kept(folder: Path) -> list[Path]:
    """All that acts of a case kept in its folder."""
    return [one for one in sorted([*folder.glob("act-*/*"), *folder.glob(f"act-*{BEFORE}")]) if one.is_file() and not one.name.startswith(".")]  # fmt: skip
