"""Tool servers and agent packages started straight from a registry or branch, whatever stands there today.

In: agent and MCP configuration, code that starts tool servers, requirement files, scripts. Out: a finding at the package. A package with
an exact version, a digest or a full commit is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import Node, walk
from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, argument
from afterguard.code.syntax import walk as inside
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, CONFIG, Check, Context
from afterguard.scan.source_text import uncommented

CHECK = Check(
    id="unpinned-mcp-server",
    title="A tool server is not pinned to a version",
    severity=Severity.medium,
    taxonomies=("LLM03:2025", "LLM04:2026", "ASI04:2026", "AML.T0010.005", "AML.T0109", "CWE-494", "CWE-1357"),
    why="Each start fetches the newest release; one taken-over publisher account and the agent runs the attacker's tools.",
    fix="Name an exact version (package@1.2.3, package==1.2.3, image@sha256:...) and update it on purpose, after reading what changed.",
    kinds=(*CODE, *CONFIG, "script", "manifest"),
)
_RUNNERS = {
    "npx": "npm",
    "bunx": "npm",
    "pnpx": "npm",
    "pnpm": "npm",
    "yarn": "npm",
    "npm": "npm",
    "bun": "npm",
    "uvx": "python",
    "pipx": "python",
    "uv": "python",
    "docker": "docker",
    "podman": "docker",
    "deno": "npm",
}
_SKIP = {
    "-y",
    "--yes",
    "dlx",
    "exec",
    "run",
    "tool",
    "x",
    "--quiet",
    "-q",
    "--",
    "-i",
    "--rm",
    "-it",
    "-t",
    "--isolated",
    "--no-cache",
    "--silent",
    "--refresh",
    "--prefer-offline",
    "--no-sandbox",
    "--init",
    "--no-install",
}
_VALUED = {
    "-e",
    "--env",
    "-v",
    "--volume",
    "--mount",
    "--network",
    "--name",
    "-p",
    "--python",
    "--with",
    "-w",
    "--env-file",
    "--directory",
    "--project",
    "--user",
    "--entrypoint",
    "--platform",
    "--add-host",
    "--index-url",
    "--default-index",
    "--index",
    "--registry",
}
_PACKAGE = re.compile(r"^(?:npm:)?(?:@[\w.-]+/)?[A-Za-z][\w.-]*(?:\[[\w,-]+\])?(?:@[\w.^~*-]+|==[\w.*-]+)?$")
_EXACT = re.compile(r"(?:@|==)v?\d+(?:\.\d+)*[\w.+-]*$")
_GIT = re.compile(r"git\+(?:https?|ssh)://[^\s\"'#;]+")
_AGENT = re.compile(
    r"mcp|agent|langchain|langgraph|llama|llm|openai|anthropic|transformers|diffusers|vllm|autogen|crewai|peft|trl|accelerate|gpt|rag|smolagents|haystack|unsloth",
    re.IGNORECASE,
)
_HOLDERS = {
    "mcpServers",
    "servers",
    "mcp",
    "context_servers",
    "mcp_servers",
    "mcp-servers",
    "extensions",
    "mcp.servers",
    "amp.mcpServers",
    "tools",
}


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for packages without a version."""
    if parsed.module is not None:
        yield from _in_code(parsed, context)
    elif parsed.document is not None:
        for root in parsed.document.roots:
            for path, node in walk(root):
                if node.kind == "map" and any(part in _HOLDERS or "mcp" in part.lower() for part in path):
                    yield from _entry(parsed, context, node)
    if parsed.source.kind in ("manifest", "script", "dockerfile", "text"):
        yield from _git(parsed, context)


def _entry(parsed: Parsed, context: Context, node: Node) -> Iterator[Finding]:
    command = node.get("command") or node.get("cmd")
    arguments = node.get("args")
    if command is None:
        return
    if command.kind == "list":
        words = [(item.text, item.line) for item in command.items]
    else:
        words = [(part, command.line) for part in command.text.split()[:40]]
    words += [(item.text, item.line) for item in (arguments.items if arguments is not None else ())]
    found = unpinned(words)
    if found:
        yield context.finding(
            CHECK, parsed, found[1], f"{found[0][:80]} is started without an exact version.", confidence=Confidence.high
        )


