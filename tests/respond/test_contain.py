"""Every act at a real guard: done, seen through the guard's own door, taken back, seen gone."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from afterguard.jobs.contain import AtGuard
from afterguard.jobs.judging import key as guard_key
from afterguard.jobs.prove import Guard
from afterguard.policy import measures
from afterguard.respond.act import Act, identity
from afterguard.respond.engine import Engine
from afterguard.respond.journal import Journal
from afterguard.respond.roles import Person


def load(name: str, path: Path) -> Any:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


net = load("guard_tests_running", Path(__file__).parents[1] / "guard" / "running.py")
ANN = Person("os:ann", "ann", ("responder",), "os")
ACTS = (
    ("tighten_route", "mount", "openai", ""),
    ("tighten_identity", "key", "aa" * 10, ""),
    ("cap_quota", "key", "bb" * 10, "2"),
    ("quarantine_conversation", "conversation", "talk *1*", ""),
    ("block_domain", "domain", "evil.example", ""),
    ("pin_model", "model", "gpt-new", "gpt-agreed"),
    ("pin_version", "mount", "fraud", "3"),
    ("quarantine_identity", "identity", "cc" * 10, ""),
    ("pin_prompt", "mount", "openai", "ab" * 8),
    ("disable_tool", "tool", "pay_*", ""),
    ("disable_server", "server", "mcp/pages", ""),
    ("deny_model", "model", "gpt-stolen", ""),
    ("disable_route", "mount", "fraud", ""),
)


def test_every_act_takes_effect_and_ends(tmp_path: Path) -> None:
    policy = net.rules(net.rule("no-canary", "block", "response", {"hit.kind": "canary_leak"}), head="mode: shadow")
    with net.stand_in() as origin:
        mounts = {
            "openai": f"{origin.origin}/openai",
            "mcp/pages": f"{origin.origin}/mcp/pages",
            "fraud:kserve": origin.origin,
        }
        with net.guard(origin.origin, tmp_path, policy, mounts=mounts) as guard:
            secret = guard_key(guard.folder)
            at = AtGuard(
                Guard(guard.url, secret, {}), guard.folder / "measures.json", measures.own_key(secret), by="ann"
            )
            acts = [
                Act(
                    identity("c", "b", do, target),
                    "c",
                    "b",
                    do,
                    "contain",
                    do,
                    on,
                    target,
                    "in a test",
                    value,
                    ttl=600,
                    timeout=20,
                )
                for do, on, target, value in ACTS
            ]
            for act in acts:
                assert at.objections(act) == [], act
                assert at.state(act).word == "not", (act, at.state(act))
            journal = Journal(tmp_path / "journal", measures.own_key(b"j" * 32), case="c", who=ANN.id, now=time.time())
            for act in acts:  # one after another, so that none hides another
                engine = Engine([act], {"guard": at}, journal, ANN)
                assert engine.run().state == "done", (act, engine.run().rows)
                if act.do == "disable_server":
                    assert "Stopped by responders" in json.dumps(mcp(guard))
                assert engine.undo().state == "done", act
            journal.close()
            assert guard.metric("afterguard_measures") == 0
            assert at.objections(Act("act-x", "c", "b", "x", "contain", "cap_quota", "key", "k", "t", "many"))
            assert at.objections(Act("act-x", "c", "b", "x", "contain", "disable_route", "mount", "nowhere", "t"))


def test_what_is_enforced_already_is_taken_back_all_the_same(tmp_path: Path) -> None:
    policy = net.rules(net.rule("no-canary", "block", "response", {"hit.kind": "canary_leak"}), head="mode: enforce")
    with net.stand_in() as origin, net.guard("", tmp_path, policy, mounts={"openai": f"{origin.origin}/openai"}) as guard:  # fmt: skip
        secret = guard_key(guard.folder)
        at = AtGuard(Guard(guard.url, secret, {}), guard.folder / "measures.json", measures.own_key(secret), by="ann")
        journal = Journal(tmp_path / "journal", measures.own_key(b"j" * 32), case="c", who=ANN.id, now=time.time())
        for do, on, target in (("tighten_identity", "key", "aa" * 10), ("tighten_route", "mount", "openai")):
            act = Act(identity("c", "b", do, target), "c", "b", do, "contain", do, on, target, "t", ttl=600, timeout=5)
            engine = Engine([act], {"guard": at}, journal, ANN)
            assert engine.run().state == "done" and len(in_force(guard)) == 1
            ran = engine.undo()
            assert ran.state == "done" and in_force(guard) == [], ran.rows
        journal.close()


class Behind(Guard):
    """The running guard, as it is seen while one of its processes still has an older sheet."""

    sequence: int | None = None

    def ask(self, method: str, path: str, cell: str) -> tuple[int, dict[str, str], bytes]:
        status, told, page = super().ask(method, path, cell)
        if path == "/metrics" and self.sequence is not None:
            page = re.sub(rb"(?m)^(afterguard_measures_sequence) .*", rb"\1 %d" % self.sequence, page)
        return status, told, page


def test_what_one_process_refuses_and_another_lets_pass_is_not_in_effect(tmp_path: Path) -> None:
    policy = net.rules(net.rule("no-canary", "block", "response", {"hit.kind": "canary_leak"}), head="mode: observe")
    with net.stand_in() as origin, net.guard("", tmp_path, policy, mounts={"openai": f"{origin.origin}/openai"}) as guard:  # fmt: skip
        secret = guard_key(guard.folder)
        behind = Behind(guard.url, secret, {})
        at = AtGuard(behind, guard.folder / "measures.json", measures.own_key(secret), by="ann")
        act = Act(identity("c", "b", "quarantine_identity", "cc" * 10), "c", "b", "q", "contain", "quarantine_identity", "identity", "cc" * 10, "t", ttl=600, timeout=5)  # fmt: skip
        held = at.do(act, time.time() + 600)["sequence"]
        net.until(lambda: at.state(act).word == "in_effect", 10)
        behind.sequence = held - 1
        state = at.state(act)
        assert state.word == "not" and f"a process of the guard does not have sheet {held} yet" in state.says
        behind.sequence = None
        at.undo(act, {})
        net.until(lambda: at.state(act).word == "not", 10)
        behind.sequence = held
        assert at.state(act).word == "in_effect", "somebody may still be refused"


def in_force(guard: Any) -> list[Any]:
    return list(json.loads((guard.folder / "measures.json").read_bytes()).get("measures", ()))


def mcp(guard: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read", "arguments": {}}}
    request = urllib.request.Request(guard.url + "/mcp/pages", json.dumps(body).encode(), {"content-type": "application/json", "accept": "application/json, text/event-stream"})  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)
