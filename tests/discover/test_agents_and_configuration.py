"""Agent clients, application settings, tools' own formats, prompts and model files: hits and misses with lines."""

from __future__ import annotations

import json
import os
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterguard.code.parse import parse
from afterguard.discover import (
    agent_config,
    ai_config,
    artefacts,
    cdk,
    ci,
    cloudformation,
    containers,
    environment,
    flows,
    kubernetes,
    prompt_files,
    terraform,
    tool_formats,
)
from afterguard.discover.sheet import shown
from afterguard.files import kind_of
from afterguard.model import Asset, AssetKind, Source

ALL = (
    agent_config,
    ai_config,
    artefacts,
    cdk,
    ci,
    cloudformation,
    containers,
    environment,
    flows,
    kubernetes,
    prompt_files,
    terraform,
    tool_formats,
)


def found(module: Any, path: str, text: str | bytes) -> list[Asset]:
    data = text if isinstance(text, bytes) else text.encode()
    return list(module.find(parse(Source(path, data, kind_of(path, data), len(data)))))


def names(assets: list[Asset]) -> set[tuple[str, str, int]]:
    return {(asset.kind.value, asset.name, asset.evidence[0].line) for asset in assets}


def server(body: dict[str, Any], path: str = ".cursor/mcp.json", key: str = "mcpServers") -> Asset:
    assets = found(agent_config, path, json.dumps({key: {"s": body}}, indent=1))
    return next(asset for asset in assets if asset.kind is AssetKind.mcp_server)


@pytest.mark.parametrize(
    ("body", "package", "version", "pinned"),
    [
        ({"command": "npx", "args": ["-y", "@scope/server@1.2.3", "/data"]}, "@scope/server", "1.2.3", "yes"),
        ({"command": "npx", "args": ["-y", "@scope/server@latest"]}, "@scope/server", "latest", "no"),
        ({"command": "npx", "args": ["mcp-remote", "https://x.example/sse"]}, "mcp-remote", "", "no"),
        ({"command": "cmd", "args": ["/c", "npx", "-y", "pkg"]}, "pkg", "", "no"),
        ({"command": "uvx", "args": ["mcp-server-git==0.6.2"]}, "mcp-server-git", "0.6.2", "yes"),
        (
            {"command": "uvx", "args": ["--from", "git+https://github.com/a/b@main", "b"]},
            "git+https://github.com/a/b@main",
            "",
            "no",
        ),
        (
            {"command": "docker", "args": ["run", "-i", "--rm", "-e", "TOKEN", "mcp/github:1.0.0"]},
            "mcp/github",
            "1.0.0",
            "yes",
        ),
        ({"command": "docker", "args": ["run", "ghcr.io/x/y"]}, "ghcr.io/x/y", "", "no"),
        ({"command": "python", "args": ["server.py"]}, None, None, None),
        ({"command": "uv", "args": ["--directory", "/srv", "run", "server.py"]}, None, None, None),
    ],
)
def test_packages_of_servers(
    body: dict[str, Any], package: str | None, version: str | None, pinned: str | None
) -> None:
    facts = server(body).attributes
    if package is None:
        assert "package" not in facts
    else:
        assert facts["package"] == package and facts["pinned"] == pinned
        if version and not package.startswith("git+"):
            assert facts["version"] == version


def test_a_server_by_address_with_its_keys() -> None:
    one = server(
        {
            "type": "http",
            "url": "http://mcp.corp.example/mcp?key=abc",
            "headers": {"Authorization": "Bearer ${env:CORP_TOKEN}"},
        }
    )
    assert (
        one.attributes["host"] == "mcp.corp.example"
        and one.attributes["transport"] == "http"
        and one.attributes["encrypted"] == "no"
    )
    assert ("authenticates_with", "CORP_TOKEN") in {(edge.relation, edge.name) for edge in one.edges}
    assert "abc" not in str(one)


