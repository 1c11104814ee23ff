"""A server of models, vectors, experiments or notebooks that answers everybody who reaches its address.

In: Compose, Kubernetes, Dockerfiles, Terraform, environment files, scripts and code. Out: a finding at the published port, the bind
address or the setting that switches credentials off. A port bound to the loopback address, a credential, or a service inside the
cluster are left alone; the network around it cannot be seen from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import Node, scalars
from afterguard.code.parse import Parsed
from afterguard.code.syntax import argument
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, CONFIG, Check, Context
from afterguard.scan.recognise import fold
from afterguard.scan.servers import Server, by_command, by_image, is_closed, servers, words
from afterguard.scan.source_text import uncommented

CHECK = Check(
    id="exposed-inference-server",
    title="An AI server is open to everybody who reaches it",
    severity=Severity.high,
    taxonomies=("LLM10:2025", "LLM06:2026", "ASI03:2026", "AML.T0049", "AML.T0040", "CWE-306", "CWE-1327"),
    why="These servers run models, code or queries for any caller; several have been taken over within hours of being exposed.",
    fix="Bind to 127.0.0.1 or a private network, demand a key or token, and put an authenticating proxy in front.",
    kinds=(*CODE, *CONFIG, "script", "text"),
)
_ALL = re.compile(
    r"(?:(?:--(?:host|hostname|bind|ip|listen|http-address|dashboard-host|server-name)|\s-[hH])[=\s\"',]+(?:0\.0\.0\.0|\[?::\]?|\*)(?![\w.])|--bind_all\b|--listen(?:\s+0\.0\.0\.0)?(?=\s|$))"
)
_OLLAMA = re.compile(r"\bOLLAMA_HOST[\"']?\s*[=:\s]\s*[\"']?(?:https?://)?(?:0\.0\.0\.0|\[::\]|:\d)")
_OFF = (
    (re.compile(r"(?:NotebookApp|ServerApp|IdentityProvider|LabApp)\.(?:token|password)[\"']?\s*=\s*(?:u?[\"']{2}|[\\]?[\"'][\\]?[\"']|(?=[\s\]\",']|$))|\bJUPYTER_TOKEN[\"']?\s*[=:]\s*(?:[\"']{2}|$)"), "Jupyter runs without a token."),
    (re.compile(r"AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED[\"']?\s*[=:]\s*[\"']?true", re.IGNORECASE), "Weaviate lets anonymous callers in."),
    (re.compile(r"disable_token_auth[\"']?\s*[=:]\s*[\"']?true|--disable-token-auth", re.IGNORECASE), "TorchServe runs without tokens."),
    (re.compile(r"LANGFLOW_AUTO_LOGIN[\"']?\s*[=:]\s*[\"']?true|\bWEBUI_AUTH[\"']?\s*[=:]\s*[\"']?false|LANGFLOW_SKIP_AUTH_AUTO_LOGIN[\"']?\s*[=:]\s*[\"']?true", re.IGNORECASE), "Sign-in is switched off."),
    (re.compile(r"\bALLOW_RESET[\"']?\s*[=:]\s*[\"']?(?:true|TRUE|True)"), "Anybody may empty the vector store."),
)  # fmt: skip
_WORDS = re.compile(
    r"NotebookApp|ServerApp|IdentityProvider|LabApp|JUPYTER_TOKEN|AUTHENTICATION_ANONYMOUS|disable[_-]token|LANGFLOW_|WEBUI_AUTH|ALLOW_RESET|OLLAMA_HOST",
    re.IGNORECASE,
)
_PORTS = {11434, 8265, 8888, 6333, 6334, 19530, 8188, 7860, 10001, 5000, 8000, 30000}
_SURE_PORTS = {11434, 8265, 6333, 6334, 19530, 8188}


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for servers that are open."""
    lines = context.lines(parsed)
    if parsed.source.kind == "text" and not parsed.source.path.endswith(".service"):
        return
    if parsed.module is not None:
        yield from _in_code(parsed, context)
    compose = kubernetes = False
    for root in parsed.document.roots if parsed.document is not None else ():
        if root.get("services") is not None and parsed.source.kind == "yaml":
            compose = True
            yield from _compose(parsed, context, root)
        elif root.get("apiVersion") is not None and root.get("kind") is not None:
            kubernetes = True
            yield from _kubernetes(parsed, context, root)
        elif parsed.source.kind == "hcl":
            yield from _terraform(parsed, context, root)
    for number, text in uncommented(parsed, lines) if _WORDS.search(context.text(parsed)) else ():
        for pattern, says in _OFF:
            if pattern.search(text):
                yield context.finding(CHECK, parsed, number, says)
        if _OLLAMA.search(text) and not compose and not kubernetes and parsed.module is None:
            yield context.finding(CHECK, parsed, number, "Ollama listens on every interface and has no authentication.")
    yield from _anonymous(parsed, context)
    if parsed.source.kind in ("dockerfile", "text", "script", "ini", "env", "manifest") or (
        parsed.source.kind == "yaml" and not compose and not kubernetes
    ):
        yield from _commands(parsed, context, lines)


