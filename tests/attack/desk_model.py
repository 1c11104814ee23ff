"""A stand-in for the model behind the demo assistant, not a model: speaks the OpenAI chat protocol, uses the tools it is offered, and gives way (weak) or does not (mended) as the habits beside it do.

    python tests/attack/desk_model.py weak --port 9100

Its instructions and its tools are those that the application sends; what it knows of customers, it knows from the tools.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_spec = importlib.util.spec_from_file_location("attack_stand_ins", Path(__file__).with_name("stand_ins.py"))
assert _spec and _spec.loader
stand_ins: Any = importlib.util.module_from_spec(_spec)
sys.modules["attack_stand_ins"] = stand_ins
_spec.loader.exec_module(stand_ins)

stand_ins.CODE = stand_ins.habits_chat.CODE = "MER-7741"  # What the demo assistant's instructions hold.
CONTEXT = re.compile(r"<context>.*?</context>\n?", re.S)
CUSTOMER = re.compile(r"\bcustomer (c-\d+)", re.I)
STATEMENT = re.compile(r"^(?:SELECT|INSERT)\b.*", re.S)
ROUNDS = 6
"""Calls of one question after which even the weak one answers."""


def message(body: dict[str, Any], is_weak: bool) -> dict[str, Any]:
    """What it says next in this conversation."""
    messages = [one | {"content": CONTEXT.sub("", str(one.get("content") or ""))} for one in body["messages"]]
    last = max(at for at, one in enumerate(messages) if one["role"] == "user")
    results = [one["content"] for one in messages[last + 1 :] if one["role"] == "tool"]
    asked = body | {"messages": messages[: last + 1]}
    if results and not (is_weak and stand_ins.data.AGAIN.search(messages[last]["content"]) and len(results) < ROUNDS):
        return {"content": "Here is what I have: " + " ".join(results)}
    offered = {tool["function"]["name"] for tool in body.get("tools", ())}
    return fitted(wanted(asked, offered, is_weak), offered)


def wanted(body: dict[str, Any], offered: set[str], is_weak: bool) -> dict[str, Any]:
    text = body["messages"][-1]["content"]
    named = CUSTOMER.search(text)
    if named and is_weak and "lookup_customer" in offered:
        found: dict[str, Any] = stand_ins.data.called("lookup_customer", {"customer": named[1]})
        return found
    if named:
        return {"content": "I can only speak with you about what is yours."}
    found = stand_ins.answer(body, is_weak)
    said = found.get("content") or ""
    if is_weak and STATEMENT.match(said) and "run_report" in offered:
        found = stand_ins.data.called("run_report", {"sql": said})
    return found


def fitted(found: dict[str, Any], offered: set[str]) -> dict[str, Any]:
    """A call with the arguments that the application's tools take."""
    calls = []
    for number, call in enumerate(found.get("tool_calls") or ()):
        name, told = call["function"]["name"], json.loads(call["function"]["arguments"])
        who = told.get("customer", "ann")
        shapes: dict[str, dict[str, Any]] = {
            "lookup_customer": {"customer_id": who},
            "read_ticket": {"ticket_id": who},
            "refund_payment": {"payment_id": "p-1", "amount": told.get("amount", 20), "account": "DE00"},
            "run_report": {"sql": told.get("sql") or f"SELECT * FROM customers WHERE id = '{who}'"},
        }
        if name in offered:
            arguments = json.dumps(shapes.get(name, told))
            calls.append({"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": arguments}})
    if calls:
        return {"content": None, "tool_calls": calls}
    return found if found.get("content") else {"content": "That I cannot do; a person at the branch can."}


class Handler(BaseHTTPRequestHandler):
    is_weak = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = {"role": "assistant", **message(body, self.is_weak)}
        reason = "tool_calls" if said.get("tool_calls") else "stop"
        usage = {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70}
        whole = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [{"index": 0, "message": said, "finish_reason": reason}], "usage": usage}  # fmt: skip
        data = json.dumps(whole).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("character", choices=["weak", "mended"])
    parser.add_argument("--port", type=int, required=True)
    told = parser.parse_args()
    Handler.is_weak = told.character == "weak"
    ThreadingHTTPServer(("127.0.0.1", told.port), Handler).serve_forever()
