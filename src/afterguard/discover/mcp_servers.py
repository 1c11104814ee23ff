"""One configured MCP server: how it is reached, which package it is, whether that is pinned, which keys it is given.

In: a server's name and body as a client's configuration holds it. Out: an mcp_server asset with its edges. Arguments are
redacted; nothing is started or fetched.
"""

from __future__ import annotations

import re
from itertools import pairwise
from urllib.parse import urlsplit

from afterguard.catalog import load
from afterguard.code.document import Node
from afterguard.discover import settings
from afterguard.discover.settings import Setting
from afterguard.discover.sheet import Sheet, shown, words
from afterguard.model import AssetKind, Certainty, Edge

_SPEC = re.compile(r"(@[\w.-]{1,100}/)?[\w.-]{1,150}(\[[\w,-]{1,80}\])?(@[\w.^~*-]{1,60}|==[\w.]{1,60})?\Z")
_EXACT = re.compile(r"v?\d+\.\d+(\.\d+)?([-+.][\w.]+)?\Z")
_VARIABLE = re.compile(r"\$\{(?:env:|input:)?([A-Za-z_][\w-]{1,100})|\$([A-Z][A-Z0-9_]{2,100})")


def is_server(body: Node) -> bool:
    """Whether a map says how to start or reach a server."""
    for key in ("command", "cmd", "url", "serverUrl", "httpUrl", "uri", "endpoint"):
        node = body.get(key)
        if node is not None and node.kind in ("text", "list", "map") and (node.text or node.items or node.fields):
            return True
    return False


def write(sheet: Sheet, name: Node, body: Node) -> Edge:
    """Write a server down with its package, its keys and its transport."""
    address = next((body.string(k) for k in ("url", "serverUrl", "httpUrl", "uri", "endpoint") if body.string(k)), "")
    command, args = _command(body)
    group = list(_variables(body))
    edges = _keys(sheet, group, body)
    package, version, ecosystem = _package([command, *args]) if command else ("", "", "")
    pinned = "" if not package else "yes" if _is_pinned(version) else "no"
    transport = body.string("type") or body.string("transport") or ("stdio" if command else "http" if address else "")
    host = settings.host_of(address) if "://" in address else ""
    if transport == "http" and address.rstrip("/").endswith("/sse"):
        transport = "sse"
    approved = [n.text for k in ("autoApprove", "alwaysAllow", "always_allow") for n in _list(body.get(k))]
    settings.addresses(sheet, address, body.line)
    shown_command = shown(" ".join([command, *_quiet(args)])) if command else ""
    return sheet.add(
        AssetKind.mcp_server,
        name.text,
        name.line,
        shown_command or _plain(address) or name.text,
        Certainty.declared,
        tuple(edges),
        transport=transport.lower(),
        command=shown_command,
        host=host,
        encrypted="no" if address.lower().startswith("http://") else "",
        package=package,
        ecosystem=ecosystem,
        version=version,
        pinned=pinned,
        auto_approve=" ".join(approved[:20]),
        disabled="yes" if body.string("disabled") == "true" or body.string("enabled") == "false" else "",
    )


def model(sheet: Sheet, node: Node, key: str) -> None:
    """A client's model setting."""
    settings.model(sheet, node.text, node.line, key, certain=True)


def _list(node: Node | None) -> tuple[Node, ...]:
    return node.items if node is not None and node.kind == "list" else ()


def _command(body: Node) -> tuple[str, list[str]]:
    node = body.get("command") or body.get("cmd")
    if node is None:
        return "", []
    if node.kind == "map":
        return node.string("path"), [word for word, _ in words(node.get("args"))]
    listed = [word for word, _ in words(node)] if node.kind == "list" or " " in node.text else [node.text]
    args = [item.text for item in _list(body.get("args"))]
    return (listed[0] if listed else ""), [*listed[1:], *args][:100]


def _quiet(args: list[str]) -> list[str]:
    """Arguments with the values of credential flags and headers taken out."""
    out: list[str] = []
    hide = False
    for arg in args:
        flag, equals, value = arg.partition("=")
        if hide and not arg.startswith("-"):
            out.append(arg if _VARIABLE.fullmatch(arg.strip("}")) or arg.startswith("${") else "[redacted]")
            hide = False
            continue
        secret = settings.is_secret_name(flag.lstrip("-")) or flag.lower() in (
            "--header",
            "-h",
            "--auth",
            "--password",
            "--env",
            "-e",
        )
        hide = secret and not equals and arg.startswith("-")
        out.append(f"{flag}=[redacted]" if secret and equals and "$" not in value else arg)
    return out


def _plain(address: str) -> str:
    """The address without user, query and fragment."""
    try:
        parts = urlsplit(address)
        return (
            f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
            if parts.scheme
            else ""
        )
    except ValueError:
        return ""


