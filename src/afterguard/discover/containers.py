"""AI in Dockerfiles and compose files: what runs, which model it loads, which keys it is given.

In: Parsed. Out: Assets. The last stage of a Dockerfile is what runs; earlier stages count as well, since they fetch models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import Node
from afterguard.code.parse import Parsed
from afterguard.discover import images, settings, shapes
from afterguard.discover.settings import Setting
from afterguard.discover.sheet import Sheet, words
from afterguard.model import Asset, AssetKind, Certainty, Edge

_MARKS = ("services", "include")


def find(parsed: Parsed) -> Iterator[Asset]:
    """Assets of a Dockerfile or a compose file."""
    document = parsed.document
    if document is None or not document.roots:
        return
    sheet = Sheet(parsed.source.path, "infrastructure")
    if document.format == "dockerfile":
        _dockerfile(sheet, document.roots[0])
    elif document.format == "yaml":
        for root in document.roots:
            if is_compose(root):
                _compose(sheet, root)
    yield from sheet.assets


def is_compose(root: Node) -> bool:
    """Whether a document is a compose file: services that have an image or a build."""
    services = root.get("services")
    if services is None or services.kind != "map" or root.get("kind") is not None:
        return False
    return any(s.get("image") is not None or s.get("build") is not None for _, s in services.fields if s.kind == "map")


def _dockerfile(sheet: Sheet, root: Node) -> None:
    group: list[Setting] = []
    commands: list[tuple[str, int]] = []
    image, image_line, resolved = "", 1, True
    stages = {value.string("as") for key, value in root.fields if key.text == "FROM"}
    ports: list[str] = []
    for key, value in root.fields:
        if key.text == "FROM":
            name = value.string("image")
            if name not in stages and name != "scratch":
                node = value.get("image")
                image, image_line, resolved = name, key.line, node is None or node.resolved
                if images.product(image) is None or not resolved:
                    continue
                commands_seen = images.read(sheet, image, image_line, [], resolved)
                images.settle(sheet, commands_seen)
        elif key.text in ("ENV", "ARG"):
            group.extend(Setting(k.text, v.text, v.line, not v.resolved) for k, v in value.fields)
        elif key.text in ("CMD", "ENTRYPOINT", "RUN"):
            commands.extend(words(value))
            commands.append(("", key.line))
        elif key.text == "EXPOSE":
            ports.extend(item.text.split("/")[0] for item in value.items)
        if key.text in ("RUN", "COPY", "ADD") and value.kind == "text":
            settings.addresses(sheet, value.text, key.line, f"{key.text} ")
    seen = images.read(sheet, "", 1, commands)
    edges = settings.read(sheet, group)
    images.settle(sheet, seen, _keys(edges), ports=" ".join(ports[:10]))


def _keys(edges: tuple[Edge, ...]) -> tuple[Edge, ...]:
    return tuple(edge for edge in edges if edge.kind is AssetKind.secret_reference)


def _compose(sheet: Sheet, root: Node) -> None:
    services = root.get("services")
    for name, service in services.fields if services is not None else ():
        if service.kind == "map":
            _service(sheet, name.text, service)
    models = root.get("models")
    for name, entry in models.fields if models is not None and models.kind == "map" else ():
        value = entry.get("model")
        if value is not None:
            settings.model(sheet, value.text, value.line, f"models.{name.text}", certain=True)


def _service(sheet: Sheet, name: str, service: Node) -> None:
    image = service.get("image")
    command = [*words(service.get("entrypoint")), *words(service.get("command"))]
    text, line = (image.text, image.line) if image is not None else ("", service.line)
    seen = images.read(sheet, _default(text), line, command, image is None or image.resolved or ":-" in text)
    built = pairs(service.get("build", "args"))
    edges = settings.read(sheet, [*pairs(service.get("environment")), *built])
    ports = list(published(service))
    known = any(_is_port_of(port, one.name) for port in ports for one, *_ in seen.products)
    images.settle(
        sheet, seen, _keys(edges), bool(known or seen.models or edges), service=name, ports=" ".join(ports[:10])
    )
    if not seen.products and seen.models:
        sheet.add(
            AssetKind.inference_server, f"unresolved:{name}", line, text or name, Certainty.unresolved, seen.models
        )
    provider = service.get("provider")
    if provider is not None and provider.string("type") == "model":
        value = provider.get("options", "model")
        if value is not None:
            settings.model(sheet, value.text, value.line, "provider.options.model", certain=True)


def _default(text: str) -> str:
    """The image with `${NAME:-default}` put in: what runs unless someone says otherwise."""
    return re.sub(r"\$\{\w{1,100}:?-([^{}]{0,300})\}", r"\1", text)


def pairs(node: Node | None) -> Iterator[Setting]:
    """Variables of a compose service: a map, or a list of NAME=value."""
    if node is None:
        return
    if node.kind == "map":
        for key, value in node.fields:
            if value.kind not in ("map", "list"):
                text = _default(value.text)
                yield Setting(key.text, text, key.line, "$" in text or value.kind == "null")
    for item in node.items:
        name, equals, value_text = item.text.partition("=")
        value_text = _default(value_text)
        yield Setting(name, value_text, item.line, not equals or "$" in value_text)


def published(service: Node) -> Iterator[str]:
    """Container ports of a compose service, in the short and the long form."""
    for key in ("ports", "expose"):
        node = service.get(key)
        for item in node.items if node is not None else ():
            text = item.string("target") if item.kind == "map" else item.text.split("/")[0].rsplit(":", 1)[-1]
            if text.isdigit():
                yield text


def _is_port_of(port: str, product: str) -> bool:
    known = shapes.port(int(port)) if len(port) < 6 else None
    return known is not None and known[0] == product
