"""Kill -9 at random points of the engine: does the journal verify, is anything applied twice, is anything left half done that nobody notices?

python bench/respond_faults.py --runs 200 --seed 7

Each run is a plan of real effects on this machine: evidence files, a signed sheet of measures, directories made by a command (which fails when it is made twice), and tickets by a command that makes a new
file every time (which nobody could take for the old one). The process is killed at a random moment, started again, killed again, and at last let finish.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from afterguard.jobs.contain import AtGuard
from afterguard.jobs.prove import Guard
from afterguard.policy import measures
from afterguard.respond.act import Act, identity
from afterguard.respond.engine import Engine, State
from afterguard.respond.hooks import Hooks
from afterguard.respond.journal import Journal, verify
from afterguard.respond.kept import Files
from afterguard.respond.roles import Person
from afterguard.respond.settings import Hook

KEY = Ed25519PrivateKey.from_private_bytes(b"f" * 32)
WHO = Person("os:bench", "bench", ("responder",), "os")


class Sheet(AtGuard):
    """The guard's sheet without the guard: its file is the world that is asked."""

    def objections(self, act: Act) -> list[str]:
        return []

    def state(self, act: Act) -> State:
        sheet = self._read()
        is_there = sheet is not None and any(one.id == act.id for one in sheet.measures)
        return State("in_effect" if is_there else "not", "as the file says")


def acts() -> tuple[Act, ...]:
    rows = [("evidence", "snapshot", "", "case"), *(("contain", "quarantine_identity", "", f"k{n}") for n in range(2))]
    rows += [("eradicate", "call", "folder", f"f{n}") for n in range(2)] + [
        ("notify", "ticket", "paper", f"t{n}") for n in range(2)
    ]
    return tuple(
        Act(identity("c", "b", f"s{n}", target), "c", "b", f"s{n}", phase, do, "key" if target != "case" else "case", target, "bench", hook=hook, timeout=5, ttl=60 if do.startswith("q") else 0)
        for n, (phase, do, hook, target) in enumerate(rows)
    )  # fmt: skip


def engine(folder: Path, journal: Journal) -> Engine:
    made = {
        "folder": Hook(command=["/bin/mkdir", f"{folder}/made-{{act}}"], check=["/usr/bin/test", "-d", f"{folder}/made-{{act}}"], undo=["/bin/rmdir", f"{folder}/made-{{act}}"]),
        "paper": Hook(command=["/usr/bin/mktemp", f"{folder}/paper-{{act}}.XXXXXX"]),
    }  # fmt: skip
    source = folder / "decisions.jsonl"
    adapters: dict[str, Any] = {
        "files": Files(folder / "kept", {"decisions.jsonl": source}, lambda: b"{}"),
        "guard": Sheet(Guard("http://127.0.0.1:9", b"k" * 32, {}), folder / "measures.json", KEY, by="bench"),
        "hook": Hooks(made, os.environ, lock=folder / "hook.lock"),
    }
    return Engine(acts(), adapters, journal, WHO)


def life(folder: Path, after: float) -> str:
    """One life of the process, ended by kill -9 after so many seconds (0: let live). killed, done, failed."""
    child = os.fork()
    if child == 0:
        if after:
            threading.Thread(
                target=lambda: (time.sleep(after), os.kill(os.getpid(), signal.SIGKILL)), daemon=True
            ).start()
        try:
            journal = Journal(folder / "journal.jsonl", KEY, case="c", who=WHO.id, now=time.time())
            os._exit(0 if engine(folder, journal).run().state == "done" else 10)
        finally:
            os._exit(11)
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else {0: "done", 10: "failed"}.get(os.WEXITSTATUS(status), "broken")


def trial(folder: Path, dice: random.Random, whole: float) -> tuple[int, str, list[str]]:
    """(kills, how it ended, what is wrong)."""
    (folder / "decisions.jsonl").write_text("{}\n")
    kills = 0
    while kills < 6 and (state := life(folder, dice.uniform(0.001, whole))) == "killed":
        kills += 1
    state = life(folder, 0.0)
    return kills, state, wrong(folder, state)


def wrong(folder: Path, state: str) -> list[str]:
    """What must not be."""
    found = verify((folder / "journal.jsonl").read_bytes(), [measures.public_of(KEY)])
    out = list(found.problems)
    last = {one.act: one.what for one in found.lines if one.act and one.what in ("begun", "done", "failed", "unsure")}
    sheet = measures.read((folder / "measures.json").read_bytes(), [measures.public_of(KEY)]) if (folder / "measures.json").exists() else None  # fmt: skip
    live = {one.id for one in sheet.measures} if sheet else set()
    for act in acts():
        said, papers = last.get(act.id, ""), len(list(folder.glob(f"paper-{act.id}.*")))
        if act.do == "ticket" and (papers > 1 or (papers == 1 and said not in ("done", "unsure")) or (papers == 0 and said == "done")):  # fmt: skip
            out.append(f"{act.do}: {papers} papers, the journal says {said}")
        if act.do == "call" and (folder / f"made-{act.id}").is_dir() != (said == "done"):
            out.append(f"{act.do}: the journal says {said}")
        if act.do.startswith("q") and (act.id in live) != (said == "done"):
            out.append(f"{act.do}: the journal says {said}")
        if said == "begun":
            out.append(f"{act.do}: begun, and nobody says what became of it")
    unsure = "unsure" in last.values()
    if state == "broken" or (state == "failed") != unsure:
        out.append(f"the run ended {state}, unsure: {unsure}")
    return out


def timed(folder: Path) -> float:
    """Seconds of a life that nobody ends."""
    folder.mkdir()
    (folder / "decisions.jsonl").write_text("{}\n")
    began = time.perf_counter()
    assert life(folder, 0.0) == "done"
    return time.perf_counter() - began


def main() -> int:
    words = argparse.ArgumentParser()
    words.add_argument("--runs", type=int, default=200)
    words.add_argument("--seed", type=int, default=7)
    given = words.parse_args()
    base = Path(tempfile.mkdtemp(prefix="faults"))
    try:
        whole = min(timed(base / f"first-{number}") for number in range(3))
        dice = random.Random(given.seed)
        kills, ended, bad = 0, {"done": 0, "failed": 0, "broken": 0}, 0
        for number in range(given.runs):
            folder = base / str(number)
            folder.mkdir()
            count, state, problems = trial(folder, dice, whole)
            kills += count
            ended[state] += 1
            bad += bool(problems)
            for one in problems:
                print(f"run {number}: {one}")
            shutil.rmtree(folder)
        print(
            f"{given.runs} runs, {kills} kills: {ended['done']} done, {ended['failed']} ended with an act that a person has to look at; wrong: {bad}"
        )
        return 1 if bad else 0
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