def _package(line: list[str]) -> tuple[str, str, str]:
    """(package, version, ecosystem) of what a runner would fetch; empty for a local program."""
    runners = load("signals/agent_clients")["runners"]
    plain = [
        word.replace("\\", "/").rsplit("/", 1)[-1].lower().removesuffix(".cmd").removesuffix(".exe") for word in line
    ]
    at = next((i for i, word in enumerate(plain) if word in runners), -1)
    if at < 0 or at > 3:
        return "", "", ""
    runner = plain[at]
    if runner in ("docker", "podman"):
        return _image(line[at + 1 :])
    ecosystem = "pypi" if runner in ("uvx", "uv", "pipx") else "npm"
    skip = False
    rest = line[at + 1 :]
    for number, word in enumerate(rest):
        if skip:
            skip = False
            if rest[number - 1] not in ("--from", "--package", "-p", "--spec") or runner == "pnpm":
                continue
        elif word.startswith("-"):
            name, equals, value = word.partition("=")
            if not (equals and name in ("--package", "--from", "--spec")):
                skip = name in runners[runner] and not equals
                continue
            word = value
        elif word in ("run", "tool", "dlx", "exec", "x", "-y", "python", "python3", "node", "tsx", "ts-node", "--"):
            continue
        if word.endswith((".py", ".js", ".ts", ".mjs")) or word.startswith((".", "/", "$", "~")) or "\\" in word:
            return "", "", ""
        if word.startswith(("git+", "http", "github:")):
            name, _, version = word.partition("@")
            return word.split("#")[0], version, "git"
        return (*_split(word), ecosystem) if _SPEC.match(word) else ("", "", "")
    return "", "", ""


def _split(spec: str) -> tuple[str, str]:
    if "==" in spec:
        name, _, version = spec.partition("==")
        return name, version
    at = spec.rfind("@")
    return (spec[:at], spec[at + 1 :]) if at > 0 else (spec, "")


def _image(rest: list[str]) -> tuple[str, str, str]:
    """The image of `docker run [flags] image`."""
    skip = False
    for word in rest:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = "=" not in word and word in (
                "-e",
                "--env",
                "-v",
                "--volume",
                "--mount",
                "-p",
                "--name",
                "--network",
                "--env-file",
                "-w",
                "--entrypoint",
                "-u",
                "--user",
                "--platform",
                "--add-host",
            )
        elif word not in ("run", "exec", "container", "mcp", "gateway"):
            name, _, digest = word.partition("@")
            head, colon, tag = name.rpartition(":")
            named, version = (head, tag) if colon and "/" not in tag else (name, "")
            return named, digest or version, "oci"
    return "", "", ""


def _is_pinned(version: str) -> bool:
    return (
        version.startswith("sha256:")
        or _EXACT.match(version) is not None
        or re.fullmatch(r"[0-9a-f]{7,40}", version) is not None
    )


def _variables(body: Node) -> list[Setting]:
    group: list[Setting] = []
    for key in ("env", "environment", "envs"):
        node = body.get(key)
        for name, value in node.fields if node is not None and node.kind == "map" else ():
            group.append(Setting(name.text, value.text, name.line, not value.resolved or not value.text))
    for key in ("env_keys", "env_vars", "bearer_token_env_var"):
        node = body.get(key)
        for item in (node.items or (node,)) if node is not None else ():
            if item.text:
                group.append(Setting(item.text, "", item.line, True))
    listed = _list(body.get("args"))
    for before, item in pairwise(listed):
        if before.text in ("-e", "--env") and re.match(r"[A-Z][A-Z0-9_]{2,80}(=|\Z)", item.text):
            word, equals, given = item.text.partition("=")
            group.append(Setting(word, given, item.line, not equals or "$" in given))
    return group


def _keys(sheet: Sheet, group: list[Setting], body: Node) -> list[Edge]:
    """Secret references among the variables and headers; a name that says credential is enough here."""
    edges = list(settings.read(sheet, group))
    known = {edge.name for edge in edges}
    for one in group:
        if one.name not in known and settings.is_secret_name(one.name):
            edges.append(_reference(sheet, one.name, one.line, "reference" if one.reference else "value"))
    headers = body.get("headers") or body.get("http_headers") or body.get("requestInit", "headers")
    for name, value in headers.fields if headers is not None and headers.kind == "map" else ():
        found = _VARIABLE.search(value.text)
        if found:
            edges.append(_reference(sheet, found[1] or found[2], value.line, "reference"))
        elif settings.is_secret_name(name.text) or name.text.lower() in ("authorization", "cookie"):
            edges.append(_reference(sheet, f"header {name.text}", value.line, "value"))
    secrets = [e for e in edges if e.kind is AssetKind.secret_reference]
    others = [e for e in edges if e.kind is not AssetKind.secret_reference]
    return [*(Edge("authenticates_with", e.kind, e.name) for e in dict.fromkeys(secrets)), *others]


def _reference(sheet: Sheet, name: str, line: int, held: str) -> Edge:
    edge = sheet.add(AssetKind.secret_reference, name, line, name, held=held)
    return Edge("authenticates_with", edge.kind, edge.name)
