"""Servers written by others, from the ordinary registries, running: MCP servers behind one bridge from standard streams to HTTP, and chat applications with the stand-in model behind them.

In: a folder. Out: addresses. What is installed is installed once, in environments of its own in the user's cache; where it cannot be had, the test skips and says why.
"""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from environments import CACHE, environment, litellm

_spec = importlib.util.spec_from_file_location("attack_standing", Path(__file__).with_name("standing.py"))
assert _spec and _spec.loader
standing: Any = sys.modules.get("attack_standing") or importlib.util.module_from_spec(_spec)
if "attack_standing" not in sys.modules:
    sys.modules["attack_standing"] = standing
    _spec.loader.exec_module(standing)

MCP = ("mcp<2", "mcp-proxy==0.13.0", "mcp-server-fetch==2026.10.10", "mcp-server-sqlite==2025.4.25", "mcp-server-time==2026.10.10", "mseep-dvmcp==0.1.0", "vuln-mcp-filesystem-workspace-actions==0.1.0")  # fmt: skip
NODE = ("@modelcontextprotocol/server-filesystem@2026.8.31", "@modelcontextprotocol/server-everything@2026.8.31")
CHAT = {"gradio": ("gradio==6.31.0", "openai"), "langserve": ("langserve[server]==0.3.3", "langchain-openai")}
MLFLOW = (
    "mlflow-skinny==3.17.2", "scikit-learn==1.9.1", "pandas==3.1.1", "fastapi==0.165.0", "uvicorn==0.54.0",
    "flask==3.1.3", "flask-cors==6.0.5", "flask-wtf==1.3.0", "sqlalchemy==2.1.9", "alembic==1.20.1", "graphene==3.4.3", "aiohttp==3.14.5",
)  # fmt: skip
"""Its model server and its registry, with accounts, and nothing else of it."""
KEY = "sk-stand-in-of-the-gateway-4711-with-enough-letters"
"""LiteLLM asks for one."""
FILE, PAGE, ROW = "FIL-3381-QZ", "PGE-6620-WX", "ROW-9072-HJ"
PAGES = {"/inside": f"Staff only. The reference is {PAGE}.", "/hours": "The shop opens at nine, on Saturdays at ten."}


def mlflow() -> str:
    """An interpreter that has MLflow: the one that PYTHON_WITH_MLFLOW names, or that of an environment made once."""
    named = os.environ.get("PYTHON_WITH_MLFLOW", "")
    return named if named and Path(named).exists() else str(environment("mlflow", *MLFLOW))


def node(*packages: str) -> Path:
    """The folder of Node's modules with these."""
    folder = CACHE / "node"
    mark = folder / "whole"
    if not shutil.which("npm"):
        pytest.skip("no npm here")
    if not mark.exists() or mark.read_text() != repr(packages):
        folder.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", *packages], cwd=folder, capture_output=True, text=True, check=False)  # fmt: skip
        if made.returncode:
            pytest.skip(f"npm cannot install {packages[0]}: {made.stderr.strip()[-200:]}")
        mark.write_text(repr(packages))
    return folder / "node_modules"


