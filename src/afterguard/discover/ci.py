"""AI in CI: GitHub Actions, GitLab CI, Azure Pipelines, CircleCI, Bitbucket, and Jenkinsfiles by their words.

In: Parsed. Out: Assets: agents and frameworks that run in the pipeline, the models they are given, the secrets they use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from afterguard.catalog import load
from afterguard.code.document import Node, walk
from afterguard.code.parse import Parsed
from afterguard.discover import images, model_names, settings, signals
from afterguard.discover.settings import Setting
from afterguard.discover.sheet import Sheet, first_line, words
from afterguard.model import Asset, AssetKind, Certainty, Edge

_SECRET = re.compile(r"secrets\.([A-Za-z_]\w{1,100})|secrets\[['\"]([A-Za-z_]\w{1,100})['\"]\]")
_CREDENTIAL = re.compile(r"credentials\(\s*['\"]([\w./-]{2,100})['\"]|credentialsId\s*:\s*['\"]([\w./-]{2,100})['\"]")
_ASSIGNED = re.compile(r"\b([A-Z][A-Z0-9_]{3,80})\s*=\s*['\"]?([^\s'\";,)]{1,200})")
_SCRIPT_KEYS = {
    "run",
    "script",
    "before_script",
    "after_script",
    "command",
    "bash",
    "pwsh",
    "powershell",
    "sh",
    "steps",
    "commands",
}
_CI_PATH = re.compile(
    r"(?i)(^|/)(\.github/(workflows|actions)/|\.gitlab-ci|\.gitlab/|\.circleci/|azure-pipelines|bitbucket-pipelines|\.drone|\.woodpecker"
    r"|cloudbuild|buildspec|\.buildkite/|\.travis|jenkinsfile|\.tekton/|\.argo/|action\.ya?ml$)"
)


def find(parsed: Parsed) -> Iterator[Asset]:
    """Assets of a pipeline file; nothing for other files."""
    path = parsed.source.path
    sheet = Sheet(path, "infrastructure")
    name = path.rsplit("/", 1)[-1].lower()
    if name.startswith("jenkinsfile") or name.endswith(".jenkinsfile"):
        _jenkins(sheet, parsed.source.data)
    elif parsed.document is not None and parsed.document.format == "yaml" and _CI_PATH.search(path):
        for root in parsed.document.roots:
            _pipeline(sheet, root)
    yield from sheet.assets


def _pipeline(sheet: Sheet, root: Node) -> None:
    for path, node in walk(root):
        if node.kind == "map":
            _variables(sheet, node)
            uses = node.get("uses")
            if uses is not None and uses.kind == "text":
                _action(sheet, node, uses)
            _image(sheet, node)
        key = next((p for p in reversed(path) if not p.isdigit()), "")
        if node.kind == "text" and key in _SCRIPT_KEYS:
            script(sheet, node)


def _variables(sheet: Sheet, node: Node) -> None:
    for key in ("env", "variables", "environment", "secrets"):
        holder = node.get(key)
        if holder is None or holder.kind != "map":
            continue
        group = []
        for name, value in holder.fields:
            held = value if value.kind != "map" else value.get("value")
            if held is None or held.kind in ("map", "list"):
                continue
            found = _SECRET.search(held.text)
            group.append(
                Setting(name.text, held.text, name.line, not held.resolved, (found[1] or found[2]) if found else "")
            )
        settings.read(sheet, group)


def _action(sheet: Sheet, step: Node, uses: Node) -> None:
    """A step that uses a published action: known ones by name, others by an AI key among their inputs."""
    plain, _, version = uses.text.partition("@")
    row = next((r for r in load("signals/actions")["actions"] if _is(plain.lower(), r["match"])), None)
    inputs = step.get("with")
    edges: list[Edge] = []
    for key, value in inputs.fields if inputs is not None and inputs.kind == "map" else ():
        if value.kind in ("map", "list"):
            continue
        edges.extend(_input(sheet, key, value, row is not None))
    if row is None:
        return
    kind = AssetKind(row["kind"])
    if row["provider"]:
        held = tuple(e for e in edges if e.kind is AssetKind.secret_reference)
        provider = settings.vendor_kind(row["provider"])
        edges.append(sheet.add(provider, row["provider"], uses.line, f"uses: {uses.text}", Certainty.inferred, held))
    joined = tuple(dict.fromkeys(edges))
    sheet.add(
        kind, row["name"], uses.line, f"uses: {uses.text}", Certainty.declared, joined, version=version, command=plain
    )


def _is(plain: str, match: str) -> bool:
    return plain.startswith(match) if match.endswith("/") else plain == match or plain.startswith(match + "/")


def _input(sheet: Sheet, key: Node, value: Node, is_ai: bool) -> list[Edge]:
    edges: list[Edge] = []
    name = key.text.lower()
    secret = _SECRET.search(value.text)
    signal = signals.variable(key.text)
    if secret and (
        is_ai or (signal is not None and signal.kind == "secret") or signals.variable(secret[1] or secret[2])
    ):
        word = secret[1] or secret[2]
        known = signals.variable(word) or signal
        if known is not None or settings.is_secret_name(name):
            provider = known.provider if known is not None else ""
            edge = sheet.add(AssetKind.secret_reference, word, value.line, f"secrets.{word}", provider=provider)
            edges.append(Edge("authenticates_with", edge.kind, edge.name))
    elif name in load("signals/actions")["model_inputs"] and (is_ai or signals.model(value.text) is not None):
        edges.extend(settings.model(sheet, value.text, value.line, key.text, certain=True))
    elif (
        is_ai
        and name in ("prompt", "direct_prompt", "system-prompt", "system_prompt", "custom_instructions")
        and len(value.text) > 20
    ):
        edges.append(
            sheet.add(AssetKind.prompt, f"{sheet.path}:{value.line}", value.line, f"{key.text} of a pipeline step")
        )
    elif is_ai and name in ("claude_args", "codex-args", "args", "additional_args"):
        for model, embedding, line, _ in images.models(words(value), True):
            edges.extend(settings.model(sheet, model, line, key.text, "", embedding, certain=True))
    return edges


def _image(sheet: Sheet, node: Node) -> None:
    for key in ("image", "container"):
        image = node.get(key)
        value = image.get("name") or image.get("image") if image is not None and image.kind == "map" else image
        if value is not None and value.kind == "text" and images.product(value.text) is not None:
            images.settle(sheet, images.read(sheet, value.text, value.line, [], value.resolved))
    services = node.get("services")
    for item in services.items if services is not None and services.kind == "list" else ():
        value = item.get("name") if item.kind == "map" else item
        if value is not None and value.kind == "text" and images.product(value.text) is not None:
            images.settle(sheet, images.read(sheet, value.text, value.line, [], value.resolved))


def script(sheet: Sheet, node: Node) -> None:
    """The lines of a shell script: agents that are run, servers started, AI addresses called, keys set."""
    base = first_line(node)
    for number, line in enumerate(node.text.split("\n")[:3000]):
        if not line.strip() or line.lstrip().startswith("#") or len(line) > 5000:
            continue
        at = base + number
        command = words(Node("text", at, line))
        _tools(sheet, [word for word, _ in command], at)
        seen = images.read(sheet, _started(command), at, command)
        images.settle(sheet, seen)
        settings.addresses(sheet, line, at)
        settings.read(sheet, (Setting(m[1], m[2], at, "$" in m[2]) for m in _ASSIGNED.finditer(line)))


def _started(command: list[tuple[str, int]]) -> str:
    """The AI image that a line starts or pulls with Docker or Podman."""
    plain = [word for word, _ in command[:100]]
    if not any(a in ("docker", "podman", "nerdctl") and b in ("run", "pull", "create") for a, b in pairwise(plain)):
        return ""
    return next((word for word in plain if "/" in word and images.product(word) is not None), "")


def _tools(sheet: Sheet, line: list[str], at: int) -> None:
    for row in load("signals/actions")["tools"]:
        for number, word in enumerate(line):
            if word.rsplit("/", 1)[-1] != row["match"] and not word.startswith(f"@anthropic-ai/{row['match']}"):
                continue
            rest = line[number + 1 : number + 30]
            if not rest or not (rest[0].startswith("-") or rest[0] in row["with"]):
                continue
            if not any(one.lower().partition("=")[0] in row["with"] for one in rest):
                continue
            edges: list[Edge] = []
            for flag, value in pairwise(rest):
                if flag in ("--model", "-m") and model_names.is_id(value):
                    edges.extend(settings.model(sheet, value, at, flag, certain=True))
            if row["provider"]:
                kind = settings.vendor_kind(row["provider"])
                edges.append(sheet.add(kind, row["provider"], at, word, Certainty.inferred))
            sheet.add(
                AssetKind.agent, row["name"], at, " ".join(line[number : number + 6]), edges=tuple(edges), command=word
            )
            break


def _jenkins(sheet: Sheet, data: bytes) -> None:
    text = data[: 1 << 20].decode("utf-8", "replace")
    for number, line in enumerate(text.split("\n")[:20_000], 1):
        if line.lstrip().startswith(("//", "*", "#")) or len(line) > 5000:
            continue
        named = re.match(r"\s*([A-Z][A-Z0-9_]{3,80})\s*=", line)
        for found in _CREDENTIAL.finditer(line):
            word = named[1] if named else re.sub(r"[^A-Za-z0-9]+", "_", found[1] or found[2]).upper()
            settings.read(sheet, [Setting(word, "", number, True, found[1] or found[2])])
        script(sheet, Node("text", number, line))