def _commands(parsed: Parsed, context: Context, lines: list[str]) -> Iterator[Finding]:
    """Commands that start a server, continuation lines joined; the finding stands at the bind address."""
    whole = "\n".join(lines)[:200_000]
    held: list[tuple[int, str]] = []
    for number, text in [*uncommented(parsed, lines), (0, "")]:
        held.append((number, text))
        if text.rstrip().endswith(("\\", ",", "`")) and number and len(held) < 60:
            continue
        joined = " ".join(part.rstrip("\\ `") for _, part in held)
        plain = re.sub(r"[\"',\[\]]+", " ", joined)
        image = (
            by_image(_from(whole))
            if parsed.source.kind == "dockerfile" and joined.startswith(("CMD", "ENTRYPOINT"))
            else None
        )
        server = by_command(plain) or image
        published = _run_port(plain)
        if published is not None and not is_closed(published, plain):
            at = next((n for n, part in held if re.search(r"(?:-p|--publish)[ =]", part)), held[0][0])
            yield context.finding(
                CHECK, parsed, at, f"{published.name} is published on every interface and demands no key."
            )
        if (
            server is not None
            and _ALL.search(plain)
            and not is_closed(server, whole if parsed.source.kind == "dockerfile" else plain)
        ):
            at = next((n for n, part in held if re.search(r"0\.0\.0\.0|::|--bind_all|--listen|\*", part)), held[0][0])
            yield context.finding(CHECK, parsed, at, f"{server.name} listens on every interface and demands no key.")
        held = []


def _run_port(plain: str) -> Server | None:
    """The server that a `docker run` publishes beyond the loopback address."""
    if not re.search(r"\b(?:docker|podman|nerdctl)\s+(?:container\s+)?run\b", plain):
        return None
    open_port = re.search(
        r"(?:-p|--publish)[ =](?!127\.|localhost)(?:0\.0\.0\.0:)?\d+:\d+|-P\b|--net(?:work)?[ =]host", plain
    )
    return next((found for word in plain.split() if (found := by_image(word)) is not None), None) if open_port else None


