"""Models and model images fetched by a name that can change: no revision, a branch, no tag or the tag latest.

In: code, Compose, Kubernetes, Dockerfiles, scripts. Out: a finding at the call or image. Local paths, full commits, version tags and
digests are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import walk
from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, argument
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.flow import Seen
from afterguard.scan.recognise import Tails
from afterguard.scan.servers import by_image
from afterguard.scan.source_text import uncommented

CHECK = Check(
    id="unpinned-model",
    title="A model or its server is not pinned to a version",
    severity=Severity.medium,
    taxonomies=("LLM03:2025", "LLM04:2026", "ASI04:2026", "AML.T0010.003", "AML.T0109", "CWE-494", "CWE-1357"),
    why="What runs tomorrow is whatever the name points to then; a changed or taken-over repository goes live without review.",
    fix="Pin a full commit (revision=...), an image digest or at least an exact version, and verify a hash on load.",
    kinds=(*CODE, "yaml", "json", "dockerfile", "script", "toml"),
)
_LOADERS = Tails(
    [
        "frompretrained", "snapshotdownload", "hfhubdownload", "sentencetransformer", "crossencoder", "transformers.pipeline",
        "torch.hub.load", "huggingfaceembeddings", "huggingfacepipeline.frommodelid", "loaddataset", "vllm.llm", "autotokenizer",
        "automodel.frompretrained", "fastlanguagemodel.frompretrained", "whisper.loadmodel.fromhub", "ctransformers.automodel",
        "frommodelid", "singlefile", "fromsinglefile",
    ]
)  # fmt: skip
_REPOSITORY = re.compile(r"^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$")
_COMMIT = re.compile(r"^[0-9a-f]{7,64}$")
_BRANCHES = {"main", "master", "latest", "head", "refs/heads/main", "dev"}
_SERVED = re.compile(r"(?:vllm serve\s+|--model(?:-id|-path)?[=\s]+)([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?=\s|$)")
_OTHER_IMAGES = re.compile(
    r"(?:^|/)(?:huggingface/|pytorch/pytorch|tensorflow/tensorflow|nvcr\.io/nim/|open-webui|langfuse/langfuse|langgenius/dify|n8nio/n8n|deepset/haystack|kserve/|seldonio/|mcp/)"
)
_LOCAL = re.compile(
    r"^(?:\.{0,2}/|~|/|models?/|checkpoints?/|outputs?/|results?/|saved|weights/|data/|artifacts?/|local|\./)|\.(?:bin|pt|pth|gguf|safetensors|json|csv|jsonl|onnx|parquet)$"
)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for names that can change."""
    if parsed.module is not None:
        for seen in context.flow(parsed).calls:
            yield from _loaded(parsed, context, seen)
        return
    if parsed.document is not None:
        yield from _images(parsed, context)
    if parsed.source.kind in ("dockerfile", "script", "yaml"):
        for number, text in uncommented(parsed, context.lines(parsed)):
            plain = re.sub(r"[\"',\[\]]+", " ", text)
            found = _SERVED.search(plain)
            if (
                found
                and "--revision" not in plain
                and "--revision" not in _around(context.lines(parsed), number)
                and not _LOCAL.search(found.group(1))
            ) and re.search(
                r"vllm|text-generation|sglang|lmdeploy|text-embeddings|launch_server",
                _around(context.lines(parsed), number),
            ):
                message = f"{found.group(1)} is served at whatever its repository holds today."
                yield context.finding(
                    CHECK, parsed, number, message, confidence=Confidence.medium, severity=Severity.low
                )


def _around(lines: list[str], number: int) -> str:
    return " ".join(lines[max(0, number - 12) : number + 12])[:6000]


def _loaded(parsed: Parsed, context: Context, seen: Seen) -> Iterator[Finding]:
    found = _LOADERS.match(seen.folded)
    if not found and not (seen.folded.endswith(".pipeline") or seen.folded == "pipeline"):
        return
    if not found and "transformers" not in seen.name:
        return
    name = _model_name(seen)
    if not name or _LOCAL.search(name) or not (_REPOSITORY.match(name) or found == "torch.hub.load"):
        return
    revision = argument(seen.call, "revision") or argument(seen.call, "code_revision")
    if any(key == "*" for key, _ in seen.call.fields) and revision is None:
        return
    local = argument(seen.call, "local_files_only")
    if local is not None and local.text == "true":
        return
    if found == "torch.hub.load":
        if ":" in name and name.rsplit(":", 1)[-1].lower() not in _BRANCHES:
            return
    elif revision is not None and _is_fixed(revision):
        return
    message = f"{name} is fetched without a fixed revision."
    yield context.finding(
        CHECK, parsed, seen.call.line, message, confidence=Confidence.medium, function=seen.function.name
    )


def _is_fixed(revision: Expr) -> bool:
    if revision.kind == "text":
        return revision.text.lower() not in _BRANCHES and revision.text != ""
    return revision.kind != "none"


def _model_name(seen: Seen) -> str:
    for key in (
        "model_id",
        "model_name",
        "model",
        "repo_id",
        "pretrained_model_name_or_path",
        "model_name_or_path",
        "path",
        "repo_or_dir",
    ):
        held = seen.key(key)
        if held.text:
            return held.text
    texts = [value.text for value in seen.args[:2] if value.text]
    return next((text for text in texts if "/" in text), "")


def _images(parsed: Parsed, context: Context) -> Iterator[Finding]:
    assert parsed.document is not None
    for root in parsed.document.roots:
        for path, node in walk(root):
            if not path or path[-1] not in ("image", "Image") or node.kind != "text" or not node.text:
                continue
            if _is_moving(node.text) and node.resolved and (by_image(node.text) or _OTHER_IMAGES.search(node.text)):
                yield context.finding(
                    CHECK,
                    parsed,
                    node.line,
                    f"The image {node.text[:80]} has no fixed version.",
                    confidence=Confidence.high,
                )


def _is_moving(image: str) -> bool:
    if "@sha256:" in image or "$" in image:
        return False
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    return tag in ("", "latest", "main", "master", "nightly", "edge", "dev", "stable")
