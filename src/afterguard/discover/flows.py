"""AI in exports of visual builders: n8n, Flowise, Langflow, Dify.

In: Parsed (JSON or YAML). Out: Assets: the platform, models, providers, agents, stores and tools of a flow, with line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import Node, walk
from afterguard.code.parse import Parsed
from afterguard.discover import model_names, settings, signals
from afterguard.discover.sheet import Sheet
from afterguard.model import Asset, AssetKind, Edge

_STORES = re.compile(
    r"(?i)(pinecone|qdrant|weaviate|milvus|chroma|faiss|pgvector|supabase|redis|elasticsearch|opensearch|lancedb|zep|astra)"
)
_AGENT = re.compile(r"(?i)agent(?!\w*tool)")
_TOOL = re.compile(r"(?i)tool(?!\w*agent)")
_WORDS = re.compile(
    r"(?i)(azure[ _-]?openai|openai|anthropic|gemini|vertex|bedrock|mistral|cohere|groq|ollama|deepseek|openrouter|huggingface|together|fireworks|xai)"
)


def find(parsed: Parsed) -> Iterator[Asset]:
    """Assets of an exported flow; nothing for other documents."""
    document = parsed.document
    if document is None or document.format not in ("json", "yaml"):
        return
    sheet = Sheet(parsed.source.path)
    for root in document.roots:
        if root.kind == "map":
            _root(sheet, root)
    yield from sheet.assets


def _root(sheet: Sheet, root: Node) -> None:
    nodes = root.get("nodes") or root.get("data", "nodes") or root.get("workflow", "graph", "nodes")
    if (
        root.get("app") is not None
        and root.get("kind") is not None
        and (root.get("workflow") is not None or root.get("model_config") is not None)
    ):
        _dify(sheet, root)
    elif nodes is not None and nodes.kind == "list":
        listed = [item for item in nodes.items[:2000] if item.kind == "map"]
        if root.get("connections") is not None and any(item.get("typeVersion") is not None for item in listed):
            _n8n(sheet, root, listed)
        elif any(item.get("data") is not None for item in listed):
            _canvas(sheet, listed)


def _n8n(sheet: Sheet, root: Node, listed: list[Node]) -> None:
    uses: list[Edge] = []
    agents: list[tuple[Node, Node]] = []
    for item in listed:
        kind = item.get("type")
        if kind is None:
            continue
        plain = kind.text.rsplit(".", 1)[-1][:200]
        is_ai = "langchain" in kind.text
        name = item.get("name") or kind
        if is_ai and plain.lower() in ("agent", "openaiassistant", "chainllm"):
            agents.append((name, item))
        elif is_ai or plain.lower() in ("openai", "mistralai", "perplexity", "googlegemini"):
            uses.extend(_component(sheet, plain, name, item, "n8n"))
    if not (uses or agents):
        return
    platform = sheet.add(AssetKind.framework, "n8n", root.line, "nodes and connections of n8n")
    for name, item in agents:
        sheet.add(AssetKind.agent, name.text, name.line, f"n8n agent {name.text}", edges=(*uses, platform))
        text = item.get("parameters", "options", "systemMessage") or item.get("parameters", "text")
        if text is not None and len(text.text) > 20:
            sheet.add(AssetKind.prompt, f"{sheet.path}:{name.text}", text.line, "system message", agent=name.text)


def _canvas(sheet: Sheet, listed: list[Node]) -> None:
    """Flowise and Langflow: nodes whose data says what component they are."""
    parts: list[tuple[str, Node, Node]] = []
    platform = ""
    for item in listed:
        data = item.get("data")
        if data is None or data.kind != "map":
            continue
        if data.get("node", "template") is not None:
            platform = "langflow"
        elif data.get("inputParams") is not None or data.get("inputAnchors") is not None:
            platform = "flowise"
        name = data.get("name") if platform == "flowise" else data.get("type")
        if name is not None and name.kind == "text":
            parts.append((name.text[:200], name, data))
    if not platform:
        return
    uses: list[Edge] = []
    agents = []
    for word, name, data in parts:
        if _AGENT.search(word) and not _TOOL.search(word):
            agents.append(name)
        else:
            uses.extend(_component(sheet, word, name, data, platform))
    edge = sheet.add(AssetKind.framework, platform, parts[0][1].line if parts else 1, f"nodes of {platform}")
    for name in agents:
        sheet.add(AssetKind.agent, name.text, name.line, f"{platform} agent {name.text}", edges=(*uses, edge))


def _component(sheet: Sheet, word: str, name: Node, body: Node, platform: str) -> list[Edge]:
    """One building block: its provider by name, its model by value, or a store or tool."""
    edges: list[Edge] = []
    found = _WORDS.search(word)
    provider = model_names.provider(found[1].replace(" ", "_")) if found else ""
    store = _STORES.search(word)
    if provider:
        edges.append(sheet.add(settings.vendor_kind(provider), provider, name.line, f"{platform} node {word}"))
    if store and ("vector" in word.lower() or platform != "n8n"):
        edges.append(sheet.add(AssetKind.vector_store, store[1].lower(), name.line, f"{platform} node {word}"))
    elif _TOOL.search(word) and not provider:
        edges.append(sheet.add(AssetKind.tool, name.text, name.line, f"{platform} node {word}"))
    for path, node in walk(body):
        key = next((p for p in reversed(path) if p not in ("value", "default", "cachedResultName", "__rl", "mode")), "")
        named = (
            node.kind == "text" and "model" in key.lower() and 1 < len(node.text) < 100 and path[-1:] != ("default",)
        )
        if named and signals.model(node.text) is not None:
            edges.extend(settings.model(sheet, node.text, node.line, key, provider, certain=True))
    return list(dict.fromkeys(edges))


def _dify(sheet: Sheet, root: Node) -> None:
    node = root.get("app")
    line = node.line if node is not None else root.line
    uses: list[Edge] = []
    for _, one in walk(root):
        if one.kind != "map":
            continue
        provider, name = one.get("provider"), one.get("name")
        if (
            provider is not None
            and name is not None
            and (one.get("mode") is not None or one.get("completion_params") is not None)
        ):
            word = provider.text.rsplit("/", 1)[-1]
            vendor = model_names.provider(word)
            if vendor:
                uses.append(
                    sheet.add(settings.vendor_kind(vendor), vendor, provider.line, f"provider: {provider.text}")
                )
            uses.extend(settings.model(sheet, name.text, name.line, "model", vendor, certain=True))
        tool = one.get("tool_name") or one.get("tool_label")
        if tool is not None and one.get("provider_id") is not None and tool.text:
            uses.append(sheet.add(AssetKind.tool, tool.text, tool.line, f"tool {tool.text}"))
        prompt = one.get("pre_prompt")
        if prompt is not None and len(prompt.text) > 20:
            sheet.add(AssetKind.prompt, f"{sheet.path}:{prompt.line}", prompt.line, "pre_prompt")
    platform = sheet.add(AssetKind.framework, "dify", line, "app and workflow of Dify")
    mode = root.string("app", "mode")
    if "agent" in mode or "chat" in mode:
        name_text = root.string("app", "name") or sheet.path
        sheet.add(AssetKind.agent, name_text, line, f"mode: {mode}", edges=(*dict.fromkeys(uses), platform))
