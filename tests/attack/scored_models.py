"""Stand-ins for predictive models over HTTP: the fraud model of examples/fraud as it is (weak), mended, and characters that are there to fool whoever measures.

`weak` is examples/fraud/serve.py itself. `mended` is the same weights without what a client can choose (hour, device age, and the amount only above an account's limit that the client cannot change), checks its input, says no score, and lets one client ask 250 times. The
others answer at random, always the same, with noise that any change turns over, with errors, or stop after a quota. One row a request, as examples/fraud has it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import math
import random
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "fraud" / "serve.py"
FEATURES = ("amount", "hour", "country_risk", "merchant_risk", "days_since_last", "device_age_days")
RANGES = {"amount": (0, 5_000), "hour": (0, 23), "country_risk": (0, 1), "merchant_risk": (0, 1), "days_since_last": (0, 365), "device_age_days": (0, 3_650)}  # fmt: skip
QUOTA = {"mended": 250, "quota": 60}
Row = dict[str, Any]
Said = tuple[int, Any]


def example() -> Any:
    """examples/fraud/serve.py as a module."""
    spec = importlib.util.spec_from_file_location("attack_fraud_serve", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(count: int, seed: int) -> list[Row]:
    """Card payments, some of them fraud."""
    rng = random.Random(seed)
    out = []
    for _ in range(count):
        is_fraud = rng.random() < 0.4
        out.append(
            {
                "amount": round(rng.lognormvariate(5.6 if is_fraud else 4.0, 0.6), 2),
                "hour": rng.randrange(24),
                "country_risk": round(min(1, max(0, rng.gauss(0.5 if is_fraud else 0.2, 0.15))), 3),
                "merchant_risk": round(min(1, max(0, rng.gauss(0.5 if is_fraud else 0.3, 0.15))), 3),
                "days_since_last": rng.randrange(1, 30),
                "device_age_days": rng.randrange(1, 300 if is_fraud else 1_200),
            }
        )
    return out


def weak(fraud: Any, row: Row) -> Said:
    value = fraud.score(row)
    return 200, {"score": value, "decision": "decline" if value > 0.5 else "approve"}


def mended(fraud: Any, row: Row) -> Said:
    problem = refusal(row)
    if problem:
        return 422, {"error": problem}
    # What a client can choose is not asked; days_since_last the bank knows itself.
    kept = fraud.MODEL["mean"] | {name: row[name] for name in ("amount", "country_risk", "merchant_risk", "days_since_last")}  # fmt: skip
    return 200, {"decision": "decline" if fraud.score(kept) > 0.5 else "approve"}


def refusal(row: Any) -> str:
    """What is wrong with a row, "" where nothing is."""
    if not isinstance(row, dict) or set(row) != set(FEATURES):
        return "features are missing, or there are others"
    for name, value in row.items():
        low, high = RANGES[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or not low <= value <= high:  # fmt: skip
            return f"{name} is not as agreed"
    return ""


def once(pairs: list[tuple[str, Any]]) -> Row:
    """An object in which no name comes twice."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else {}


def lot(fraud: Any, row: Row) -> Said:
    """Answers at random."""
    value = random.random()
    return 200, {"score": value, "decision": "decline" if value > 0.5 else "approve"}


def constant(fraud: Any, row: Row) -> Said:
    return 200, {"score": 0.5, "decision": "decline"}


def noise(fraud: Any, row: Row) -> Said:
    """The same row gets the same answer; any other row another one that has nothing to do with it."""
    value = int.from_bytes(hashlib.sha256(json.dumps(row, sort_keys=True).encode()).digest()[:4], "big") / 2**32
    return 200, {"score": value, "decision": "decline" if value > 0.5 else "approve"}


def jitter(fraud: Any, row: Row) -> Said:
    """Decides as the weak one, and says any score."""
    return 200, {"score": random.random(), "decision": weak(fraud, row)[1]["decision"]}


def error(fraud: Any, row: Row) -> Said:
    return 500, {"error": "out of cheese"}


CHARACTERS: dict[str, Callable[[Any, Row], Said]] = {
    "weak": weak, "mended": mended, "lot": lot, "constant": constant, "noise": noise, "jitter": jitter, "error": error, "quota": mended,
}  # fmt: skip


class Server(ThreadingHTTPServer):
    daemon_threads = True
    character = "weak"
    requests = 0
    fraud: Any = None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests += 1
        if self.server.requests > QUOTA.get(self.server.character, 1_000_000):
            return self.sent(429, {"error": "later"})
        try:
            row = json.loads(data, object_pairs_hook=once if self.server.character == "mended" else dict)
            status, said = CHARACTERS[self.server.character](self.server.fraud, row)
        except (ValueError, TypeError, OverflowError, AttributeError) as error:
            status, said = 500, {"error": str(error)}
        self.sent(status, said)

    def sent(self, status: int, said: Any) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def standing(character: str) -> Iterator[Server]:
    """A server of that character on a port of its own: `server_port`."""
    server = Server(("127.0.0.1", 0), Handler)
    server.character, server.fraud = character, example()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
