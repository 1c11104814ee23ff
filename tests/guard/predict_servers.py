"""Stand-ins for model servers: one HTTP server that answers as KServe v2 (JSON and binary tensors), TensorFlow Serving, MLflow, SageMaker, TorchServe and a scoring API of one's own do. Its model is a logistic function of the first four features.

Labelled as what it is: the wire formats are those of the servers' documentation, and the KServe side is held against the real `tritonclient` in test_predicting.py; the model and the server are ours.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

WEIGHTS = (0.8, -0.5, 0.3, 0.9)


def score(row: list[float], shift: float = 0.0) -> float:
    """The model."""
    return 1 / (1 + math.exp(-sum(w * x for w, x in zip(WEIGHTS, row)) - shift))


class ModelServer:
    """A running stand-in."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.origin = f"http://127.0.0.1:{server.server_port}"
        self.asked: list[tuple[str, bytes]] = []
        """(path, body) of every request."""
        self.shift = 0.0


@contextlib.contextmanager
def model_server() -> Iterator[ModelServer]:
    """A stand-in, running."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.say({"name": "fraud", "versions": ["1"], "platform": "stand-in", "inputs": [], "outputs": []})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            made.asked.append((self.path, body))
            try:
                answer(self, made, body)
            except (ValueError, KeyError):
                self.send_error(400)

        def say(self, value: Any, *headers: tuple[str, str], kind: str = "application/json") -> None:
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            for name, text in headers:
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = ModelServer(server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def answer(handler: Any, made: ModelServer, body: bytes) -> None:
    path = handler.path
    if path.endswith("/infer"):
        _kserve(handler, made, body)
    elif ":predict" in path:
        rows = json.loads(body)["instances"]
        handler.say({"predictions": [[1 - score(row, made.shift), score(row, made.shift)] for row in rows]})
    elif path.endswith("/invocations") and "/endpoints/" in path:
        rows = [[float(cell) for cell in line.split(",")] for line in body.decode().splitlines()]
        handler.say("\n".join(repr(score(row, made.shift)) for row in rows).encode() + b"\n", kind="text/csv")
    elif path.endswith("/invocations"):
        rows = json.loads(body)["dataframe_split"]["data"]
        handler.say({"predictions": [score(row, made.shift) for row in rows]})
    elif path.startswith("/predictions/"):
        found = score(json.loads(body)["data"][0], made.shift)
        handler.say({"fraud": found, "fine": 1 - found})
    else:
        found = score(list(json.loads(body)["applicant"].values())[:4], made.shift)
        handler.say({"result": {"risk_score": found, "decision": "deny" if found > 0.5 else "grant"}, "took_ms": 3.25})


def _kserve(handler: Any, made: ModelServer, body: bytes) -> None:
    length = int(handler.headers.get("inference-header-content-length", len(body)))
    head, raw = json.loads(body[:length]), body[length:]
    one = head["inputs"][0]
    size = one.get("parameters", {}).get("binary_data_size")
    data = np.frombuffer(raw[:size], "<f4") if size is not None else np.array(one["data"], dtype=float).ravel()
    rows = data.reshape(one["shape"]).tolist()
    scores = [[1 - score(row, made.shift), score(row, made.shift)] for row in rows]
    out: dict[str, Any] = {"name": "probabilities", "datatype": "FP32", "shape": [len(rows), 2]}
    label = {"name": "label", "datatype": "INT64", "shape": [len(rows)], "data": [int(b > a) for a, b in scores]}
    reply: dict[str, Any] = {"model_name": "fraud", "model_version": "1", "outputs": [out, label]}
    wants = head.get("outputs", [{}])[0].get("parameters", {}).get("binary_data") or head.get("parameters", {}).get(
        "binary_data_output"
    )
    if not wants:
        out["data"] = [cell for row in scores for cell in row]
        handler.say(reply)
        return
    tensor = np.array(scores, "<f4").tobytes()
    out["parameters"] = {"binary_data_size": len(tensor)}
    text = json.dumps(reply).encode()
    handler.say(text + tensor, ("inference-header-content-length", str(len(text))), kind="application/octet-stream")