def test_secrets_in_arguments_and_variables_are_not_shown() -> None:
    body = {
        "command": "npx",
        "args": ["srv", "--api-key", "hunter2hunter2", "--token=abcdefabcdef1"],
        "env": {"GITHUB_TOKEN": "ghp_0123456789abcdefghijABCDEFGHIJ012345"},
    }
    text = json.dumps({"mcpServers": {"s": body}})
    assets = found(agent_config, ".mcp.json", text)
    assert "hunter2" not in str(assets) and "abcdefabcdef1" not in str(assets) and "ghp_" not in str(assets)
    assert ("secret_reference", "GITHUB_TOKEN", 1) in names(assets)


@pytest.mark.parametrize(
    ("path", "text", "client"),
    [
        ("claude_desktop_config.json", '{"mcpServers": {"s": {"command": "x"}}}', "claude-desktop"),
        ("home/.claude.json", '{"projects": {"/p": {"mcpServers": {"s": {"command": "x"}}}}}', "claude-code"),
        (".vscode/mcp.json", '{"servers": {"s": {"type": "stdio", "command": "x"}}}', "vscode"),
        (".vscode/settings.json", '{"mcp": {"servers": {"s": {"command": "x"}}}}', "vscode"),
        ("zed/settings.json", '{"context_servers": {"s": {"command": {"path": "x", "args": []}}}}', "zed"),
        (".codex/config.toml", 'model = "gpt-5-codex"\n[mcp_servers.s]\ncommand = "x"\nargs = ["a"]\n', "codex"),
        (".gemini/settings.json", '{"mcpServers": {"s": {"httpUrl": "https://x.example/mcp"}}}', "gemini-cli"),
        (".config/goose/config.yaml", "extensions:\n  s:\n    type: stdio\n    cmd: x\n    args: [a]\n", "goose"),
        ("opencode.json", '{"mcp": {"s": {"type": "local", "command": ["x", "a"]}}}', "opencode"),
        (".continue/config.yaml", "mcpServers:\n  - name: s\n    command: x\n", "continue"),
        (".kiro/settings/mcp.json", '{"mcpServers": {"s": {"command": "x"}}}', "kiro"),
        (".amazonq/mcp.json", '{"mcpServers": {"s": {"command": "x"}}}', "amazon-q"),
        ("any/where/servers.json", '{"mcpServers": {"s": {"command": "x"}}}', ""),
    ],
)
def test_clients(path: str, text: str, client: str) -> None:
    assets = found(agent_config, path, text)
    assert ("mcp_server", "s") in {(kind, name) for kind, name, _ in names(assets)}
    if client:
        assert ("agent", client) in {(kind, name) for kind, name, _ in names(assets)}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".vscode/settings.json", '{"editor.tabSize": 2, "servers": {"a": {"command": "x"}}}'),
        ("servers.json", '{"servers": {"a": {"url": "http://x"}}}'),
        ("config.json", '{"extensions": {"a": {"command": "x"}}}'),
        ("README.md", "# mcpServers\nUse CLAUDE.md"),
        ("CLAUDE.md", "  \n"),
        ("CONVENTIONS.md", "# Coding conventions\nUse tabs.\n"),
    ],
)
def test_what_only_looks_like_a_client(path: str, text: str) -> None:
    assert not found(agent_config, path, text)


@pytest.mark.parametrize(
    "path",
    [
        "AGENTS.md",
        "a/CLAUDE.md",
        ".cursorrules",
        ".github/copilot-instructions.md",
        ".cursor/rules/x.mdc",
        "skills/pdf/SKILL.md",
        ".windsurfrules",
    ],
)
def test_rules_files_are_prompts(path: str) -> None:
    assets = found(agent_config, path, "---\nname: pdf\nallowed-tools: Bash\n---\nDo things.\n")
    assert ("prompt", path, 1) in names(assets)


def test_variables() -> None:
    assets = found(
        environment,
        ".env.production",
        "OPENAI_API_KEY=sk-proj-abcdefghijklmnopqrstuvwxyz012345\nOPENAI_MODEL=gpt-4o\nEMBEDDING_MODEL=text-embedding-3-large\n"
        "LLM_BASE_URL=https://api.groq.com/openai/v1\nMODEL_NAME=sedan\nDATABASE_URL=postgres://u:p@h/db\nANTHROPIC_MODEL=your-model-here\n",
    )
    got = names(assets)
    assert {
        ("secret_reference", "OPENAI_API_KEY", 1), ("model", "gpt-4o", 2), ("embedding_model", "text-embedding-3-large", 3), ("provider", "groq", 4),
    } <= got  # fmt: skip
    assert "sk-proj" not in str(assets)
    assert not [one for one in got if "your-model" in one[1]]
    assert not found(
        environment, ".env", "MODEL_NAME=sedan\nAPI_KEY=x\nDATABASE_URL=postgres://h/db\nHOST=openai.example\n"
    )


