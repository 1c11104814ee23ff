"""AI in Terraform: resources, data sources, modules, variables and Helm releases.

In: Parsed (format hcl). Out: Assets. Names from variables and locals of the same file are already put in by code.hcl.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.catalog import load
from afterguard.code.document import Node
from afterguard.code.parse import Parsed
from afterguard.discover import ai_config, cloud_resources, images, settings
from afterguard.discover.settings import Setting
from afterguard.discover.sheet import Sheet
from afterguard.model import Asset, AssetKind, Certainty

_MODULE = re.compile(
    r"(?i)(?:^|[/_-])(bedrock|sagemaker|vertex-?ai|openai|azure-openai|litellm|ollama|vllm|mlflow|pinecone|qdrant)(?:$|[/_.-])"
)
_MODULES = {
    "bedrock": "aws-bedrock", "sagemaker": "aws-sagemaker", "vertexai": "google-vertex-ai", "vertex-ai": "google-vertex-ai",
    "openai": "azure-openai", "azure-openai": "azure-openai",
}  # fmt: skip


def find(parsed: Parsed) -> Iterator[Asset]:
    """Assets of a Terraform file."""
    document = parsed.document
    if document is None or document.format != "hcl" or not document.roots:
        return
    sheet = Sheet(parsed.source.path, "infrastructure")
    root = document.roots[0]
    for key, block in root.fields:
        if key.text in ("resource", "data", "ephemeral"):
            for kind, named in block.fields:
                for label, body in named.fields:
                    _resource(sheet, key.text, kind, label, body)
        elif key.text == "module":
            for label, body in block.fields:
                _module(sheet, label, body)
        elif key.text == "variable":
            _variable(sheet, block)
        elif key.text == "locals":
            ai_config.read(sheet, block, "locals", 0)
    if parsed.source.path.endswith(".tfvars"):
        group = [
            Setting(k.text, v.text, k.line, not v.resolved) for k, v in root.fields if v.kind not in ("map", "list")
        ]
        settings.read(sheet, group)
        ai_config.read(sheet, root, "tfvars", 0)
    yield from sheet.assets


def _resource(sheet: Sheet, form: str, kind: Node, label: Node, body: Node) -> None:
    if body.kind != "map":
        return
    section, name = "terraform", kind.text
    if name.startswith("azapi_"):
        section, name = "azure", body.string("type").partition("@")[0]
    cloud_resources.write(sheet, section, name, label.text, body, kind.line, is_data=form == "data")
    if kind.text == "helm_release":
        chart = body.string("chart").rsplit("/", 1)[-1]
        product = load("signals/kubernetes")["charts"].get(chart)
        node = body.get("chart")
        if product and node is not None:
            asset_kind = images.product_kinds().get(product, AssetKind.framework)
            sheet.add(asset_kind, product, node.line, f"chart: {chart}", version=body.string("version"))
    if "secret" in kind.text or kind.text in ("aws_ssm_parameter", "github_actions_secret"):
        _secret(sheet, kind, body)


def _secret(sheet: Sheet, kind: Node, body: Node) -> None:
    """A secret store's entry whose name is that of a key for AI."""
    for key in ("name", "secret_id", "secret_name"):
        node = body.get(key)
        if node is not None and node.kind == "text":
            name = re.sub(r"[^A-Za-z0-9]+", "_", node.text.rstrip("/").rsplit("/", 1)[-1]).upper()
            settings.read(sheet, [Setting(name, "", node.line, True, kind.text)])


def _module(sheet: Sheet, label: Node, body: Node) -> None:
    source = body.get("source")
    if source is None or body.kind != "map":
        return
    found = _MODULE.search(source.text)
    if found:
        word = found[1].lower()
        name = _MODULES.get(word, word)
        kind = images.product_kinds().get(name) or settings.vendor_kind(name)
        sheet.add(
            kind, name, source.line, f"module source: {source.text}", Certainty.inferred, version=body.string("version")
        )
    cloud_resources.write(sheet, "terraform", "module", label.text, body, label.line)
    ai_config.read(sheet, body, "module", 0)


def _variable(sheet: Sheet, block: Node) -> None:
    """Variables named like a key or a model of an AI service."""
    for name, body in block.fields:
        default = body.get("default")
        text = default.text if default is not None and default.kind == "text" else ""
        settings.read(sheet, [Setting(name.text, text, default.line if default is not None else name.line, not text)])
        if default is not None and default.kind in ("map", "list"):
            ai_config.read(sheet, default, name.text, 0)
