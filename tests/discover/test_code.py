"""Programs in five languages show their AI assets; prose, placeholders, ordinary code and the word "agent" show none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.code.parse import parse
from afterguard.discover import code, manifests
from afterguard.files import kind_of
from afterguard.model import Asset, Certainty, Source

PYTHON = '''import os
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_core.tools import tool
from langchain_chroma import Chroma
from langchain.agents import create_tool_calling_agent, AgentExecutor
from langchain_core.prompts import ChatPromptTemplate
from fastapi import APIRouter
from mcp.server.fastmcp import FastMCP
from crewai import Agent
import litellm, boto3, torch, requests, openai
router = APIRouter(prefix="/v1")
mcp = FastMCP("weather")
llm = ChatOpenAI(model=os.getenv("OPENAI_MODEL", "gpt-4o-mini"), api_key=os.environ["OPENAI_API_KEY"])
store = Chroma(collection_name="docs", embedding_function=OpenAIEmbeddings(model="text-embedding-3-small"))
@tool
def search(q: str) -> str:
    """Search."""
    return store.similarity_search(q)
@mcp.tool()
def forecast(city: str): return city
prompt = ChatPromptTemplate.from_messages([("system", "You are a helpful assistant that helps."), ("human", "{x}")])
executor = AgentExecutor(agent=create_tool_calling_agent(llm, [search], prompt), tools=[search])
researcher = Agent(role="Researcher", backstory="You are an experienced researcher", llm="anthropic/claude-3-5-sonnet-20241022")
groq = openai.OpenAI(base_url="https://api.groq.com/openai/v1", api_key="gsk_abcdefghij1234567890ABCDEFGHIJ")
local = openai.OpenAI(base_url="http://localhost:11434/v1")
bed = boto3.client("bedrock-runtime")
def helper(x):
    return executor.invoke({"x": x})
@router.post("/chat")
async def chat(body: dict):
    return helper(body["q"])
@router.get("/health")
def health(): return "ok"
def raw():
    requests.post("https://api.mistral.ai/v1/chat/completions", json={"model": "mistral-small-latest", "messages": []})
    groq.chat.completions.create(model="llama-3.3-70b-versatile", messages=[{"role": "system", "content": "You are terse and helpful always."}])
    litellm.completion(model="ollama/llama3", messages=[])
    groq.chat.completions.create(model=os.environ["SECRET_MODEL"], messages=[])
w = torch.load("model.pt")
nothing = groq.chat.completions.create(model="your-model-here", messages=[])
'''

TYPESCRIPT = """import { openai } from "@ai-sdk/openai";
import { generateText, tool } from "ai";
import OpenAI from "openai";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { Agent } from "@mastra/core/agent";
import { Pinecone } from "@pinecone-database/pinecone";
const server = new McpServer({ name: "files", version: "1.0.0" });
server.tool("read_file", { path: z.string() }, async ({ path }) => ({ content: [] }));
const client = new OpenAI({ apiKey: process.env.OPENAI_API_KEY, baseURL: "https://openrouter.ai/api/v1" });
const weather = tool({ description: "Get weather", parameters: z.object({}), execute: async ({ city }) => fetchWeather(city) });
const MODEL = process.env.MODEL ?? "gpt-4o";
const index = new Pinecone({ apiKey: process.env.PINECONE_API_KEY! }).index("products");
export const supportAgent = new Agent({ name: "Support", instructions: "You are a support agent for the shop.", model: openai("gpt-4o-mini"), tools: { weather } });
app.post("/api/chat", async (req, res) => {
  const { text } = await generateText({ model: openai(MODEL), system: "You are a careful assistant.", prompt: req.body.q, tools: { weather } });
  await client.chat.completions.create({ model: "meta-llama/llama-3.1-8b-instruct", messages: [] });
});
app.get("/health", (req, res) => res.send("ok"));
"""

JAVA = """import dev.langchain4j.model.openai.OpenAiChatModel;
import dev.langchain4j.agent.tool.Tool;
@RestController @RequestMapping("/api")
class Chat {
  @PostMapping("/chat")
  String chat(@RequestBody String q) {
    OpenAiChatModel m = OpenAiChatModel.builder().apiKey(System.getenv("OPENAI_API_KEY")).modelName("gpt-4o").build();
    return m.generate(q);
  }
  @Tool("adds") int add(int a) { return a; }
}
"""

KOTLIN = """import dev.langchain4j.model.anthropic.AnthropicChatModel
import dev.langchain4j.service.AiServices
val model = AnthropicChatModel.builder().apiKey(System.getenv("ANTHROPIC_API_KEY")).modelName("claude-3-5-sonnet-20240620").build()
val helper = AiServices.builder(Helper::class.java).chatLanguageModel(model).build()
"""

GO = """package main
import (
  "net/http"
  openai "github.com/sashabaranov/go-openai"
)
type S struct { c *openai.Client }
func (s *S) chat(w http.ResponseWriter, r *http.Request) {
  s.c.CreateChatCompletion(ctx, openai.ChatCompletionRequest{Model: openai.GPT4oMini, Messages: []openai.ChatCompletionMessage{{Role: openai.ChatMessageRoleSystem, Content: "You are a helpful Go assistant."}}})
}
func main() {
  s := &S{c: openai.NewClient(os.Getenv("OPENAI_API_KEY"))}
  http.HandleFunc("/chat", s.chat)
}
"""

PREDICTIVE = """import joblib, pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from flask import Flask
app = Flask(__name__)
X = pd.read_csv("data/train.csv")
clf = make_pipeline(StandardScaler(), RandomForestClassifier())
clf.fit(X, 1)
joblib.dump(clf, "churn_model.joblib")
model = joblib.load("churn_model.joblib")
@app.route("/predict", methods=["POST"])
def predict():
    return model.predict(1)
