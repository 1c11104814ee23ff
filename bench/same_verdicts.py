"""Does the guard decide the same at every door? The requests of the benchmark of hijacked agents, recorded once and replayed through each.

    python bench/same_verdicts.py record REQUESTS.jsonl --agent ../shared/bench/hijacked_agent.py --python PYTHON-WITH-AGENTDOJO [--limit 25]
    python bench/same_verdicts.py replay REQUESTS.jsonl [--doors proxy,envoy,squid,httpx,asgi,wsgi,litellm] [--policy strict] [--json FILE]

In: a benchmark that talks to an OpenAI-compatible address. Recorded are its requests and its obedient model's replies, without a guard between them. Out: for every door how many exchanges came out as at the guard's own
address (`proxy`), and where they did not. Compared are the verdict (action, rules and hits of the decision), what reached the provider, and what the client got. Of exchanges in which the guard asks the model again (it can at its own address and in clients of httpx), the first request is compared, and they are counted. Byte for byte, but for LiteLLM, which writes both anew: there
the messages are compared. Each door has a fresh guard, and the requests come one after another, so that every guard has seen the same before. Envoy, Squid and LiteLLM are real ones; a door whose host is not here is left out, with
the reason. It asks no model.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import doors
import gateway

DOORS = ("proxy", "envoy", "squid", "httpx", "asgi", "wsgi", "litellm")
CHAT = "/v1/chat/completions"
INSIDE = ("httpx", "asgi", "wsgi")
NAMED = re.compile(r"decision [0-9a-f-]{36}|afterguard-[0-9a-f-]{36}")
PATIENT: dict[str, Any] = {"budget_ms": 20_000.0}
"""Verdicts are compared, not speed: on a busy machine the usual budget would make them differ."""
HEADERS = {"content-type": "application/json", "authorization": f"Bearer {gateway.KEY}"}
Send = Callable[[bytes], tuple[int, bytes]]
Row = dict[str, Any]


class Model:
    """The provider: it says what it is told to say, and keeps what reached it."""

    def __init__(self) -> None:
        self.reply = b"{}"
        self.got: list[bytes] = []
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                model.got.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(model.reply)))
                self.end_headers()
                self.wfile.write(model.reply)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def post(url: str, body: bytes, timeout: float = 60.0) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, HEADERS), timeout=timeout) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


# --- recording ----------------------------------------------------------------------------------------------------------


def record(args: argparse.Namespace) -> int:
    """Stand between the benchmark and its model, and write down both."""
    far = gateway.free_port()
    rows: dict[bytes, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, reply = post(f"http://127.0.0.1:{far}{self.path}", body)
            rows.setdefault(body, reply)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            pass

    between = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=between.serve_forever, daemon=True).start()
    command = [args.python, args.agent, "--upstream-port", str(far), "--limit", str(args.limit)]
    command += ["--base-url", f"http://127.0.0.1:{between.server_address[1]}/v1", "--suites", *args.suites]
    subprocess.run([*command, "--attacks", *args.attacks], check=True)
    with args.file.open("w") as out:
        for body, reply in rows.items():
            out.write(json.dumps({"request": body.decode(), "reply": reply.decode()}) + "\n")
    print(f"{len(rows)} requests, none twice")
    return 0


# --- replaying ----------------------------------------------------------------------------------------------------------


def replayed(rows: list[Row], model: Model, send: Send, log: Path) -> list[Row]:
    """What came of each request. They go one after another, so the order of the decisions is theirs."""
    out = []
    for row in rows:
        model.reply, model.got = row["reply"].encode(), []
        status, said = send(row["request"].encode())
        out.append({"sent": _bodies(model.got), "status": status, "said": _said(said)})
    for one, line in zip(out, decisions(log, len(rows)), strict=True):
        one["verdict"] = verdict(line)
    return out


def decisions(log: Path, count: int, within: float = 30.0) -> list[Row]:
    """So many decisions, in the order in which their exchanges began: gateways that ask show a reply as it grows, so the decision comes seconds after it. Raises LookupError."""
    end = time.monotonic() + within
    while True:
        lines = log.read_bytes().splitlines(keepends=True) if log.exists() else []
        found = [json.loads(line) for line in lines if line.endswith(b"\n")]
        if len(found) >= count or time.monotonic() > end:
            break
        time.sleep(0.1)
    if len(found) != count:
        raise LookupError(f"{len(found)} decisions about {count} exchanges")
    return sorted(found, key=lambda line: line["time"])


def verdict(line: Row) -> Row:
    own = line["unmapped"]["afterguard"]
    return {
        "action": own.get("action"), "rules": sorted(own.get("matched", ())),
        "hits": sorted({one["kind"] for one in own.get("hits", ())}),
        "unjudged": sorted(one["reason"] for one in own.get("unjudged", ())),
    }  # fmt: skip


def _bodies(got: list[bytes]) -> Row:
    bodies = [json.loads(one) for one in got]
    return {
        "messages": [[_message(one) for one in body.get("messages", ())] for body in bodies],
        "bytes": [hashlib.sha256(one).hexdigest() for one in got],
    }


def _message(one: Row) -> Row:
    """A message without what its writers leave out or write as null; LiteLLM knows no developers."""
    found = {key: value for key, value in one.items() if value is not None and value != []}
    return found | {"role": "system"} if found.get("role") == "developer" else found


def _said(said: bytes) -> Row:
    try:
        found = json.loads(said)
    except ValueError:
        return {"bytes": "", "message": said.decode("utf-8", "replace")[:200]}
    plain = NAMED.sub("decision", said.decode())
    if "choices" in found:
        message: Any = {
            key: _message(found["choices"][0]["message"]).get(key) for key in ("role", "content", "tool_calls")
        }
    else:
        error = found.get("error", found)
        message = NAMED.sub("decision", str(error.get("message", error) if isinstance(error, dict) else error))
    return {"bytes": hashlib.sha256(plain.encode()).hexdigest(), "message": message}


def differences(name: str, mine: list[Row], plain: list[Row]) -> Counter[str]:
    """How often something is not as at the guard's own address."""
    count: Counter[str] = Counter()
    for one, other in zip(mine, plain, strict=True):
        exact = name != "litellm"
        key = "bytes" if exact else "messages"
        found = []
        if one["verdict"] != other["verdict"]:
            found.append("verdict")
        if one["sent"][key][:1] != other["sent"][key][:1]:
            found.append("what was sent on")
        count["asked again"] += len(one["sent"][key]) > 1
        if one["status"] != other["status"]:
            found.append("status")
        if exact and one["said"]["bytes"] != other["said"]["bytes"]:
            found.append("what the client got")
        if not exact and not _alike(one["said"]["message"], other["said"]["message"]):
            found.append("what the client got")
        one["differs"] = found
        count.update(found)
        count["any"] += bool(found)
    return count