def _anonymous(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Settings of vector stores and notebooks that let anybody in, as their own files write them."""
    for root in parsed.document.roots if parsed.document is not None else ():
        for path, node in scalars(root):
            tail = [fold(part) for part in path[-2:]]
            off = tail == ["anonymousaccess", "enabled"] and node.text == "true"
            off = off or (tail[-1:] == ["authorizationenabled"] and node.text == "false")
            if off:
                message = f"{'.'.join(path[-2:])} is {node.text}, so anybody is let in."
                yield context.finding(CHECK, parsed, node.line, message)


def _from(text: str) -> str:
    found = re.findall(r"(?im)^\s*FROM\s+(?:--\S+\s+)?(\S+)", text)
    return found[-1] if found else ""


def _compose(parsed: Parsed, context: Context, root: Node) -> Iterator[Finding]:
    services = root.get("services")
    for name, body in services.fields if services is not None and services.kind == "map" else ():
        text = " ".join(node.text if node.kind != "null" else "" for _, node in scalars(body))
        plain = _settings_text(body)
        server = by_image(body.string("image")) or by_command(text)
        if server is None or is_closed(server, plain):
            continue
        for line, port in _published(body):
            yield context.finding(
                CHECK,
                parsed,
                line,
                f"{name.text} ({server.name}) publishes port {port} on every interface and demands no key.",
            )
            break
        if body.string("network_mode") == "host":
            node = body.get("network_mode")
            yield context.finding(
                CHECK,
                parsed,
                node.line if node else body.line,
                f"{name.text} ({server.name}) shares the host's network and demands no key.",
            )


def _settings_text(body: Node) -> str:
    return "\n".join(f"{path[-1]}={node.text}" for path, node in scalars(body) if path)


def _published(body: Node) -> Iterator[tuple[int, str]]:
    """Ports of a Compose service that reach beyond the loopback address: (line, as written)."""
    ports = body.get("ports")
    for item in ports.items if ports is not None else ():
        if item.kind == "map":
            if item.string("host_ip") not in ("127.0.0.1", "localhost", "::1") and item.get("published") is not None:
                yield item.line, item.string("published")
            continue
        text = item.text
        if ":" in text and not text.startswith(("127.", "localhost:", "[::1]", "${BIND", "::1")):
            yield item.line, text


def _kubernetes(parsed: Parsed, context: Context, root: Node) -> Iterator[Finding]:
    kind = root.string("kind")
    if kind == "Service" and root.string("spec", "type") in ("LoadBalancer", "NodePort"):
        if root.get("spec", "loadBalancerSourceRanges") is not None or _is_internal(root):
            return
        node = root.get("spec", "type")
        name = root.string("metadata", "name")
        labels = " ".join(one.text for _, one in scalars(root.get("spec", "selector") or Node("map", 0)))
        ports = {
            int(one.text)
            for path, one in scalars(root.get("spec", "ports") or Node("map", 0))
            if path[-1] in ("port", "targetPort") and one.text.isdigit() and len(one.text) < 6
        }
        if node is not None and (words().search(f"{name} {labels}") or ports & _SURE_PORTS):
            message = f"The service {name} ({node.text}) makes an AI server reachable from outside the cluster."
            yield context.finding(CHECK, parsed, node.line, message, confidence=Confidence.medium)
    elif kind == "Ingress" and words().search(
        " ".join(one.text for path, one in scalars(root) if "service" in path or "serviceName" in path)
    ):
        annotations = " ".join(
            f"{path[-1]}={one.text}" for path, one in scalars(root.get("metadata", "annotations") or Node("map", 0))
        )
        if not re.search(r"auth|oauth|whitelist|allowlist|internal|mtls|client-ca", annotations, re.IGNORECASE):
            message = (
                f"The ingress {root.string('metadata', 'name')} leads to an AI server and demands no authentication."
            )
            yield context.finding(CHECK, parsed, root.line, message, confidence=Confidence.low)


def _is_internal(root: Node) -> bool:
    annotations = root.get("metadata", "annotations")
    return annotations is not None and any(
        "internal" in path[-1].lower() + one.text.lower() for path, one in scalars(annotations)
    )


def _terraform(parsed: Parsed, context: Context, root: Node) -> Iterator[Finding]:
    resources = root.get("resource")
    for kind, named in resources.fields if resources is not None and resources.kind == "map" else ():
        for name, body in named.fields if named.kind == "map" else ():
            yield from _resource(parsed, context, kind.text, name.text, body)


def _resource(parsed: Parsed, context: Context, kind: str, name: str, body: Node) -> Iterator[Finding]:
    if kind in (
        "aws_security_group",
        "aws_security_group_rule",
        "aws_vpc_security_group_ingress_rule",
        "google_compute_firewall",
        "azurerm_network_security_rule",
    ):
        rules = [body, *(value for key, value in body.fields if key.text in ("ingress", "allow"))]
        for rule in rules:
            yield from _firewall(parsed, context, name, body, rule)
    elif kind.startswith(
        (
            "azurerm_cognitive_account",
            "azurerm_ai_services",
            "azurerm_search_service",
            "azurerm_machine_learning_workspace",
        )
    ):
        node = body.get("public_network_access_enabled")
        if (
            node is not None
            and node.text == "true"
            and body.get("network_acls") is None
            and body.get("allowed_ips") is None
        ):
            yield context.finding(
                CHECK, parsed, node.line, f"{name} is reachable from every network.", confidence=Confidence.medium
            )
    elif kind == "aws_sagemaker_notebook_instance" and body.string("direct_internet_access") == "Enabled":
        node = body.get("direct_internet_access")
        yield context.finding(
            CHECK,
            parsed,
            node.line if node else body.line,
            f"The notebook {name} has direct internet access.",
            confidence=Confidence.medium,
            severity=Severity.medium,
        )
    elif (
        kind.startswith("google_cloud_run")
        and kind.endswith(("iam_member", "iam_binding"))
        and words().search(name + body.string("service") + body.string("name"))
    ):
        for _path, node in scalars(body):
            if node.text == "allUsers":
                yield context.finding(
                    CHECK, parsed, node.line, f"Everybody may call {name}.", confidence=Confidence.medium
                )


def _firewall(parsed: Parsed, context: Context, name: str, body: Node, rule: Node) -> Iterator[Finding]:
    if (
        rule.kind != "map"
        or body.string("type") == "egress"
        or body.string("direction").upper() in ("EGRESS", "OUTBOUND")
    ):
        return
    open_at = None
    for key in ("cidr_blocks", "cidr_ipv4", "source_ranges", "source_address_prefix", "ipv6_cidr_blocks"):
        held = rule.get(key) or body.get(key)
        for one in held.items if held is not None and held.kind == "list" else (held,):
            if one is not None and one.text in ("0.0.0.0/0", "::/0", "*", "Internet", "0.0.0.0"):  # noqa: S104
                open_at = one
    numbers = [
        node.text
        for key in ("from_port", "to_port", "ports", "destination_port_range")
        for _, node in scalars(rule.get(key) or Node("null", 0))
    ]
    ports = {int(text) for text in numbers if text.isdigit() and len(text) < 6}
    named = bool(words().search(name + body.string("name") + body.string("description")))
    if open_at is not None and (ports & _SURE_PORTS or (named and ports & _PORTS)):
        server = next((one.name for one in servers() if one.ports & ports), "an AI server")
        yield context.finding(
            CHECK,
            parsed,
            open_at.line,
            f"{name} opens port {min(ports)} ({server}) to every address.",
            confidence=Confidence.medium,
        )


def _in_code(parsed: Parsed, context: Context) -> Iterator[Finding]:
    for seen in context.flow(parsed).calls:
        last = seen.folded.rsplit(".", 1)[-1]
        call = seen.call
        address = argument(call, "server_name") or argument(call, "host") or argument(call, "dashboard_host")
        wide = address is not None and address.text in ("0.0.0.0", "::")  # noqa: S104
        said = ""
        if (
            last == "launch"
            and ("gradio" in seen.folded or "gr." in seen.folded or b"gradio" in parsed.source.data)
            and argument(call, "auth") is None
        ):
            share = argument(call, "share")
            if share is not None and share.text == "true":
                address, said = share, "Gradio publishes this application on the internet without a login."
            elif wide:
                said = "Gradio listens on every interface without a login."
        elif seen.folded in ("ray.init", "ray.serve.start", "serve.start") and wide:
            said = "Ray's dashboard, which runs jobs for any caller, listens on every interface."
        elif (
            wide
            and last in ("run", "fastmcp", "server")
            and ("fastmcp" in seen.folded or "mcp" in fold(call.text).split(".")[0])
            and argument(call, "auth") is None
            and b"auth" not in parsed.source.data.lower()
        ):
            said = "The tool server listens on every interface without authentication."
        else:
            yield from _started(
                parsed,
                context,
                call.line,
                " ".join(value.text for value in seen.args) + _listed(call.parts),
                seen.function.name,
            )
        if said and address is not None:
            yield context.finding(CHECK, parsed, address.line, said, function=seen.function.name)


def _listed(parts: tuple[object, ...]) -> str:
    return " ".join(
        one.text for part in parts for one in getattr(part, "parts", ()) if getattr(one, "kind", "") == "text"
    )


def _started(parsed: Parsed, context: Context, line: int, text: str, function: str) -> Iterator[Finding]:
    server: Server | None = by_command(text) if _ALL.search(text) else None
    if server is not None and not is_closed(server, text):
        yield context.finding(
            CHECK, parsed, line, f"{server.name} listens on every interface and demands no key.", function=function
        )
