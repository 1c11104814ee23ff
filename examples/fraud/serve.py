"""Scores card payments. Runs on the standard library; the weights are a stand-in for a trained model."""

import argparse
import json
import math
import pickle
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

with open(Path(__file__).parent / "model" / "fraud.pkl", "rb") as handle:
    MODEL = pickle.load(handle)


def score(features: dict) -> float:
    total = MODEL["bias"]
    for name, weight in MODEL["weights"].items():
        total += weight * (float(features.get(name, 0)) - MODEL["mean"][name]) / MODEL["scale"][name]
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, total))))


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        features = json.loads(self.rfile.read(int(self.headers["content-length"])))
        value = score(features)
        body = json.dumps({"score": value, "decision": "decline" if value > 0.5 else "approve"}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("access-control-allow-origin", "*")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8090)
    ThreadingHTTPServer(("0.0.0.0", parser.parse_args().port), Handler).serve_forever()
