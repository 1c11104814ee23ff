"""Names are followed over the files of one application in four languages; what cannot be known stays open, and circles end."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.code.parse import parse
from afterguard.discover import across, code, environment
from afterguard.discover.packages import Packages
from afterguard.discover.summary import Summary
from afterguard.files import kind_of
from afterguard.jobs.survey import survey
from afterguard.model import App, Asset, AssetKind, Certainty, Source


def found(tree: dict[str, str]) -> list[Asset]:
    """Assets of a tree of texts, settled."""
    assets: list[Asset] = []
    summaries: list[Summary] = []
    for path, text in tree.items():
        data = textwrap.dedent(text).lstrip("\n").encode()
        parsed = parse(Source(path, data, kind_of(path, data), len(data)))
        assets += code.find(parsed, keep=summaries.append)
        assets += environment.find(parsed)
    return across.settle(assets, summaries)


def names(assets: list[Asset], *kinds: AssetKind) -> set[str]:
    return {one.name for one in assets if one.kind in kinds}


def edges(assets: list[Asset], kind: AssetKind, name: str) -> set[tuple[str, str, str]]:
    return {
        (edge.relation, edge.kind.value, edge.name)
        for one in assets
        if (one.kind, one.name) == (kind, name)
        for edge in one.edges
    }


MODELS = (AssetKind.model, AssetKind.embedding_model)
CALL = "client = openai.OpenAI()\nreply = client.chat.completions.create(model={}, messages=[])\n"

CONSTANTS = {
    "python, package": {
        "app/settings.py": 'import os\nCHAT = os.getenv("CHAT", "gpt-4o")\n',
        "app/main.py": "import openai\nfrom app.settings import CHAT\n" + CALL.format("CHAT"),
    },
    "python, relative and renamed": {
        "a/core/conf.py": 'CHAT = "gpt-4o"\n',
        "a/api/main.py": "import openai\nfrom ..core.conf import CHAT as M\n" + CALL.format("M"),
    },
    "python, handed on by the package": {
        "app/conf/__init__.py": "from .names import CHAT\n",
        "app/conf/names.py": 'CHAT = "gpt-4o"\n',
        "app/main.py": "import openai\nfrom app import conf\n" + CALL.format("conf.CHAT"),
    },
    "python, star": {
        "app/conf/__init__.py": "from .names import *\n",
        "app/conf/names.py": 'CHAT = "gpt-4o"\n',
        "app/main.py": "import openai\nfrom app.conf import CHAT\n" + CALL.format("CHAT"),
    },
    "python, settings object": {
        "app/config.py": """
            from pydantic_settings import BaseSettings
            class Settings(BaseSettings):
                openai_model: str = "gpt-4o"
            settings = Settings()
            """,
        "app/main.py": "import openai\nfrom app.config import settings\n" + CALL.format("settings.openai_model"),
    },
    "python, settings handed out": {
        "app/config.py": """
            from dataclasses import dataclass
            @dataclass
            class Settings:
                openai_model: str = "gpt-4o"
            def get_settings() -> Settings:
                return Settings()
            """,
        "app/main.py": "import openai\nfrom app.config import get_settings\ndef ask():\n    cfg = get_settings()\n"
        + textwrap.indent(CALL.format("cfg.openai_model"), "    "),
    },
    "python, settings filled by a variable": {
        ".env": "OPENAI_MODEL=gpt-4o\n",
        "app/config.py": """
            from pydantic_settings import BaseSettings
            class Settings(BaseSettings):
                openai_model: str
            settings = Settings()
            """,
        "app/main.py": "import openai\nfrom app.config import settings\n" + CALL.format("settings.openai_model"),
    },
    "python, variable of the environment": {
        ".env": "OPENAI_MODEL=gpt-4o\n",
        "app/main.py": "import os, openai\n" + CALL.format('os.environ["OPENAI_MODEL"]'),
    },
    "python, constant of a class": {
        "app/conf.py": 'class Names:\n    CHAT = "gpt-4o"\n',
        "app/main.py": "import openai\nfrom app.conf import Names\n" + CALL.format("Names.CHAT"),
    },
    "python, map": {
        "app/conf.py": 'LLM = {"model": "gpt-4o"}\n',
        "app/main.py": "import openai\nfrom app.conf import LLM\n" + CALL.format('LLM["model"]'),
    },
    "python, settings of a django project": {
        "shop/settings.py": 'import os\nGPT_MODEL = os.environ.get("GPT_MODEL", "gpt-4o")\n',
        "shop/views.py": "import openai\nfrom django.conf import settings\n" + CALL.format("settings.GPT_MODEL"),
    },
    "typescript, relative": {
        "src/config.ts": 'export const CHAT = process.env.CHAT ?? "gpt-4o";\n',
        "src/main.ts": """
            import OpenAI from "openai";
            import { CHAT } from "./config";
            const client = new OpenAI();
            export async function ask(q: string) { return client.chat.completions.create({ model: CHAT, messages: [] }); }
            """,
    },
    "typescript, alias and index": {
        "src/lib/config/index.ts": 'export * from "./names";\n',
        "src/lib/config/names.ts": 'export const CONFIG = { model: "gpt-4o" };\n',
        "src/app/main.ts": """
            import OpenAI from "openai";
            import { CONFIG } from "@/lib/config";
            const client = new OpenAI();
            export async function ask(q: string) { return client.chat.completions.create({ model: CONFIG.model, messages: [] }); }
            """,
    },
    "javascript, require": {
        "config.js": 'const CHAT = "gpt-4o";\nmodule.exports = { CHAT };\n',
        "main.js": """
            const OpenAI = require("openai");
            const { CHAT } = require("./config");
            const client = new OpenAI();
            async function ask(q) { return client.chat.completions.create({ model: CHAT, messages: [] }); }
            """,
    },
    "java, static constant": {
        "src/main/java/com/x/Names.java": 'package com.x;\npublic class Names { public static final String CHAT = "gpt-4o"; }\n',
        "src/main/java/com/x/web/Ask.java": """
            package com.x.web;
            import com.x.Names;
            import dev.langchain4j.model.openai.OpenAiChatModel;
            public class Ask { OpenAiChatModel m() { return OpenAiChatModel.builder().modelName(Names.CHAT).build(); } }
            """,
    },
    "java, same package": {
        "com/x/Names.java": 'package com.x;\npublic class Names { public static final String CHAT = "gpt-4o"; }\n',
        "com/x/Ask.java": """
            package com.x;
            import dev.langchain4j.model.openai.OpenAiChatModel;
            public class Ask { OpenAiChatModel m() { return OpenAiChatModel.builder().modelName(Names.CHAT).build(); } }
            """,
    },
    "go, same package": {
        "names.go": 'package main\n\nconst Chat = "gpt-4o"\n',
        "main.go": """
            package main
            import openai "github.com/sashabaranov/go-openai"
            func ask(c *openai.Client) {
                c.CreateChatCompletion(ctx, openai.ChatCompletionRequest{Model: Chat})
            }
            """,
    },
    "go, other package": {
        "internal/conf/names.go": 'package conf\n\nconst Chat = "gpt-4o"\n',
        "main.go": """
            package main
            import (
                openai "github.com/sashabaranov/go-openai"
                "example.com/app/internal/conf"
            )
            func ask(c *openai.Client) {
                c.CreateChatCompletion(ctx, openai.ChatCompletionRequest{Model: conf.Chat})
            }
            """,
    },
}


@pytest.mark.parametrize("case", CONSTANTS)
def test_a_model_named_in_another_file(case: str) -> None:
    """Its evidence stands where it is used, and nothing open is left."""
    tree = CONSTANTS[case]
    models = [one for one in found(tree) if one.kind in MODELS]
    used = list(tree)[-1]
    assert {one.name for one in models} == {"gpt-4o"}, models
    assert any(
        one.evidence[0].path == used and one.confidence is Certainty.inferred and one.attributes["provider"] == "openai"
        for one in models
    )


OPEN = {
    "unknown module": {"app/main.py": "import openai\nfrom elsewhere.conf import CHAT\n" + CALL.format("CHAT")},
    "no such name": {
        "app/conf.py": 'OTHER = "gpt-4o"\n',
        "app/main.py": "import openai\nfrom app.conf import CHAT\n" + CALL.format("CHAT"),
    },
    "placeholder": {
        "app/conf.py": 'CHAT = "your-model-here"\n',
        "app/main.py": "import openai\nfrom app.conf import CHAT\n" + CALL.format("CHAT"),
    },
    "circle": {
        "app/a.py": "from app.b import CHAT\n",
        "app/b.py": "from app.a import CHAT\n",
        "app/main.py": "import openai\nfrom app.a import CHAT\n" + CALL.format("CHAT"),
    },
    "variable nobody sets": {
        ".env": "OTHER_MODEL=gpt-4o\n",
        "app/main.py": "import os, openai\n" + CALL.format('os.environ["OPENAI_MODEL"]'),
    },
    "a parameter is nobody else's name": {
        "chat.go": 'package main\n\nconst model = "gpt-4o"\n',
        "main.go": """
            package main
            import openai "github.com/sashabaranov/go-openai"
            func ask(c *openai.Client, model string) {
                c.CreateChatCompletion(ctx, openai.ChatCompletionRequest{Model: model})
            }
            """,
    },
}


@pytest.mark.parametrize("case", OPEN)
def test_what_cannot_be_known_stays_open(case: str) -> None:
    tree = OPEN[case]
    used = [one for one in found(tree) if one.kind in MODELS and one.evidence[0].path == list(tree)[-1]]
    assert len(used) == 1 and used[0].confidence is Certainty.unresolved
    assert used[0].name.startswith("unresolved:")


LLM_PY = """
    import openai
    client = openai.OpenAI()
    def ask(q):
        return client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": q}])
    class Chat:
        def go(self, q):
            return ask(q)
    def size(q):
        return len(q)
    """

ENDPOINTS = {
    "fastapi, router mounted elsewhere": (
        "POST /api/v1/ask",
        {
            "app/llm.py": LLM_PY,
            "app/routes/ask.py": """
                from fastapi import APIRouter
                from app.llm import ask
                router = APIRouter(prefix="/v1")
                @router.post("/ask")
                async def answer(q: str): return ask(q)
                @router.get("/health")
                async def health(): return "ok"
                """,
            "app/main.py": """
                from fastapi import FastAPI
                from app.routes import ask
                app = FastAPI()
                app.include_router(ask.router, prefix="/api")
                """,
        },
    ),
    "fastapi, injected service": (
        "POST /ask",
        {
            "app/llm.py": LLM_PY,
            "app/deps.py": "from app.llm import Chat\ndef chat() -> Chat:\n    return Chat()\n",
            "app/main.py": """
                from fastapi import Depends, FastAPI
                from app.deps import chat
                from app.llm import Chat
                app = FastAPI()
                @app.post("/ask")
                async def answer(q: str, service: Chat = Depends(chat)): return service.go(q)
                """,
        },
    ),
    "flask, blueprint": (
        "POST /api/ask",
        {
            "app/llm.py": LLM_PY,
            "app/views.py": """
                from flask import Blueprint
                from .llm import Chat
                bp = Blueprint("ask", __name__)
                @bp.route("/ask", methods=["POST"])
                def answer():
                    return Chat().go("x")
                """,
            "app/__init__.py": """
                from flask import Flask
                def create_app():
                    from .views import bp
                    app = Flask(__name__)
                    app.register_blueprint(bp, url_prefix="/api")
                    return app
                """,
        },
    ),
    "three files deep": (
        "POST /ask",
        {
            "app/llm.py": LLM_PY,
            "app/service.py": "from app.llm import Chat\nclass Service:\n    def __init__(self):\n        self.chat = Chat()\n"
            "    def reply(self, q):\n        return self.chat.go(q)\n",
            "app/facade.py": "from app.service import Service\nservice = Service()\n",
            "app/main.py": """
                from fastapi import FastAPI
                from app.facade import service
                app = FastAPI()
                @app.post("/ask")
                async def answer(q: str): return service.reply(q)
                """,
        },
    ),
    "express, router and controller": (
        "POST /api/ask",
        {
            "src/llm.ts": """
                import OpenAI from "openai";
                const client = new OpenAI();
                export async function ask(q: string) { return client.chat.completions.create({ model: "gpt-4o", messages: [] }); }
                """,
            "src/controller.ts": """
                import { ask } from "./llm";
                export const answer = async (req, res) => { res.json(await ask(req.body.q)); };
                export const health = async (req, res) => { res.json("ok"); };
                """,
            "src/routes.ts": """
                import { Router } from "express";
                import { answer, health } from "./controller";
                const router = Router();
                router.post("/ask", answer);
                router.get("/health", health);
                export default router;
                """,
            "src/main.ts": """
                import express from "express";
                import router from "./routes";
                const app = express();
                app.use("/api", router);
                """,
        },
    ),
    "next.js, library": (
        "POST /api/ask",
        {
            "src/lib/llm.ts": """
                import OpenAI from "openai";
                export const client = new OpenAI();
                export async function ask(q: string) { return client.chat.completions.create({ model: "gpt-4o", messages: [] }); }
                """,
            "src/app/api/ask/route.ts": """
                import { ask } from "@/lib/llm";
                export async function POST(req: Request) { return Response.json(await ask("x")); }
                """,
        },
    ),
    "spring, service behind an interface": (
        "POST /api/ask",
        {
            "src/main/java/com/x/service/ChatService.java": "package com.x.service;\npublic interface ChatService { String ask(String q); }\n",
            "src/main/java/com/x/service/OpenAiService.java": """
                package com.x.service;
                import dev.langchain4j.model.openai.OpenAiChatModel;
                public class OpenAiService implements ChatService {
                    private final OpenAiChatModel model = OpenAiChatModel.builder().modelName("gpt-4o").build();
                    public String ask(String q) { return model.chat(q); }
                }
                """,
            "src/main/java/com/x/web/Ask.java": """
                package com.x.web;
                import com.x.service.ChatService;
                @RestController
                @RequestMapping("/api")
                public class Ask {
                    private final ChatService chat;
                    public Ask(ChatService chat) { this.chat = chat; }
                    @PostMapping("/ask") public String answer(@RequestBody String q) { return chat.ask(q); }
                    @GetMapping("/health") public String health() { return "ok"; }
                }
                """,
        },
    ),
    "django, table of addresses": (
        "ANY ask/",
        {
            "shop/llm.py": LLM_PY,
            "shop/views.py": "from .llm import Chat\nhelper = Chat()\ndef chat(request):\n    return helper.go('x')\n"
            "def home(request):\n    return 'home'\n",
            "shop/urls.py": "from django.urls import path\nfrom . import views\n"
            'urlpatterns = [path("ask/", views.chat), path("", views.home)]\n',
        },
    ),
    "nestjs, injected service": (
        "POST /chat/ask",
        {
            "src/chat.service.ts": """
                import OpenAI from "openai";
                export class ChatService {
                  private readonly client: OpenAI;
                  constructor() { this.client = new OpenAI(); }
                  async ask(q: string) { return this.client.chat.completions.create({ model: "gpt-4o", messages: [] }); }
                }
                """,
            "src/chat.controller.ts": """
                import { Controller, Post, Get, Body } from "@nestjs/common";
                import { ChatService } from "./chat.service";
                @Controller("chat")
                export class ChatController {
                  constructor(private readonly service: ChatService) {}
                  @Post("ask")
                  async ask(@Body() q: string) { return this.service.ask(q); }
                  @Get("health")
                  health() { return "ok"; }
                }
                """,
        },
    ),
    "go, handler in another file of the package": (
        "ANY /ask",
        {
            "llm.go": """
                package main
                import openai "github.com/sashabaranov/go-openai"
                type Llm struct { client *openai.Client }
                func (l *Llm) Ask(q string) string {
                    l.client.CreateChatCompletion(ctx, openai.ChatCompletionRequest{Model: "gpt-4o"})
                    return ""
                }
                """,
            "main.go": """
                package main
                import "net/http"
                type Server struct { llm *Llm }
                func (s *Server) answer(w http.ResponseWriter, r *http.Request) { s.llm.Ask("x") }
                func (s *Server) health(w http.ResponseWriter, r *http.Request) { w.Write(nil) }
                func main() {
                    s := &Server{}
                    http.HandleFunc("/ask", s.answer)
                    http.HandleFunc("/health", s.health)
                }
                """,
        },
    ),
}


@pytest.mark.parametrize("case", ENDPOINTS)
def test_a_route_that_runs_a_model_elsewhere(case: str) -> None:
    name, tree = ENDPOINTS[case]
    assets = found(tree)
    assert names(assets, AssetKind.ai_endpoint) == {name}
    assert ("calls", "model", "gpt-4o") in edges(assets, AssetKind.ai_endpoint, name)


def test_agents_use_tools_and_tools_read_stores_of_other_files() -> None:
    assets = found(
        {
            "app/store.py": """
                from langchain_chroma import Chroma
                store = Chroma(collection_name="docs")
                def search(q): return store.similarity_search(q)
                """,
            "app/tools.py": """
                from langchain_core.tools import tool
                from app.store import search
                @tool
                def look_up(q: str) -> str:
                    "Find passages."
                    return search(q)
                """,
            "app/plain.py": "def pay(amount: int) -> str:\n    return 'paid'\ndef prompt():\n    return 'x'\n",
            "app/agent.py": """
                from langchain.agents import create_agent
                from langchain_openai import ChatOpenAI
                from app.tools import look_up
                from app.plain import pay
                from app.plain import prompt
                helper = create_agent(ChatOpenAI(model="gpt-4o"), tools=[look_up, pay], system_prompt=prompt())
                """,
            "app/main.py": """
                from fastapi import FastAPI
                from app.agent import helper
                app = FastAPI()
                @app.post("/ask")
                def answer(q: str): return helper.invoke(q)
                """,
        }
    )
    agent = edges(assets, AssetKind.agent, "helper")
    assert {("uses", "tool", "look_up"), ("uses", "tool", "pay"), ("calls", "model", "gpt-4o")} <= agent
    assert ("reads", "vector_store", "chroma") in edges(assets, AssetKind.tool, "look_up")
    assert ("calls", "agent", "helper") in edges(assets, AssetKind.ai_endpoint, "POST /ask")
    assert {one.evidence[0].path for one in assets if one.name == "pay"} == {"app/plain.py"}
    assert names(assets, AssetKind.tool) == {"look_up", "pay"}


def test_a_route_that_only_shares_a_file_with_a_model_is_none() -> None:
    assets = found(
        {
            "app/llm.py": LLM_PY,
            "app/main.py": """
                from fastapi import FastAPI
                from app.llm import size
                app = FastAPI()
                @app.get("/size")
                def count(q: str): return size(q)
                """,
            "other/ask.py": "def ask(q): return q\n",
            "other/main.py": """
                from fastapi import FastAPI
                from other.ask import ask
                app = FastAPI()
                @app.get("/echo")
                def echo(q: str): return ask(q)
                """,
        }
    )
    assert not names(assets, AssetKind.ai_endpoint)


def test_an_import_finds_the_nearest_file_and_no_library() -> None:
    packages = Packages(
        [
            "app/main.py",
            "app/settings.py",
            "app/__init__.py",
            "b/app/settings.py",
            "web/src/lib/db/index.ts",
            "x/openai.py",
        ]
    )
    assert packages.files("app.settings", "app/main.py") == ["app/settings.py"]
    assert packages.files("app.settings", "b/main.py") == ["b/app/settings.py"]
    assert packages.files("openai", "app/main.py") == []
    assert packages.files("@/lib/db", "web/src/app/page.tsx") == ["web/src/lib/db/index.ts"]
    assert packages.files("../../../../etc", "web/a.ts") == []


PIECES = st.sampled_from(
    [
        "from app.a import x\n",
        "from .b import *\n",
        "from . import c\n",
        "from ...... import d\n",
        "import app.a as y\n",
        "x = y.x\n",
        "y = x.y()\n",
        "class A(B):\n    m = x\n",
        "class B(A):\n    n = A.m\n",
        "def f(a: A = x) -> B:\n    return g(a).f(x.m)\n",
        "def g(b):\n    return f(b)\n",
        "import openai\nopenai.OpenAI().chat.completions.create(model=x.y.m, messages=[])\n",
        "from fastapi import APIRouter\nr = APIRouter(prefix='/r')\n@r.post('/p')\ndef p(q: A): return f(q).g()\n",
        "r.include_router(r, prefix='/z')\n",
        "r.include_router(c.r)\n",
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=8).map("".join), min_size=1, max_size=5))
def test_any_tangle_of_files_ends(texts: list[str]) -> None:
    paths: Iterator[str] = iter(("app/a.py", "app/b.py", "app/__init__.py", "app/c.py", "d.py"))
    for one in found({next(paths): text for text in texts}):
        assert one.evidence and len(one.edges) < 2000


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.sampled_from(["a.py", "b/c.ts", "d/E.java", "f.go", "g", ""]))
def test_any_import_is_answered(module: str, here: str) -> None:
    packages = Packages(["a.py", "b/c.ts", "b/index.js", "d/E.java", "f.go", "__init__.py"])
    assert all(one in packages.paths for one in packages.files(module, here))


def test_settings_and_tools_that_say_no_word_of_ai_are_read_for_those_who_name_them(tmp_path: Path) -> None:
    """The walk parses them for their importer alone; files nobody names stay unread."""
    tree = {
        "app/conf/__init__.py": "from .names import DEPLOYMENT\n",
        "app/conf/names.py": 'DEPLOYMENT = "prod-chat-eu"\n',
        "app/pay.py": "def pay(amount: int) -> str:\n    return 'paid'\n",
        "app/main.py": "import openai\nfrom app.conf import DEPLOYMENT\n" + CALL.format("DEPLOYMENT"),
        "app/agent.py": "from agents import Agent\nfrom app.pay import pay\nhelper = Agent(name='desk', tools=[pay])\n",
        "other/names.py": 'DEPLOYMENT = "elsewhere"\n',
    }
    for path, text in tree.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    result = survey([tmp_path], App("x"), note=lambda _row: None, checking=False)
    assert {one.name for one in result.assets if one.kind is AssetKind.model} == {"prod-chat-eu"}
    assert ("uses", "tool", "pay") in edges(list(result.assets), AssetKind.agent, "desk")
    assert [one.evidence[0].path for one in result.assets if one.kind is AssetKind.tool] == ["app/pay.py"]
