"""What agents on this repository or machine may use: MCP servers, models, keys, rules files and skills of many clients.

In: Parsed. Out: mcp_server, agent, prompt, model and secret_reference assets. Nothing configured here is ever started. The shape
decides before the name: `mcpServers` with a command or an address is a server configuration wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from afterguard.catalog import load
from afterguard.code.document import Node, walk
from afterguard.code.parse import Parsed
from afterguard.discover import ai_config, mcp_servers
from afterguard.discover.sheet import Sheet
from afterguard.model import Asset, AssetKind, Certainty, Edge

_FRONT = re.compile(r"\A---\s*\n(.{0,20000}?)\n---", re.S)
_SURE = {"mcpServers", "mcp_servers", "context_servers", "amp.mcpServers", "modelContextProtocolServers"}
MAX_SERVERS = 500


def find(parsed: Parsed) -> Iterator[Asset]:
    """Assets of a client's configuration, rules file or skill; nothing for other files."""
    path = parsed.source.path
    sheet = Sheet(path)
    row = client(path)
    document = parsed.document
    if document is not None and document.format in ("json", "yaml", "toml"):
        is_marked = b"mcp" in parsed.source.data.lower() or b"context_servers" in parsed.source.data
        for root in document.roots:
            _document(sheet, root, row, is_marked)
    elif row is not None and row["kind"] in ("rules", "skill", "agent", "weak"):
        _rules(sheet, row, parsed.source.data)
    if row is not None and row["kind"] == "rules" and document is not None:
        sheet.add(AssetKind.prompt, path, 1, f"rules of {row['name']}", client=row["name"])
    yield from sheet.assets


@cache
def _files() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    rows = load("signals/agent_clients")["files"]
    return [(re.compile(r"(?:^|.*/)" + re.escape(r["match"]).replace(r"\*", r"[^/]*"), re.I), r) for r in rows]


def client(path: str) -> dict[str, Any] | None:
    """The catalog's row of the client a file belongs to, by the end of its path."""
    return next((row for pattern, row in _files() if pattern.fullmatch(path)), None)


def _document(sheet: Sheet, root: Node, row: dict[str, Any] | None, is_marked: bool) -> None:
    servers = list(_servers(root, row))[:MAX_SERVERS] if row is not None or is_marked else []
    edges = [mcp_servers.write(sheet, name, body) for name, body in servers]
    if row is None or row["kind"] in ("rules", "skill", "weak"):
        return
    if row["kind"] == "settings" or (edges and row["name"] != "mcp-client"):
        first = len(sheet.assets)
        if row["kind"] == "settings":
            ai_config.read(sheet, _without(root), row["name"], 0)
            _model(sheet, root)
        models = tuple(Edge("uses", a.kind, a.name) for a in sheet.assets[first:] if a.kind is AssetKind.model)
        facts = _permissions(root)
        sure = Certainty.declared if row["kind"] == "settings" else Certainty.inferred
        matched = sheet.path.rsplit("/", 1)[-1]
        sheet.add(
            AssetKind.agent,
            row["name"],
            root.line,
            matched,
            sure,
            (*edges, *models),
            permissions=facts,
            client=row["name"],
        )


def _model(sheet: Sheet, root: Node) -> None:
    """A client's own model key, which stands alone at the top."""
    for key in ("model", "model_name", "GOOSE_MODEL", "small_model"):
        node = root.get(key)
        if node is not None and node.kind == "text":
            mcp_servers.model(sheet, node, key)
    for path, node in walk(root):
        if path[-2:] == ("model", "primary") and node.kind == "text":
            mcp_servers.model(sheet, node, "primary")


def _without(root: Node) -> Node:
    """The tree without its servers: their arguments and variables are read by `mcp_servers`."""
    keys = load("signals/agent_clients")["server_keys"]
    fields = tuple((k, v) for k, v in root.fields if k.text not in keys)
    return Node("map", root.line, fields=fields)


def _permissions(root: Node) -> str:
    """Switches that let the agent act without asking, as written."""
    out = []
    for path, node in walk(root):
        if not path or node.kind in ("map", "list"):
            continue
        last = path[-1].lower().replace("_", "").replace("-", "")
        risky = last in (
            "defaultmode",
            "approvalpolicy",
            "approvalmode",
            "sandboxmode",
            "yolo",
            "autoapprove",
            "trust",
            "goosemode",
        )
        if risky or (len(path) > 2 and path[-3:-1] == ("permissions", "allow")):
            out.append(f"{'.'.join(path[-2:])}={node.text}")
        if len(out) >= 8:
            break
    return " ".join(out)


def _servers(root: Node, row: dict[str, Any] | None) -> Iterator[tuple[Node, Node]]:
    """(name, body) of every server: below a known key, where the bodies have a command or an address."""
    keys = load("signals/agent_clients")["server_keys"]
    known = row is not None and row["kind"] in ("mcp", "settings")
    for path, node in walk(root):
        if not path or len(path) > 8:
            continue
        sure = path[-1] in _SURE
        if not sure and (path[-1] not in keys or not (known or "mcp" in path[:-1])):
            continue
        if node.kind == "map":
            for name, body in node.fields:
                listed = path[-1] == "registry" and row is not None and row["name"] == "docker-mcp"
                if body.kind == "map" and (mcp_servers.is_server(body) or (sure and known) or listed):
                    yield name, body
        elif node.kind == "list":
            for item in node.items:
                named = item.get("name") if item.kind == "map" else None
                if named is not None and mcp_servers.is_server(item):
                    yield named, item


def _rules(sheet: Sheet, row: dict[str, Any], data: bytes) -> None:
    """A rules file, a skill or an agent's definition: a prompt that ends up before a model."""
    text = data[: 1 << 20].decode("utf-8", "replace")
    if not text.strip():
        return
    front = _FRONT.match(text)
    head = front[1] if front else ""
    if row["kind"] == "weak" and "aider" not in text.lower():
        return
    name = _front(head, "name")
    tools = _front(head, "allowed-tools") or _front(head, "tools")
    matched = f"{row['kind']} of {row['name']}" if row["kind"] != "skill" else f"skill {name}".strip()
    sheet.add(
        AssetKind.prompt,
        sheet.path,
        1,
        matched,
        client=row["name"],
        tools=tools,
        skill=name if row["kind"] == "skill" else "",
    )
    if row["kind"] == "agent" and (name or head):
        own = name or sheet.path.rsplit("/", 1)[-1].removesuffix(".md").removesuffix(".agent")
        uses = (Edge("uses", AssetKind.prompt, sheet.path),)
        sheet.add(AssetKind.agent, own, 1, f"agent {own}", Certainty.declared, uses, client=row["name"], tools=tools)


def _front(head: str, key: str) -> str:
    found = re.search(rf"^{re.escape(key)}\s*:\s*(.{{1,300}})$", head, re.M)
    return found[1].strip().strip("\"'") if found else ""
