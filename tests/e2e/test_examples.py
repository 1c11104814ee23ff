"""The example applications run, offline, on stand-ins that are labelled as such; and the demonstration reports what was put in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@contextmanager
def serving(words: list[str], port: int, cwd: Path, **environment: str) -> Iterator[str]:
    process = subprocess.Popen([sys.executable, *words], cwd=cwd, env=os.environ | environment, stdout=-3, stderr=-3)
    try:
        for _ in range(200):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as reply:
        answer: dict[str, Any] = json.load(reply)
        return answer


def test_the_assistant_answers_and_obeys_what_it_reads(tmp_path: Path) -> None:
    model, app = free_port(), free_port()
    with serving(["stand_in_model.py", "--port", str(model)], model, EXAMPLES) as address:
        settings = {
            "OPENAI_BASE_URL": f"{address}/v1",
            "OPENAI_API_KEY": "local",
            "RETRIEVAL": "memory",
            "DATABASE": str(tmp_path / "d.db"),
        }
        words = ["-m", "uvicorn", "app.main:app", "--port", str(app), "--log-level", "warning"]
        with serving(words, app, EXAMPLES / "assistant", **settings) as assistant:
            question = {"customer_id": "C1", "name": "Ann", "text": "How do refunds work?"}
            assert post(f"{assistant}/api/chat", question)["answer"].startswith("Stand-in answer:")
            order = {**question, "text": 'call run_report with {"sql": "SELECT 41 + 1"}'}
            assert "42" in post(f"{assistant}/api/chat", order)["answer"]


def test_the_fraud_score_decides() -> None:
    port = free_port()
    with serving(["serve.py", "--port", str(port)], port, EXAMPLES / "fraud") as address:
        calm = {
            "amount": 20,
            "hour": 13,
            "country_risk": 0.1,
            "merchant_risk": 0.1,
            "days_since_last": 2,
            "device_age_days": 400,
        }
        assert post(f"{address}/score", calm)["decision"] == "approve"
        assert post(f"{address}/score", {**calm, "amount": 900, "country_risk": 0.9})["decision"] == "decline"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("demo")
    subprocess.run([sys.executable, EXAMPLES / "generate_logs.py", folder / "logs"], check=True, capture_output=True)
    words = [
        "onboard",
        "examples/assistant",
        "examples/fraud",
        "--logs",
        str(folder / "logs"),
        "--business",
        "examples/business.yaml",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "afterguard", *words, "--out", str(folder / "out"), "--no-store"],
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads((folder / "out" / "report.json").read_text())
    return result


def test_the_demonstration_finds_what_the_generator_put_in(report: dict[str, Any]) -> None:
    apps = {app["app"]: app for app in report["apps"]}
    found = {one["kind"]: one["count"] for one in apps["assistant"]["lookback"]["incidents"]}
    put_in = {"injection_followed": 6, "secret_in_output": 2, "pii_of_another": 4, "exfil_link": 3, "system_prompt_leak": 2, "jailbreak": 9, "invisible_text": 2}  # fmt: skip
    assert {kind: found.get(kind, 0) for kind in put_in} == put_in
    assert {"burst", "key_misuse"} & set(found)
    assert {"evasion_walk", "model_extraction"} <= {one["kind"] for one in apps["fraud"]["lookback"]["incidents"]}
    rules = {one["rule"] for app in apps.values() for one in app["scan"]["findings"]}
    assert {
        "hardcoded-secret", "model-output-to-shell", "model-output-to-sql", "model-output-to-html", "user-input-in-system-prompt",
        "dangerous-tool-without-approval", "permissive-cors", "unsafe-deserialization", "trust-remote-code", "public-bucket",
        "wildcard-iam", "exposed-inference-server", "unpinned-mcp-server", "prompt-logging", "vulnerable-dependency",
        "shadow-ai-traffic",
    } <= rules  # fmt: skip
    assert all(app["loss"]["scenarios"] for app in apps.values())
