"""A turn that is asked as somebody else says so in its request, where the target file has a place for it; a target without such a place is not tested for it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from afterguard.attack.contract import Prompt
from afterguard.errors import UsageError
from afterguard.targets.document import Target
from afterguard.targets.load import load
from afterguard.targets.talking import Talking

HEAD = "format: afterguard.target/1\nname: desk\nurl: http://127.0.0.1:{port}/chat\nknows: {{identities: [ann, bob]}}\n"
HEADER = "headers: {x-customer: '{{identity}}'}\n"
TEMPLATE = "kind: template\ntemplate: {body: {who: '{{identity}}', text: '{{prompt}}'}, reply: '.choices[0].message.content'}\n"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        who = body.get("who") or self.headers.get("x-customer", "nobody")
        data = json.dumps({"choices": [{"message": {"role": "assistant", "content": f"hello {who}"}}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def target(port: int, more: str) -> Target:
    return load(HEAD.format(port=port) + more, "t.yaml", {})


@pytest.mark.parametrize("more", [HEADER, TEMPLATE])
def test_as_whom_it_is_asked_is_sent(more: str) -> None:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        one = target(server.server_port, more)
        talking: Any = Talking(one, "run")
        assert one.switches and one.aim("s").switches
        # A template says where the answer stands, and nothing of calls: that none was made is not known then.
        assert one.aim("s").shows_calls is (more is HEADER)
        assert talking.ask(Prompt("hi", identity="bob")).text == "hello bob"
        assert talking.ask(Prompt("hi")).text == "hello ann"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_a_target_without_a_place_for_it() -> None:
    assert not target(1, "").switches and not target(1, "headers: {x-customer: ann}\n").aim("s").switches


def test_an_identity_that_no_header_can_hold() -> None:
    with pytest.raises(UsageError, match="cannot stand in a header"):
        load(HEAD.format(port=1).replace("bob", "Zoë") + HEADER, "t.yaml", {})
