"""AI in Kubernetes manifests and Helm charts: kinds, containers, keys, accelerators, and what stands in front of them.

In: Parsed (a chart's template is better read after `charts.rendered`). Out: Assets. Services and routes are followed inside one
file, by label or name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from afterguard.catalog import load
from afterguard.code.document import Node, walk
from afterguard.code.json import read as read_json
from afterguard.code.parse import Parsed
from afterguard.code.yaml import read as read_yaml
from afterguard.discover import ai_config, images, model_names, settings
from afterguard.discover.settings import Setting
from afterguard.discover.sheet import Sheet, first_line, words
from afterguard.model import Asset, AssetKind, Certainty, Edge

_ROUTES = {"Ingress", "HTTPRoute", "GRPCRoute", "VirtualService", "Route", "IngressRoute", "Gateway", "HTTPProxy"}
_MODEL_VOLUME = re.compile(r"(?i)(^|/)(models?|weights|checkpoints?|huggingface|hf[-_]cache)(/|$)")


def find(parsed: Parsed) -> Iterator[Asset]:
    """Assets of a manifest, a chart's values or a kustomization."""
    document = parsed.document
    if document is None or document.format not in ("yaml", "json"):
        return
    sheet = Sheet(parsed.source.path, "infrastructure")
    objects = [one for root in document.roots for one in _objects(root)]
    servers: list[tuple[Node, list[Edge]]] = []
    for one in objects:
        written = _object(sheet, one)
        if written:
            servers.append((one, written))
    _fronts(sheet, objects, servers)
    name = parsed.source.path.rsplit("/", 1)[-1].lower()
    if not objects and re.match(r"(values[\w.-]*|chart|requirements|helmfile|kustomization)\.ya?ml$", name):
        for root in document.roots:
            _chart(sheet, root, name)
    yield from sheet.assets


def _objects(root: Node) -> Iterator[Node]:
    """The Kubernetes objects of a document, those inside a List too."""
    if root.kind == "map" and root.string("kind") and root.string("apiVersion"):
        items = root.get("items")
        if root.string("kind").endswith("List") and items is not None:
            yield from (item for item in items.items if item.kind == "map")
        else:
            yield root


@cache
def _kinds() -> dict[str, list[dict[str, Any]]]:
    out: dict[str, list[dict[str, Any]]] = {}
    for row in load("signals/kubernetes")["kinds"]:
        out.setdefault(row["kind"], []).append(row)
    return out


def _object(sheet: Sheet, one: Node) -> list[Edge]:
    """Write one object down; the edges of the servers and stores in it."""
    kind, version = one.string("kind"), one.string("apiVersion")
    out: list[Edge] = []
    for row in _kinds().get(kind, ()):
        if row["group"] in version:
            out.extend(_custom(sheet, one, row))
            break
    for container in _containers(one):
        out.extend(_container(sheet, container, one))
    if kind in ("ConfigMap", "Secret"):
        _config_map(sheet, one, kind == "Secret")
    return out


def _custom(sheet: Sheet, one: Node, row: dict[str, Any]) -> list[Edge]:
    node = one.get("kind")
    line = node.line if node is not None else one.line
    own = one.string("metadata", "name")
    matched = f"kind: {row['kind']} ({own})"
    edges: list[Edge] = []
    for path in row.get("model", ()):
        value = one.get(*path.split("."))
        if value is not None and value.kind == "text":
            edges.extend(settings.model(sheet, _bare(value.text), value.line, path.rsplit(".", 1)[-1], certain=True))
    for path in row.get("provider", ()):
        name = model_names.provider(one.string(*path.split(".")))
        value = one.get(*path.split("."))
        if name and value is not None:
            edges.append(sheet.add(settings.vendor_kind(name), name, value.line, f"provider: {value.text}"))
    edges.extend(_stored(sheet, one, own))
    if row.get("serves") == "own" and own and model_names.is_resolved(own) and not _models(edges):
        edges.append(sheet.add(AssetKind.model, own, line, matched, framework=_framework(one)))
    edges.extend(_inside(sheet, one))
    kind = AssetKind(row["asset"])
    name = own if row.get("serves") in ("agent", "mcp") and own else row["product"]
    served = tuple(Edge("serves" if e.kind in _SERVED else "uses", e.kind, e.name) for e in edges)
    image = one.string("spec", "image")
    return [sheet.add(kind, name, line, matched, Certainty.declared, served, image=image, workload=own)]


def _inside(sheet: Sheet, one: Node) -> list[Edge]:
    """What a custom object holds beside containers: an image in parts, and configuration as text."""
    out: list[Edge] = []
    for path, node in walk(one):
        repository = node.get("repository") if node.kind == "map" else None
        if repository is not None and repository.kind == "text":
            image = f"{repository.text}:{node.string('tag')}".rstrip(":")
            out.extend(images.read(sheet, image, repository.line, [], repository.resolved).models)
        elif node.tag in ("|", ">") and path[-1:] in (("serveConfigV2",), ("config",), ("configYaml",)):
            for root in read_yaml(node.text[: 1 << 20], []):
                ai_config.read(sheet, root, path[-1], first_line(node) - 1)
    return out