def test_spring_and_dotnet() -> None:
    spring = "spring:\n  ai:\n    openai:\n      api-key: ${OPENAI_KEY}\n      chat:\n        options:\n          model: gpt-4o-mini\n    vectorstore:\n      pgvector:\n        dimensions: 1536\n"
    got = names(found(ai_config, "src/main/resources/application.yml", spring))
    assert {
        ("framework", "spring-ai", 4),
        ("provider", "openai", 4),
        ("secret_reference", "OPENAI_KEY", 4),
        ("model", "gpt-4o-mini", 7),
        ("vector_store", "pgvector", 10),
    } <= got
    properties = "langchain4j.open-ai.chat-model.model-name=gpt-4o\nserver.port=8080\n"
    assert ("model", "gpt-4o", 1) in names(found(ai_config, "application.properties", properties))
    dotnet = '{\n "AzureOpenAI": {\n  "Endpoint": "https://corp.openai.azure.com/",\n  "ApiKey": "0123456789abcdef0123456789abcdef",\n  "DeploymentName": "gpt-4o"\n }\n}'
    got = names([*found(environment, "appsettings.json", dotnet), *found(ai_config, "appsettings.json", dotnet)])
    assert {("cloud_ai_service", "azure-openai", 3), ("model", "gpt-4o", 5)} <= got
    assert any(kind == "secret_reference" for kind, _, _ in got)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "config.yaml",
            "llm:\n  provider: anthropic\n  model: claude-3-5-sonnet-latest\n",
            {("provider", "anthropic", 2), ("model", "claude-3-5-sonnet-latest", 3)},
        ),
        (
            "settings.toml",
            '[chat]\nmodel = "my-finetune-7b"\napi_base = "https://api.together.xyz/v1"\n',
            {("model", "my-finetune-7b", 2), ("provider", "together", 3)},
        ),
        (
            "conf.json",
            '{"model": "openai/gpt-4o",\n "temperature": 0.2}',
            {("model", "gpt-4o", 1), ("provider", "openai", 1)},
        ),
    ],
)
def test_two_markers_in_any_configuration(path: str, text: str, expected: set[tuple[str, str, int]]) -> None:
    assert expected <= names(found(ai_config, path, text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("car.yaml", "model: Golf\nprovider: volkswagen\nengine: v8\n"),
        ("db.yaml", "type: postgres\nmodel: users\nname: openai\n"),
        ("package.json", '{"name": "x", "description": "uses gpt-4o", "model": "gpt-4o"}'),
        ("docs/config.yaml", "model: gpt-4o\n"),
        ("a.yaml", "model: your-model-here\nprovider: openai_example\n"),
        (
            "api.yaml",
            "openapi: 3.0.0\npaths: {}\ncomponents: {schemas: {X: {properties: {model: {example: gpt-4o}}}}}\n",
        ),
        ("camera.json", '{"camera": {"model": "EOS-5", "provider": "canon", "engine": "digic-8"}}'),
    ],
)
def test_configuration_that_is_not_ai(path: str, text: str) -> None:
    assert not found(ai_config, path, text)


def test_tables_of_models_and_stores() -> None:
    text = (
        "models:\n  - id: gpt-4o\n    provider: openai\nvectorstore:\n  type: pinecone\ndatabase:\n  type: postgres\n"
    )
    got = names(found(ai_config, "models.yaml", text))
    assert got == {("model", "gpt-4o", 2), ("provider", "openai", 3), ("vector_store", "pinecone", 5)}