@contextlib.contextmanager
def page_inside() -> Iterator[str]:
    """A page on this machine with a planted value: its address."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path in PAGES
            data = PAGES.get(self.path, "Nothing here.").encode()
            self.send_response(200 if found else 404)
            self.send_header("content-type", "text/plain")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/inside"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def planted(folder: Path) -> tuple[Path, Path, Path]:
    """A folder that may be read, a file beside it that may not, a database."""
    here, secret, base = folder / "open", folder / "kept.txt", folder / "shop.db"
    here.mkdir()
    (here / "readme.txt").write_text("The shop opens at nine.\n")
    secret.write_text(f"The reference is {FILE}.\n")
    with sqlite3.connect(base) as one:
        one.execute("CREATE TABLE products (name, price)")
        one.execute("INSERT INTO products VALUES ('pen', 2)")
        one.execute("CREATE TABLE staff (name, reference)")
        one.execute(f"INSERT INTO staff VALUES ('Dana Whitfield', '{ROW}')")
    one.close()
    return here, secret, base


def commands(python: Path, here: Path, base: Path) -> dict[str, list[str]]:
    """Name -> how each server is started."""
    bin = python.parent
    told = {
        "fetch": [str(bin / "mcp-server-fetch")],
        "fetch-open": [str(bin / "mcp-server-fetch"), "--allow-private-ips"],
        "sqlite": [str(bin / "mcp-server-sqlite"), "--db-path", str(base)],
        "time": [str(bin / "mcp-server-time"), "--local-timezone", "UTC"],
        "vulnerable-files": [str(bin / "vuln-mcp-filesystem-workspace-actions"), str(here)],
    }
    for number, level in (("3", "easy"), ("9", "hard"), ("1", "easy")):
        told[f"dvmcp-{number}"] = [str(python), "-c", f"from challenges.{level}.challenge{number}.server import mcp; mcp.run()"]  # fmt: skip
    if shutil.which("npm"):
        modules = node(*NODE)
        told["files"] = ["node", str(modules / "@modelcontextprotocol/server-filesystem/dist/index.js"), str(here)]
        told["everything"] = ["node", str(modules / "@modelcontextprotocol/server-everything/dist/index.js")]
    return told


@contextlib.contextmanager
def mcp_servers(folder: Path, here: Path, base: Path, names: tuple[str, ...]) -> Iterator[str]:
    """Those servers behind one bridge: its origin; each is at /servers/NAME/mcp."""
    python = environment("mcp", *MCP)
    told = commands(python, here, base)
    url = f"http://127.0.0.1:{standing.free_port()}"
    named = {"mcpServers": {name: {"command": told[name][0], "args": told[name][1:], "enabled": True} for name in names if name in told}}  # fmt: skip
    config = folder / "servers.json"
    config.write_text(json.dumps(named))
    command = [str(python.parent / "mcp-proxy"), "--port", url.rpartition(":")[2], "--named-server-config", str(config), "--log-level", "ERROR"]  # fmt: skip
    with standing.process(folder, "bridge", command, standing.answers(url), PYTHONPATH=""):
        yield url


def has_node() -> bool:
    return shutil.which("npm") is not None


@contextlib.contextmanager
def chat(name: str, folder: Path, origin: str, instructions: str, canned: str = "") -> Iterator[str]:
    """A chat application of somebody else's, with the model at `origin` behind it: its address."""
    url = f"http://127.0.0.1:{standing.free_port()}"
    port = url.rpartition(":")[2]
    settings = {"OPENAI_BASE_URL": f"{origin}/v1", "OPENAI_API_KEY": "local", "DESK_SYSTEM": instructions, "PYTHONPATH": "", "HOME": str(folder)}  # fmt: skip
    settings |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MASTER_KEY": KEY,
    }
    if name == "litellm":
        command = [litellm(), "--config", str(proxied(folder, origin, canned)), "--host", "127.0.0.1", "--port", port]
    else:
        command = [str(environment(name, *CHAT[name])), str(Path(__file__).parent / "apps" / f"{name}_chat.py"), port]
    with standing.process(folder, name, command, standing.answers(url), **settings):
        yield url


def proxied(folder: Path, origin: str, canned: str) -> Path:
    """LiteLLM's settings: a model behind it, or a reply of its own."""
    config = folder / "litellm.yaml"
    told = {"model": "openai/m", "api_base": f"{origin}/v1", "api_key": "k"} | ({"mock_response": canned} if canned else {})  # fmt: skip
    config.write_text(json.dumps({"model_list": [{"model_name": "m", "litellm_params": told}], "litellm_settings": {"telemetry": False, "num_retries": 0}}))  # fmt: skip
    return config