class Bot:
    def __init__(self, model="gpt-4o"):
        import openai
        self.client = openai.AzureOpenAI(azure_endpoint="https://x.openai.azure.com")
        self.model = model
    def ask(self, q):
        return self.client.chat.completions.create(model=self.model, messages=[])
"""


def assets(path: str, text: str) -> list[Asset]:
    data = text.encode("utf-8", "surrogatepass")
    parsed = parse(Source(path, data, kind_of(path, data)))
    return [*code.find(parsed), *manifests.find(parsed)]


CASES = [
    ("a.py", PYTHON, ["framework langchain 2", "framework crewai 9", "framework litellm 10", "framework pytorch 10", "framework mcp 8", "provider openai 13", "provider groq 24", "provider aws-bedrock 26", "provider mistral 35", "inference_server ollama 25", "model gpt-4o-mini 13", "embedding_model text-embedding-3-small 14", "model anthropic/claude-3-5-sonnet-20241022 23", "model mistral-small-latest 35", "model llama-3.3-70b-versatile 36", "model ollama/llama3 37", "model unresolved:SECRET_MODEL variable 38", "vector_store chroma 14", "tool search 16", "tool forecast 20", "mcp_server weather 12", "prompt prompt 21", "prompt raw 36", "agent executor 22", "agent Researcher 23", "ai_endpoint POST /v1/chat 29", "secret_reference OPENAI_API_KEY 13", "model_artifact model.pt 39"]),
    ("b.ts", TYPESCRIPT, ["framework vercel-ai-sdk 2", "framework mastra 5", "framework mcp 4", "provider openai 1", "provider openrouter 9", "model gpt-4o-mini 13", "model gpt-4o 11", "model meta-llama/llama-3.1-8b-instruct 16", "vector_store pinecone 12", "mcp_server files 7", "tool read_file 8", "tool weather 10", "agent Support 13", "prompt supportAgent 13", "ai_endpoint POST /api/chat 14", "secret_reference OPENAI_API_KEY 9"]),
    ("C.java", JAVA, ["framework langchain4j 1", "provider openai 7", "model gpt-4o 7", "tool add 10", "secret_reference OPENAI_API_KEY 7", "ai_endpoint POST /api/chat 5"]),
    ("D.kt", KOTLIN, ["framework langchain4j 1", "provider anthropic 3", "model claude-3-5-sonnet-20240620 3", "agent helper 4", "secret_reference ANTHROPIC_API_KEY 3"]),
    ("e.go", GO, ["provider openai 4", "model gpt-4o-mini 8", "secret_reference OPENAI_API_KEY 11", "prompt chat 8", "ai_endpoint ANY /chat 12"]),
    ("f.py", PREDICTIVE, ["framework scikit-learn 2", "model RandomForestClassifier 8", "dataset data/train.csv 7", "model_artifact churn_model.joblib 11", "ai_endpoint POST /predict 12", "provider azure-openai 18", "model gpt-4o 16"]),
    ("requirements.txt", "openai==1.2\nflask\nlangchain-anthropic>=0.1\n", ["provider openai 1", "framework langchain 3", "provider anthropic 3"]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "text", "expected"), CASES, ids=[case[0] for case in CASES])
def test_hits(path: str, text: str, expected: list[str]) -> None:
    found = {f"{one.kind.value} {one.name} {one.evidence[0].line}" for one in assets(path, text)}
    assert not set(expected) - found, sorted(found)


def test_edges_within_a_file() -> None:
    found = {
        (one.kind.value, one.name): {(e.relation, e.kind.value, e.name) for e in one.edges}
        for one in assets("a.py", PYTHON)
        if one.edges
    }
    assert ("calls", "model", "gpt-4o-mini") in found["ai_endpoint", "POST /v1/chat"]
    assert ("uses", "tool", "search") in found["agent", "executor"]
    assert ("reads", "vector_store", "chroma") in found["tool", "search"]
    assert ("part_of", "provider", "groq") in found["model", "llama-3.3-70b-versatile"]
    assert ("authenticates_with", "secret_reference", "OPENAI_API_KEY") in found["provider", "openai"]


def test_certainty_and_masking() -> None:
    found = assets("a.py", PYTHON)
    by_name = {one.name: one.confidence for one in found if one.kind.value == "model"}
    assert by_name["unresolved:SECRET_MODEL variable"] is Certainty.unresolved
    assert by_name["gpt-4o-mini"] is Certainty.inferred and by_name["llama-3.3-70b-versatile"] is Certainty.declared
    assert all("gsk_abcdefghij" not in one.evidence[0].matched for one in found)
    assert all(len(one.evidence[0].matched) <= 120 for one in found)


MISSES = {
    "prose.py": '"""We use openai and gpt-4o, see https://api.openai.com."""\n# client = OpenAI(model="gpt-4o")\nx = "The agent calls gpt-4o"\n',
    "agent.py": "class Agent:\n    def run(self, tools): return tools\nagent = Agent()\n@app.post('/agent')\ndef f(): return agent.run([])\n",
    "local.py": "from agents import process\nfrom .openai import helper\nprocess(helper())\n",
    "model.py": "from django.db import models\nclass User(models.Model):\n    name = models.CharField(max_length=10)\nmodel = 'Corolla'\ncar = {'model': 'T-1000', 'prompt': 'x'}\n",
    "tool.py": "import click\n@click.command()\n@tool\ndef f(): pass\nsystem = 'linux and other systems everywhere'\n",
    "pick.py": "import pickle\nwith open('cache.pkl', 'rb') as f: cache = pickle.load(f)\n",
    "web.ts": 'import express from "express";\napp.post("/chat", (req, res) => res.json({ tools: [], model: "x", prompt: "y" }));\n',
    "App.java": "import java.util.List;\nclass Agent { String model = \"sedan\"; @PostMapping(\"/a\") String a() { return model; } }\n",
    "main.go": 'package main\nimport "fmt"\nfunc main() { model := "sedan"; fmt.Println(model) }\n',
    "requirements.txt": "flask\nopenapi-spec-validator\nstreamlit\n",
    "README.md": "Use openai with gpt-4o",
}  # fmt: skip


@pytest.mark.parametrize("path", MISSES)
def test_misses(path: str) -> None:
    assert [(one.kind.value, one.name) for one in assets(path, MISSES[path])] == []


def test_placeholders_are_no_models() -> None:
    for word in ("your-model-here", "<MODEL>", "xxx", "changeme", "MODEL_NAME_HERE", "..."):
        text = f'import openai\nopenai.OpenAI().chat.completions.create(model="{word}", messages=[])\n'
        assert not [one for one in assets("a.py", text) if one.kind.value == "model"], word


@given(st.sampled_from(CASES), st.integers(0, 4000), st.integers(0, 80), st.text(max_size=8))
@settings(max_examples=150, deadline=None)
def test_damaged_programs_never_raise(case: tuple[str, str, list[str]], at: int, cut: int, put: str) -> None:
    at %= len(case[1])
    assets(case[0], case[1][:at] + put + case[1][at + cut :])
