"""A refused call of an MCP client says which decision it was, in the header and to the model, and whoever tests the server sees a refusal and no failure of the tool."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from afterguard import net
from afterguard.targets.document import Mcp, Target
from afterguard.targets.door import DECISION, is_blocked

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]
CALL = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "wipe", "arguments": {"disk": "a"}}}


def test_a_refused_call_names_its_decision(tmp_path: Path) -> None:
    policy = running.rules(running.rule("no-wiping", "block", "call", {"call.tool": "wipe"}))
    door = running.Door(tmp_path, lambda _: running.Said([b"{}"]), policy, kind="mcp")
    got = door.one(json.dumps(CALL).encode())
    (line,) = door.lines()
    decision = line["metadata"]["uid"]
    said = json.loads(got.body)["result"]
    assert got.status == 200 and got.id == decision and said["isError"]
    assert said["content"][0]["text"].endswith(f"(decision {decision})")
    target = Target("server", "http://there/", kind="mcp", mcp=Mcp("wipe"))
    reply = net.Reply(got.status, {DECISION: got.id}, got.body)
    assert is_blocked(target, reply)
    assert not is_blocked(target, net.Reply(200, {DECISION: got.id}, b'{"result": {"isError": true}}'))