def test_formats_of_tools() -> None:
    crew = "researcher:\n  role: Analyst\n  goal: Find\n  backstory: Long\n  llm: groq/llama-3.1-70b-versatile\n"
    assert {("agent", "researcher", 1), ("provider", "groq", 5), ("framework", "crewai", 1)} <= names(
        found(tool_formats, "config/agents.yaml", crew)
    )
    graph = '{"dependencies": ["."],\n "graphs": {"agent": "./a.py:graph"}, "env": ".env"}'
    assert {("agent", "agent", 2), ("framework", "langgraph", 1)} <= names(found(tool_formats, "langgraph.json", graph))
    foo = "prompts: [p.txt]\nproviders:\n  - openai:gpt-4o-mini\n  - id: anthropic:messages:claude-3-5-haiku-latest\n"
    assert {("model", "gpt-4o-mini", 3), ("model", "claude-3-5-haiku-latest", 4)} <= names(
        found(tool_formats, "promptfooconfig.yaml", foo)
    )
    file = "# a\nFROM llama3.2:3b\nPARAMETER temperature 1\nSYSTEM You are Mario.\n"
    assert {("model", "llama3.2:3b", 2), ("prompt", "Modelfile", 4), ("inference_server", "ollama", 1)} <= names(
        found(tool_formats, "Modelfile", file)
    )
    mlflow = "artifact_path: fraud\nflavors:\n  sklearn:\n    pickled_model: model.pkl\n    sklearn_version: 1.5.0\nmlflow_version: 2.14\n"
    assert {("model", "fraud", 1), ("framework", "scikit-learn", 3), ("model_artifact", "m/model.pkl", 4)} <= names(
        found(tool_formats, "m/MLmodel", mlflow)
    )
    proxy = "model_list:\n  - model_name: a\n    litellm_params:\n      model: bedrock/anthropic.claude-3-haiku-20240307-v1:0\ngeneral_settings:\n  master_key: os.environ/LITELLM_MASTER_KEY\n"
    got = names(found(tool_formats, "litellm_config.yaml", proxy))
    assert {
        ("inference_server", "litellm", 2),
        ("cloud_ai_service", "aws-bedrock", 4),
        ("secret_reference", "LITELLM_MASTER_KEY", 6),
    } <= got


def test_visual_builders() -> None:
    n8n = {
        "nodes": [
            {
                "name": "Helper",
                "type": "@n8n/n8n-nodes-langchain.agent",
                "typeVersion": 1,
                "parameters": {"options": {"systemMessage": "You are a helper for orders."}},
            },
            {
                "name": "LLM",
                "type": "@n8n/n8n-nodes-langchain.lmChatOpenAi",
                "typeVersion": 1,
                "parameters": {"model": {"__rl": True, "value": "gpt-4o-mini"}},
            },
            {"name": "Mail", "type": "n8n-nodes-base.gmail", "typeVersion": 2},
        ],
        "connections": {},
    }
    got = {(kind, name) for kind, name, _ in names(found(flows, "flow.json", json.dumps(n8n)))}
    assert {("agent", "Helper"), ("provider", "openai"), ("model", "gpt-4o-mini"), ("framework", "n8n")} <= got
    plain = {"nodes": [{"name": "Mail", "type": "n8n-nodes-base.gmail", "typeVersion": 2}], "connections": {}}
    assert not found(flows, "flow.json", json.dumps(plain))
    flowise = {
        "nodes": [
            {"id": "1", "data": {"name": "chatOpenAI", "inputParams": [], "inputs": {"modelName": "gpt-4o"}}},
            {"id": "2", "data": {"name": "toolAgent", "inputParams": []}},
        ]
    }
    got = {(kind, name) for kind, name, _ in names(found(flows, "chatflow.json", json.dumps(flowise)))}
    assert {("framework", "flowise"), ("provider", "openai"), ("model", "gpt-4o"), ("agent", "toolAgent")} <= got
    dify = "app:\n  mode: agent-chat\n  name: Desk\nkind: app\nmodel_config:\n  model:\n    provider: langgenius/openai/openai\n    name: gpt-4o\n    mode: chat\n  pre_prompt: You are a careful assistant.\n"
    got = {(kind, name) for kind, name, _ in names(found(flows, "desk.yml", dify))}
    assert {("framework", "dify"), ("agent", "Desk"), ("model", "gpt-4o"), ("provider", "openai")} <= got


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("prompts/answer.txt", "You are a support agent.\nAnswer: {question}\n"),
        ("app/prompts/system.md", "Your task is to classify tickets.\n"),
        ("src/system_prompt.txt", "You are an expert in tax law.\n"),
        ("templates/summary.prompt", "Summarise {{ text }} in German.\n"),
        ("prompts/rag.jinja2", "{{ context }}\n\nQuestion: {{ question }}\n"),
    ],
)
def test_prompt_files(path: str, text: str) -> None:
    assert [(asset.kind, asset.name) for asset in found(prompt_files, path, text)] == [(AssetKind.prompt, path)]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("docs/prompts/guide.md", "You are a writer who learns how to prompt.\n"),
        ("prompts/README.md", "This folder holds prompts.\n"),
        ("notes.txt", "You are a support agent. Answer {question}\n"),
        ("templates/mail.txt", "Dear {name}, you are a valued customer.\n"),
        ("prompts/list.txt", "apples\npears\nplums and other fruit\n"),
    ],
)
def test_texts_that_are_no_prompts(path: str, text: str) -> None:
    assert not found(prompt_files, path, text)