def _alike(one: Any, other: Any) -> bool:
    """LiteLLM puts words of its own around a refusal's."""
    return other in one if isinstance(one, str) and isinstance(other, str) else one == other


# --- the doors ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def outside(name: str, model: Model, policy: str, scratch: Path) -> Iterator[tuple[Send, Path]]:
    """A fresh guard and, before it, a real Envoy, Squid or LiteLLM."""
    gateway.UPSTREAM_PORT = model.port
    doors.POLICY |= PATIENT | {"policy": policy}
    place = doors.Place(scratch)
    groups = {"envoy": doors.envoys, "squid": doors.squids, "litellm": doors.litellms}
    ways = [place.guard]
    if name != "proxy":
        ways += [way for way in groups[name](place) if way.missing or way.host]
        ways = [way for way in ways if way.name in ("guard", name, f"{name}, enforced")]
    held: list[Any] = []
    try:
        doors.up(ways, held, scratch)
        if ways[-1].missing:
            raise LookupError(ways[-1].missing)
        if ways[-1].process:
            gateway.to_tree(ways[-1].process.pid, gateway.signal.SIGCONT)
        time.sleep(3)  # Envoy asks for the health of its guards first
        url = f"http://127.0.0.1:{ways[-1].port}{ways[-1].path}"
        yield lambda body: post(url, body), scratch / "guard" / "decisions.jsonl"
    finally:
        for process in reversed(held):
            gateway.end(process)


