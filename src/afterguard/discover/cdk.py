"""AI in CDK and Pulumi programs: constructs for Bedrock, SageMaker and their like in code.

In: Parsed with a Module. Out: Assets. A construct counts when its module is imported; the import alone is an inference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.catalog import load
from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, calls, walk
from afterguard.discover import settings, signals
from afterguard.discover.settings import Setting
from afterguard.discover.sheet import Sheet
from afterguard.model import Asset, AssetKind, Certainty, Edge

_PULUMI = {
    "bedrock": "aws-bedrock",
    "sagemaker": "aws-sagemaker",
    "vertex": "google-vertex-ai",
    "cognitive": "azure-openai",
}
_OWN = {
    "Agent": AssetKind.agent, "CfnAgent": AssetKind.agent, "CfnKnowledgeBase": AssetKind.vector_store,
    "VectorKnowledgeBase": AssetKind.vector_store, "CfnEndpoint": AssetKind.ai_endpoint, "Endpoint": AssetKind.ai_endpoint,
    "CfnModel": AssetKind.model, "Model": AssetKind.model, "CfnDataSource": AssetKind.dataset,
}  # fmt: skip
_IS_CDK = re.compile(r"aws[_-]cdk|@cdklabs|cdklabs|constructs|pulumi|cdktf", re.I)
_FROM_ID = re.compile(
    r"(?i)(from_?foundation_?model_?id|foundationmodelidentifier|bedrockfoundationmodel|foundation_?model)"
)


def find(parsed: Parsed) -> Iterator[Asset]:
    """Assets of an infrastructure program; nothing for other code."""
    module = parsed.module
    if module is None or not any(_IS_CDK.search(one.module) for one in module.imports):
        return
    sheet = Sheet(parsed.source.path, "infrastructure")
    for one in module.imports:
        service = _service(f"{one.module}.{one.name}")
        if service:
            sheet.add(
                settings.vendor_kind(service), service, one.line, f"import {one.module} {one.name}", Certainty.inferred
            )
    for _, call in calls(module):
        _call(sheet, call)
    yield from sheet.assets


def _service(name: str) -> str:
    known = load("signals/cloud_resources")["cdk"]
    parts = re.split(r"[./]", name)
    found = next((known[part] for part in parts if part in known), "")
    if not found and "pulumi" in name:
        found = next(
            (service for part in parts for word, service in _PULUMI.items() if part.lower().startswith(word)), ""
        )
    return str(found)


def _call(sheet: Sheet, call: Expr) -> None:
    service = _service(call.text)
    last = call.text.rsplit(".", 1)[-1].split("(")[0]
    models: list[Edge] = []
    if service or _FROM_ID.search(call.text):
        for part in walk(call):
            if part.kind == "text" and signals.model(part.text) is not None:
                models.extend(settings.model(sheet, part.text, part.line, last, service, certain=True))
    if service:
        served = tuple(
            Edge("serves", e.kind, e.name) for e in models if e.kind in (AssetKind.model, AssetKind.embedding_model)
        )
        sheet.add(settings.vendor_kind(service), service, call.line, f"{last}(...)", Certainty.declared, served)
        own = next((part.text for part in call.parts[1:2] if part.kind == "text"), "")
        if last in _OWN and own:
            part_of = Edge("part_of", settings.vendor_kind(service), service)
            sheet.add(_OWN[last], own, call.line, f"{last}({own})", Certainty.declared, (part_of,))
    _environment(sheet, call)
    if last == "PolicyStatement":
        _policy(sheet, call)


def _environment(sheet: Sheet, call: Expr) -> None:
    for key, value in [*call.fields, *(f for part in call.parts if part.kind == "map" for f in part.fields)]:
        if key in ("environment", "variables", "env") and value.kind == "map":
            group = [Setting(k, v.text if v.kind == "text" else "", v.line, v.kind != "text") for k, v in value.fields]
            settings.read(sheet, group)


def _policy(sheet: Sheet, call: Expr) -> None:
    prefixes = load("signals/cloud_resources")["permissions"]
    for part in walk(call):
        service = next(
            (name for prefix, name in prefixes.items() if part.kind == "text" and part.text.startswith(prefix)), ""
        )
        if service:
            kind = settings.vendor_kind(service)
            sheet.add(kind, service, part.line, f"action: {part.text}", Certainty.inferred, permission=part.text)
