"""AI in files with a format of their own: Modelfile, MLmodel, MLproject, CrewAI, LangGraph, promptfoo, BentoML, NeMo rails.

In: Parsed. Out: Assets. A format is recognised by its keys; the name of the file only helps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import Node, walk
from afterguard.code.parse import Parsed
from afterguard.code.scalar import Errors, decode
from afterguard.code.yaml import read as read_yaml
from afterguard.discover import model_names, settings
from afterguard.discover.sheet import Sheet
from afterguard.model import Asset, AssetKind, Certainty, Edge

_MODELFILE = re.compile(r"^(FROM|ADAPTER|SYSTEM|TEMPLATE|PARAMETER)[ \t]+(\"{3})?[ \t]*([^\n]{0,500})", re.I | re.M)
_FLAVORS = {
    "sklearn": "scikit-learn", "xgboost": "xgboost", "lightgbm": "lightgbm", "catboost": "catboost", "pytorch": "torch",
    "tensorflow": "tensorflow", "keras": "keras", "onnx": "onnx", "spark": "spark-ml", "transformers": "transformers",
    "langchain": "langchain", "openai": "openai", "sentence_transformers": "sentence-transformers", "prophet": "prophet",
    "statsmodels": "statsmodels", "spacy": "spacy", "fastai": "fastai", "h2o": "h2o", "llama_index": "llama-index",
    "dspy": "dspy", "paddle": "paddle", "pmdarima": "pmdarima",
}  # fmt: skip


def find(parsed: Parsed) -> Iterator[Asset]:
    """Assets of a file in one of these formats; nothing for other files."""
    path = parsed.source.path
    name = path.rsplit("/", 1)[-1].lower()
    sheet = Sheet(path)
    if parsed.document is not None and parsed.document.format in ("yaml", "json", "toml"):
        for root in parsed.document.roots:
            if root.kind == "map":
                _document(sheet, root, name)
    elif name.startswith("modelfile") or name.endswith(".modelfile"):
        _modelfile(sheet, parsed.source.data)
    elif name in ("mlmodel", "mlproject") and len(parsed.source.data) < 1 << 20:
        errors: Errors = []
        for root in read_yaml(decode(parsed.source.data, errors), errors):
            _mlflow(sheet, root)
    yield from sheet.assets


def _document(sheet: Sheet, root: Node, name: str) -> None:
    if name in ("mlmodel.yaml", "mlproject.yaml"):
        _mlflow(sheet, root)
    elif root.get("graphs") is not None and (name == "langgraph.json" or root.get("dependencies") is not None):
        _langgraph(sheet, root)
    elif root.get("model_list") is not None:
        _litellm(sheet, root)
    elif (root.get("providers") is not None and (root.get("prompts") is not None or root.get("tests") is not None)) or (
        root.get("redteam") is not None and root.get("targets") is not None
    ):
        _promptfoo(sheet, root)
    elif root.get("models") is not None and (root.get("rails") is not None or root.get("instructions") is not None):
        _rails(sheet, root)
    elif name.startswith("bentofile") or (root.get("service") is not None and root.get("models") is not None):
        _bento(sheet, root)
    else:
        _crew(sheet, root)


def _modelfile(sheet: Sheet, data: bytes) -> None:
    """Ollama's Modelfile: what it is built from, an adapter, and the system prompt."""
    text = data[: 1 << 20].decode("utf-8", "replace")
    base: list[Edge] = []
    for found in _MODELFILE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        word, value = found[1].upper(), found[3].strip().strip('"')
        if word == "FROM" and value.startswith((".", "/", "~")):
            base.append(sheet.add(AssetKind.model_artifact, value, line, f"FROM {value}"))
        elif word == "FROM":
            base.extend(settings.model(sheet, value, line, "FROM", certain=True))
        elif word == "ADAPTER" and value:
            base.append(sheet.add(AssetKind.model_artifact, value, line, f"ADAPTER {value}"))
        elif word == "SYSTEM":
            sheet.add(AssetKind.prompt, sheet.path, line, "SYSTEM of a Modelfile")
    if base:
        served = tuple(Edge("serves", e.kind, e.name) for e in base)
        sheet.add(AssetKind.inference_server, "ollama", 1, "Modelfile", Certainty.inferred, served)


def _mlflow(sheet: Sheet, root: Node) -> None:
    """A packaged MLflow model with its flavors, or a project."""
    flavors = root.get("flavors")
    if flavors is not None and flavors.kind == "map":
        sheet.add(AssetKind.framework, "mlflow", root.line, "MLmodel", version=root.string("mlflow_version"))
        uses: list[Edge] = []
        for key, body in flavors.fields:
            if key.text in _FLAVORS and body.kind == "map":
                version = next((v.text for k, v in body.fields if k.text.endswith("_version")), "")
                uses.append(
                    sheet.add(AssetKind.framework, _FLAVORS[key.text], key.line, f"flavor {key.text}", version=version)
                )
            data = body.string("data") or body.string("model_data") or body.string("pickled_model")
            if data:
                folder = sheet.path.rpartition("/")[0]
                artefact = f"{folder}/{data}" if folder else data
                uses.append(sheet.add(AssetKind.model_artifact, artefact, body.line, f"flavor {key.text}: {data}"))
        own = root.string("artifact_path") or sheet.path.rpartition("/")[0].rsplit("/", 1)[-1] or "model"
        sheet.add(AssetKind.model, own, root.line, "MLmodel", edges=tuple(uses), task="predictive")
    elif root.get("entry_points") is not None:
        sheet.add(AssetKind.framework, "mlflow", root.line, f"MLproject {root.string('name')}")