def unpinned(words: list[tuple[str, int]]) -> tuple[str, int] | None:
    """The package (word, line) that a command line starts without an exact version, None when there is none."""
    if not words:
        return None
    program = words[0][0].replace("\\", "/").rsplit("/", 1)[-1].lower().removesuffix(".cmd").removesuffix(".exe")
    if program in ("cmd", "sh", "bash", "env") and len(words) > 1:
        rest = [word for word in words[1:] if word[0] not in ("/c", "-c", "/C")]
        return unpinned([(part, line) for text, line in rest for part in text.split()[:40]] if rest else [])
    kind = _RUNNERS.get(program)
    if kind is None:
        return None
    if program in ("npm", "yarn", "pnpm", "bun") and not any(word in ("exec", "dlx", "x") for word, _ in words[1:3]):
        return None
    if program == "uv" and [word for word, _ in words[1:3]] != ["tool", "run"]:
        return None
    return _first_package(kind, words[1:])


def _first_package(kind: str, words: list[tuple[str, int]]) -> tuple[str, int] | None:
    skip = False
    for position, (word, line) in enumerate(words):
        if skip:
            skip = False
            continue
        if word in ("--from", "-p", "--package") and kind != "docker" and position + 1 < len(words):
            return _moving(kind, *words[position + 1])
        if word.startswith(("--package=", "--from=")):
            return _moving(kind, word.partition("=")[2], line)
        if word in _VALUED:
            skip = True
        elif word in _SKIP or word.startswith("-"):
            continue
        else:
            return _moving(kind, word, line)
    return None


def _moving(kind: str, word: str, line: int) -> tuple[str, int] | None:
    if word.startswith(("git+", "github:", "https://github.com")):
        return None if re.search(r"[@#][0-9a-f]{7,40}(?:[#&].*)?$|[@#]v?\d+\.\d+", word) else (word, line)
    if kind == "docker":
        tag = word.rsplit("/", 1)[-1].partition(":")[2]
        return (word, line) if "@sha256:" not in word and tag in ("", "latest") and "/" in word else None
    if (
        word.startswith((".", "/", "~", "$", "http"))
        or word.endswith((".js", ".py", ".ts", ".tgz", ".whl"))
        or not _PACKAGE.match(word)
    ):
        return None
    return None if _EXACT.search(word) else (word, line)


def _in_code(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """StdioServerParameters(command="npx", args=[...]) and maps of the same shape."""
    flow = context.flow(parsed)
    for seen in flow.calls:
        yield from _pair(
            parsed, context, argument(seen.call, "command"), argument(seen.call, "args"), seen.function.name
        )
    for held in flow.maps:
        pairs = dict(held.expr.fields)
        yield from _pair(parsed, context, pairs.get("command"), pairs.get("args"), held.function.name)


def _pair(
    parsed: Parsed, context: Context, command: Expr | None, given: Expr | None, function: str
) -> Iterator[Finding]:
    if command is None or command.kind != "text":
        return
    words = [(part, command.line) for part in command.text.split()[:40]]
    words += [(one.text, one.line) for one in inside(given) if one.kind == "text"]
    found = unpinned(words)
    if found:
        yield context.finding(
            CHECK,
            parsed,
            found[1],
            f"{found[0][:80]} is started without an exact version.",
            confidence=Confidence.high,
            function=function,
        )


def _git(parsed: Parsed, context: Context) -> Iterator[Finding]:
    if parsed.source.kind == "text" or b"git+" not in parsed.source.data:
        return
    for number, text in uncommented(parsed, context.lines(parsed)):
        for found in _GIT.finditer(text):
            address = found.group(0)
            if _AGENT.search(address) and not re.search(
                r"@(?:[0-9a-f]{7,40}|v?\d[\w.]*)(?:$|[?&])", address.rstrip(")],")
            ):
                message = f"{address[:80]} is installed from whatever its branch holds."
                yield context.finding(CHECK, parsed, number, message, confidence=Confidence.medium)