_SERVED = (AssetKind.model, AssetKind.embedding_model, AssetKind.model_artifact)


def _models(edges: list[Edge]) -> list[Edge]:
    return [edge for edge in edges if edge.kind in (AssetKind.model, AssetKind.embedding_model)]


def _bare(text: str) -> str:
    return re.sub(r"^(ollama|hf|pvc|oci|https?)://", "", text)


def _framework(one: Node) -> str:
    """The model format of a KServe or Seldon object."""
    for path, node in walk(one):
        if path[-2:] == ("modelFormat", "name") or path[-1:] in (("implementation",), ("server",)):
            return node.text
    predictor = one.get("spec", "predictor")
    named = (
        "sklearn",
        "xgboost",
        "tensorflow",
        "pytorch",
        "triton",
        "lightgbm",
        "onnx",
        "huggingface",
        "paddle",
        "pmml",
    )
    return next((key.text for key, _ in predictor.fields if key.text in named), "") if predictor is not None else ""


def _stored(sheet: Sheet, one: Node, own: str) -> list[Edge]:
    """Where the model is loaded from: storageUri and its like."""
    out = []
    for path, node in walk(one):
        if path and path[-1] in ("storageUri", "modelUri", "storage_uri") and node.kind == "text" and node.resolved:
            out.append(sheet.add(AssetKind.model_artifact, node.text, node.line, f"{path[-1]}: {node.text}", model=own))
    return out


def _containers(one: Node) -> Iterator[Node]:
    """Every container of every pod template inside, deployments and custom kinds alike."""
    seen: set[int] = set()
    for path, node in walk(one):
        if node.kind == "list" and path[-1:] in (("containers",), ("initContainers",)):
            for item in node.items:
                if item.kind == "map" and id(item) not in seen:
                    seen.add(id(item))
                    yield item
        elif node.kind == "map" and path[-2:] == ("predictor", "model") and node.get("args") is not None:
            yield node


def _container(sheet: Sheet, container: Node, one: Node) -> list[Edge]:
    image = container.get("image")
    command = [*words(container.get("command")), *words(container.get("args"))]
    text, line = (image.text, image.line) if image is not None else ("", container.line)
    first = len(sheet.assets)
    seen = images.read(sheet, text, line, command, image is None or image.resolved)
    keys = settings.read(sheet, _variables(container))
    edges = tuple(edge for edge in keys if edge.kind is AssetKind.secret_reference)
    accelerator = _accelerator(container)
    workload = one.string("metadata", "name")
    second = bool(seen.models or accelerator or len(sheet.assets) > first + len(seen.models))
    out = images.settle(sheet, seen, edges, second, workload=workload, accelerator=accelerator)
    mounts = container.get("volumeMounts")
    model_volume = next(
        (m for m in (mounts.items if mounts is not None else ()) if _MODEL_VOLUME.search(m.string("mountPath"))), None
    )
    guessed = sum((bool(accelerator), bool(seen.models), model_volume is not None))
    if not any(edge.kind is AssetKind.inference_server for edge in out) and guessed >= 2:
        name = container.string("name") or workload or "container"
        out.append(
            sheet.add(
                AssetKind.inference_server,
                f"unresolved:{name}",
                line,
                text or name,
                Certainty.unresolved,
                seen.models,
                image=text,
                workload=workload,
                accelerator=accelerator,
            )
        )
    return out


def _accelerator(container: Node) -> str:
    names = load("signals/kubernetes")["accelerators"]
    for part in ("limits", "requests"):
        node = container.get("resources", part)
        for key, value in node.fields if node is not None and node.kind == "map" else ():
            if key.text in names or key.text.startswith("nvidia.com/mig"):
                return f"{key.text}={value.text}"
    return ""


def _variables(container: Node) -> Iterator[Setting]:
    """env of a container; what comes from a secret is a reference that names it."""
    node = container.get("env")
    if node is not None and node.kind == "map":
        for key, value in node.fields:
            if value.kind not in ("map", "list"):
                yield Setting(key.text, value.text, key.line, not value.resolved)
        return
    for item in node.items if node is not None else ():
        name = item.get("name")
        if name is None:
            continue
        held = item.get("value")
        secret = item.string("valueFrom", "secretKeyRef", "name")
        store = f"{secret}/{item.string('valueFrom', 'secretKeyRef', 'key')}" if secret else ""
        text = held.text if held is not None and held.kind not in ("map", "list") else ""
        yield Setting(name.text, text, name.line, held is None or not held.resolved, store)


def _config_map(sheet: Sheet, one: Node, is_secret: bool) -> None:
    """AI settings in a ConfigMap or Secret: its keys as variables, and files inside read as configuration."""
    group: list[Setting] = []
    for part in ("data", "stringData"):
        data = one.get(part)
        for key, value in data.fields if data is not None and data.kind == "map" else ():
            if value.kind in ("map", "list"):
                continue
            if "\n" in value.text and not is_secret:
                errors: list[tuple[int, str]] = []
                reader = read_json if key.text.endswith(".json") else read_yaml
                for root in reader(value.text[: 1 << 20], errors):
                    ai_config.read(sheet, root, key.text, first_line(value) - 1)
            else:
                group.append(Setting(key.text, "" if is_secret else value.text, key.line, is_secret))
    settings.read(sheet, group)