def inside(kind: str, policy: str, model: Model, scratch: Path) -> tuple[Send, Path]:
    """The guard in this process, in a client of httpx or around an application that asks the model."""
    import httpx

    from afterguard import clients

    log = scratch / "decisions.jsonl"
    settings: dict[str, Any] = doors.POLICY | PATIENT | {"policy": policy, "folder": str(scratch), "log": str(log)}
    clients.guard(None, endpoint=["openai=/v1/*"], **settings)
    if kind == "httpx":
        http = clients.guarded(httpx.Client(base_url=f"http://127.0.0.1:{model.port}", timeout=60), "openai")
    elif kind == "wsgi":
        http = httpx.Client(transport=httpx.WSGITransport(app=clients.wsgi(_wsgi(model))), base_url="http://app")
    else:
        return _asgi_send(clients.asgi(_asgi(model))), log

    def send(body: bytes) -> tuple[int, bytes]:
        reply = http.post(CHAT, content=body, headers=HEADERS)
        return reply.status_code, reply.content

    return send, log


def _wsgi(model: Model) -> Any:
    def app(environ: Any, start: Any) -> list[bytes]:
        model.got.append(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(model.reply)))])
        return [model.reply]

    return app


def _asgi(model: Model) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        model.got.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": model.reply})

    return app


def _asgi_send(app: Any) -> Send:
    import asyncio

    import httpx

    loop = asyncio.new_event_loop()
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app")

    def send(body: bytes) -> tuple[int, bytes]:
        reply = loop.run_until_complete(http.post(CHAT, content=body, headers=HEADERS))
        return reply.status_code, reply.content

    return send


def one_door(name: str, args: argparse.Namespace) -> list[Row]:
    """Every request through one door."""
    rows = [json.loads(line) for line in args.file.read_text().splitlines()][: args.most or None]
    model = Model()
    with tempfile.TemporaryDirectory(prefix="same-verdicts-") as folder:
        if name in INSIDE:
            send, log = inside(name, args.policy, model, Path(folder))
            return replayed(rows, model, send, log)
        with outside(name, model, args.policy, Path(folder)) as (send, log):
            return replayed(rows, model, send, log)


def replay(args: argparse.Namespace) -> int:
    """Each door in a process of its own: the guard inside one is made once a process."""
    found: dict[str, list[Row]] = {}
    for name in args.doors.split(","):
        command = [sys.executable, __file__, "door", str(args.file), "--door", name, "--policy", args.policy]
        done = subprocess.run([*command, "--most", str(args.most)], capture_output=True, text=True)
        if done.returncode:
            print(f"{name}: left out, {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no reason'}")
            continue
        found[name] = json.loads(done.stdout)
        count = differences(name, found[name], found["proxy"])
        acted = Counter(row["verdict"]["action"] for row in found[name])
        told = (
            ", ".join(f"{key} {value}" for key, value in count.items() if key not in ("any", "asked again")) or "none"
        )
        print(
            f"{name}: {len(found[name])} exchanges, {count['any']} not as at the guard's own address ({told}); model asked again in {count['asked again']}; {dict(acted)}",
            flush=True,
        )
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return 1 if any(row["differs"] for rows in found.values() for row in rows) else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "replay", "door"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--agent", default="../shared/bench/hijacked_agent.py")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with agentdojo")
    parser.add_argument("--suites", nargs="+", default=["banking", "slack"])
    parser.add_argument("--attacks", nargs="+", default=["important_instructions", "ignore_previous", "direct"])
    parser.add_argument("--limit", type=int, default=25, help="attacked pairs of each suite and attack")
    parser.add_argument("--doors", default=",".join(DOORS), help="proxy is always first")
    parser.add_argument("--door", default="proxy")
    parser.add_argument("--policy", default="strict")
    parser.add_argument("--most", type=int, default=0, help="at most this many requests")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.what == "record":
        return record(args)
    if args.what == "replay":
        args.doors = ",".join(dict.fromkeys(["proxy", *args.doors.split(",")]))
        return replay(args)
    print(json.dumps(one_door(args.door, args)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
