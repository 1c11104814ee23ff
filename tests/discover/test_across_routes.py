"""Routes whose model runs in another file, over types, base classes and telling names, and routes that only look alike."""

from __future__ import annotations

from afterguard.code.parse import parse
from afterguard.discover import across, code
from afterguard.discover.summary import Summary
from afterguard.model import Asset, AssetKind, Certainty, Source


def crossed(tree: dict[str, str]) -> dict[str, Asset]:
    """Endpoints over the files of a tree."""
    assets: list[Asset] = []
    summaries: list[Summary] = []
    for path, text in tree.items():
        kind = {"py": "python", "ts": "typescript"}[path.rpartition(".")[2]]
        assets += code.find(parse(Source(path, text.encode(), kind)), summaries.append)
    return {one.name: one for one in across.settle(assets, summaries) if one.kind is AssetKind.ai_endpoint}


BRAIN = """
from openai import OpenAI
client = OpenAI()
def ask(question):
    return client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": question}])
"""
CALLER = """
from fastapi import FastAPI
from app.services.{module} import {name}
app = FastAPI()
@app.post("/ask")
def answer(question: str):
    return {name}(question)
"""


def test_a_route_reaches_the_model_through_a_function_of_another_module() -> None:
    tree = {"app/services/brain.py": BRAIN, "app/main.py": CALLER.format(module="brain", name="ask")}
    asset = crossed(tree)["POST /ask"]
    assert asset.kind is AssetKind.ai_endpoint
    assert asset.confidence is Certainty.inferred
    assert asset.evidence[0].path == "app/main.py"
    assert ("calls", "gpt-4o") in {(edge.relation, edge.name) for edge in asset.edges}


def test_a_function_of_the_same_name_in_another_module_is_not_it() -> None:
    assert not crossed({"app/services/brain.py": BRAIN, "app/main.py": CALLER.format(module="people", name="ask")})


def test_a_handler_is_followed_over_a_typed_parameter_and_an_abstract_class() -> None:
    base = "from abc import ABC\nclass Llm(ABC):\n    def send(self, text): ...\n"
    real = """
from openai import OpenAI
from app.llm.base import Llm
class OpenAiLlm(Llm):
    def __init__(self):
        self.client = OpenAI()
    def send(self, text):
        return self.client.chat.completions.create(model="gpt-4o", messages=[])
"""
    agent = """
from app.llm.base import Llm
class Helper:
    def __init__(self, llm: Llm):
        self.llm = llm
    def reply(self, text):
        return self.llm.send(text)
"""
    routes = """
from fastapi import FastAPI
from app.agent import Helper
def register(app: FastAPI, helper: Helper):
    @app.post("/chat")
    async def chat(text: str):
        async def stream():
            yield helper.reply(text)
        return stream()
    @app.get("/health")
    def health():
        return "ok"
"""
    assets = crossed({"app/llm/base.py": base, "app/llm/real.py": real, "app/agent.py": agent, "app/routes.py": routes})
    assert set(assets) == {"POST /chat"}


def test_a_next_route_reaches_a_request_to_a_provider_whose_host_is_a_default() -> None:
    common = """
const HOST = "api.openai.com";
const BASE = process.env.BASE_URL ?? HOST;
export async function forward(req) {
  let base = BASE;
  return fetch(`${base}/${req.path}`, { method: "POST" });
}
"""
    route = """
import { forward } from "../common";
export async function POST(req) {
  return forward(req);
}
"""
    assert set(crossed({"app/api/common.ts": common, "app/api/chat/route.ts": route})) == {"POST /api/chat"}


def test_a_telling_method_of_an_untyped_object_is_followed_and_a_common_word_is_not() -> None:
    store = """
from openai import OpenAI
class Base:
    def write_sql(self, question):
        return OpenAI().chat.completions.create(model="gpt-4o", messages=[])
    def run(self, question):
        return OpenAI().chat.completions.create(model="gpt-4o", messages=[])
"""
    routes = """
from flask import Flask
def build(app: Flask, vn):
    @app.route("/sql")
    def sql():
        return vn.write_sql("x")
    @app.route("/run")
    def run():
        return vn.run("x")
"""
    assert set(crossed({"lib/base.py": store, "web/routes.py": routes})) == {"GET /sql"}