def _fronts(sheet: Sheet, objects: list[Node], servers: list[tuple[Node, list[Edge]]]) -> None:
    """Services open to the outside and routes that lead to an inference server: the endpoints."""
    leads: dict[str, list[Edge]] = {}
    for one, edges in servers:
        reached = [edge for edge in edges if edge.kind in (AssetKind.inference_server, AssetKind.vector_store)]
        if reached:
            leads.setdefault(one.string("metadata", "name"), []).extend(reached)
    for service in (one for one in objects if one.string("kind") == "Service"):
        selector = service.get("spec", "selector")
        hit = [
            e
            for one, edges in servers
            if _selects(selector, one)
            for e in edges
            if e.kind is AssetKind.inference_server
        ]
        name = service.string("metadata", "name")
        if not hit and name not in leads:
            continue
        leads.setdefault(name, []).extend(hit)
        form = service.string("spec", "type")
        node = service.get("spec", "type")
        if form in ("LoadBalancer", "NodePort") and node is not None:
            calls = tuple(Edge("calls", e.kind, e.name) for e in leads[name] if e.kind is AssetKind.inference_server)
            if calls:
                sheet.add(
                    AssetKind.ai_endpoint, f"service/{name}", node.line, f"type: {form}", Certainty.inferred, calls
                )
    for route in (one for one in objects if one.string("kind") in _ROUTES):
        _route(sheet, route, leads)


def _route(sheet: Sheet, route: Node, leads: dict[str, list[Edge]]) -> None:
    host = next((n.text for p, n in walk(route) if p[-1:] == ("host",) or p[-2:-1] in (("hostnames",), ("hosts",))), "")
    for path, node in walk(route):
        if node.kind != "text" or not _is_backend(path):
            continue
        product = next(
            (n for n in images.product_kinds() if re.search(rf"(^|[-_.]){re.escape(n)}($|[-_.])", node.text)), ""
        )
        known = leads.get(node.text.split(".")[0], [])
        if not known and not product:
            continue
        calls = tuple(Edge("calls", e.kind, e.name) for e in known)
        calls = calls or (Edge("calls", images.product_kinds()[product], product),)
        if any(edge.kind is AssetKind.inference_server for edge in calls):
            name = (
                host if host and host != "*" else f"{route.string('kind').lower()}/{route.string('metadata', 'name')}"
            )
            sheet.add(
                AssetKind.ai_endpoint, name, node.line, f"backend: {node.text}", Certainty.inferred, calls, host=host
            )


def _is_backend(path: tuple[str, ...]) -> bool:
    return (
        path[-1:] == ("serviceName",)
        or path[-3:] == ("backend", "service", "name")
        or (path[-1:] == ("name",) and ("backendRefs" in path or "services" in path or "to" in path))
        or path[-2:] == ("destination", "host")
    )


def _selects(selector: Node | None, one: Node) -> bool:
    if selector is None or selector.kind != "map" or not selector.fields:
        return False
    labels = one.get("spec", "template", "metadata", "labels") or one.get("metadata", "labels")
    return labels is not None and all(labels.string(key.text) == value.text for key, value in selector.fields)


def _chart(sheet: Sheet, root: Node, name: str) -> None:
    """A chart's values, its dependencies, or a kustomization's images."""
    charts = load("signals/kubernetes")["charts"]
    for listed in ("dependencies", "helmCharts", "releases"):
        node = root.get(listed)
        for item in node.items if node is not None else ():
            chart = item.string("name") if listed != "releases" else item.string("chart").rsplit("/", 1)[-1]
            if chart in charts:
                kind = images.product_kinds().get(charts[chart], AssetKind.framework)
                sheet.add(kind, charts[chart], item.line, f"chart: {chart}", version=item.string("version"))
    for path, node in walk(root):
        if node.kind != "map":
            continue
        repository = node.get("repository") or node.get("newName") or (node.get("image") if path else None)
        if repository is not None and repository.kind == "text" and not repository.text.startswith("http"):
            registry, tag = node.string("registry"), node.string("tag") or node.string("newTag")
            image = "/".join(part for part in (registry, repository.text) if part) + (f":{tag}" if tag else "")
            seen = images.read(sheet, image, repository.line, [*words(node.get("args"))], repository.resolved)
            images.settle(sheet, seen)
    if name.startswith("values"):
        _values(sheet, root)


def _values(sheet: Sheet, root: Node) -> None:
    """Variables and models in a chart's values, wherever they stand."""
    for path, node in walk(root):
        if path and path[-1].lower() in (
            "env",
            "environment",
            "extraenv",
            "extraenvvars",
            "envvars",
            "secrets",
            "config",
        ):
            holder = Node("map", node.line, fields=((Node("text", node.line, "env"), node),))
            settings.read(sheet, _variables(holder))
    ai_config.read(sheet, root, "values.yaml", 0)