def _langgraph(sheet: Sheet, root: Node) -> None:
    graphs = root.get("graphs")
    framework = sheet.add(AssetKind.framework, "langgraph", root.line, "graphs", Certainty.declared)
    for key, value in graphs.fields if graphs is not None and graphs.kind == "map" else ():
        where = value.text or value.string("path")
        sheet.add(AssetKind.agent, key.text, key.line, f"graph {key.text}: {where}", edges=(framework,))


def _litellm(sheet: Sheet, root: Node) -> None:
    """LiteLLM's proxy: each entry gives a name to a provider's model."""
    listed = root.get("model_list")
    served: list[Edge] = []
    for item in listed.items if listed is not None else ():
        node = item.get("litellm_params", "model") if item.kind == "map" else None
        if node is not None:
            edges = settings.model(sheet, node.text, node.line, "model", certain=True)
            served.extend(
                Edge("serves", e.kind, e.name) for e in edges if e.kind in (AssetKind.model, AssetKind.embedding_model)
            )
    line = listed.line if listed is not None else root.line
    key = root.get("general_settings", "master_key")
    held: tuple[Edge, ...] = ()
    if key is not None and key.kind == "text":
        name = key.text.removeprefix("os.environ/") if key.text.startswith("os.environ/") else "master_key"
        edge = sheet.add(
            AssetKind.secret_reference,
            name,
            key.line,
            "master_key",
            held="reference" if name != "master_key" else "value",
        )
        held = (Edge("authenticates_with", edge.kind, edge.name),)
    sheet.add(AssetKind.inference_server, "litellm", line, "model_list", edges=(*served, *held))


def _promptfoo(sheet: Sheet, root: Node) -> None:
    node = root.get("providers") or root.get("targets")
    uses: list[Edge] = []
    for item in node.items if node is not None and node.kind == "list" else (node,) if node is not None else ():
        named = item.get("id") if item.kind == "map" else item
        if named is None or named.kind != "text":
            continue
        parts = named.text.split(":")
        provider = model_names.provider(parts[0])
        if provider:
            kind = settings.vendor_kind(provider)
            uses.append(sheet.add(kind, provider, named.line, f"provider: {named.text}"))
            if len(parts) > 1 and parts[-1] not in ("chat", "completion", "messages", "responses", "embedding"):
                uses.extend(settings.model(sheet, parts[-1], named.line, "provider", provider, certain=True))
    if uses:
        sheet.add(AssetKind.framework, "promptfoo", root.line, "providers and prompts", edges=tuple(uses))


def _rails(sheet: Sheet, root: Node) -> None:
    """NeMo Guardrails: models with an engine."""
    models = root.get("models")
    for item in models.items if models is not None else ():
        model, engine = (item.get("model"), item.get("engine")) if item.kind == "map" else (None, None)
        provider = model_names.provider(engine.text) if engine is not None else ""
        if model is not None and engine is not None:
            settings.model(
                sheet, model.text, model.line, "model", provider, item.string("type") == "embeddings", certain=True
            )
            if provider:
                sheet.add(settings.vendor_kind(provider), provider, engine.line, f"engine: {engine.text}")
            sheet.add(AssetKind.framework, "nemo-guardrails", root.line, "models with an engine and rails")
    for path, node in walk(root):
        if path[-1:] == ("content",) and "instructions" in path and len(node.text) > 20:
            sheet.add(AssetKind.prompt, f"{sheet.path}:{node.line}", node.line, "instructions")


def _bento(sheet: Sheet, root: Node) -> None:
    service = root.get("service")
    if service is None or service.kind != "text" or ":" not in service.text:
        return
    served = []
    models = root.get("models")
    for item in models.items if models is not None else ():
        name = item.string("tag") or item.string("name") if item.kind == "map" else item.text
        if name and model_names.is_id(name):
            served.append(sheet.add(AssetKind.model, name, item.line, f"models: {name}", task="predictive"))
    edges = tuple(Edge("serves", e.kind, e.name) for e in served)
    sheet.add(AssetKind.inference_server, "bentoml", service.line, f"service: {service.text}", edges=edges)


def _crew(sheet: Sheet, root: Node) -> None:
    """CrewAI's agents.yaml: every entry has a role, a goal and a backstory."""
    for key, body in root.fields[:500]:
        if body.kind != "map" or not all(body.get(word) is not None for word in ("role", "goal", "backstory")):
            continue
        uses = [sheet.add(AssetKind.framework, "crewai", key.line, "role, goal, backstory", Certainty.inferred)]
        llm = body.get("llm")
        if llm is not None and llm.kind == "text":
            uses.extend(settings.model(sheet, llm.text, llm.line, "llm", certain=True))
        sheet.add(AssetKind.agent, key.text, key.line, f"agent {key.text}", edges=tuple(uses))
        sheet.add(AssetKind.prompt, f"{sheet.path}:{key.text}", key.line, "role, goal, backstory", agent=key.text)