class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("id",)


def test_model_files() -> None:
    one = found(artefacts, "models/fraud.dat", pickle.dumps(Runs()))[0]
    assert (one.kind, one.name, one.attributes["format"]) == (AssetKind.model_artifact, "models/fraud.dat", "pickle")
    assert one.attributes["digest"].startswith("sha256:") and one.attributes["size"].isdigit()
    adapter = found(
        artefacts,
        "lora/adapter_config.json",
        '{\n "base_model_name_or_path": "meta-llama/Llama-3.1-8B",\n "peft_type": "LORA"\n}',
    )
    assert {("model", "meta-llama/Llama-3.1-8B", 2), ("model_artifact", "lora/adapter_config.json", 1)} == names(
        adapter
    )
    assert [edge.relation for edge in adapter[-1].edges] == ["trained_on"]
    assert not found(artefacts, "config.json", '{"model_type": "car"}')
    assert not found(artefacts, "logo.bin", bytes(range(256)) * 4)


def test_shown_takes_credentials_out() -> None:
    for text in (
        "https://u:secretpw@host/x",
        "api_key: abcdef123456",
        "Bearer abcdefghij123456",
        "sk-ant-REDACTED",
        "A" * 20 + "1" * 20,
    ):
        assert "[redacted]" in shown(text), text
    for text in ("OPENAI_MODEL=gpt-4o", "--model Qwen/Qwen2.5-7B-Instruct", "image: vllm/vllm-openai:v0.6"):
        assert shown(text) == text


PATHS = ["a.yaml", "docker-compose.yml", "Dockerfile", "x.tf", ".mcp.json", ".env", "x.toml", ".github/workflows/a.yml", "Modelfile", "prompts/a.txt", "x.pkl", "values.yaml", "Jenkinsfile", "x.bicep", "application.properties", "flow.json", "run.sh"]  # fmt: skip
WORDS = [
    "services:\n", "  a:\n", "    image: ollama/ollama\n", "kind: Pod\n", "apiVersion: v1\n", "spec: {containers: [{image: 1, env: [a, {name: [x]}]}]}\n",
    '{"mcpServers": {"a": ', '{"command": ["x"], "args": {}, "env": []}', "}}", "[", "model: gpt-4o\n", "provider: openai\n", "FROM ", "x\n", "Resources: {A: {Type: 'AWS::X::Y', Properties: []}}\n",
    "\x00", "nodes: [{data: {}}]\n", "env: {A: {B: c}}\n", "jobs: {a: {steps: [{uses: a/b, with: [1]}, {run: [x]}]}}\n", "http://[::1", "https://api.openai.com:99999999/\n", "&a *a\n", 'resource "aws_sagemaker_model" "x" { name = 1 }\n',
]  # fmt: skip


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(PATHS), st.one_of(st.lists(st.sampled_from(WORDS), max_size=12).map("".join), st.text(max_size=120))
)
def test_no_finder_ever_fails(path: str, text: str) -> None:
    for module in ALL:
        for asset in found(module, path, text.encode("utf-8", "replace")):
            assert asset.name and len(asset.name) <= 200 and asset.evidence[0].line >= 0
