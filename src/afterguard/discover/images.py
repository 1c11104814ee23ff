"""Which AI product an image or a command line stands for, and which model it is told to load.

In: an image reference, or the words of a command. Out: a Product and the models named, or None. By the tail of the path:
`registry.example/mirror/ollama/ollama:0.5` is Ollama.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any, NamedTuple

from afterguard.catalog import load
from afterguard.discover import model_names
from afterguard.discover.sheet import Sheet
from afterguard.model import AssetKind, Certainty, Edge

Words = list[tuple[str, int]]


class Product(NamedTuple):
    """An AI product that runs as a process. `model` is the model its image carries, where the path says so."""

    name: str
    kind: AssetKind
    tag: str = ""
    model: str = ""


class Seen(NamedTuple):
    """What one container or process showed: the products with their place, and the edges to the models it loads."""

    products: tuple[tuple[Product, int, str, bool], ...] = ()
    """(product, line, text matched, from a command rather than an image)"""
    models: tuple[Edge, ...] = ()


@lru_cache(maxsize=8192)
def product(image: str) -> Product | None:
    """The product of an image reference, by the tail of its path; None for any other image."""
    path, tag = _parts(image)
    if not path:
        return None
    for pattern, row in _images():
        tail = path[-len(pattern) :]
        if len(tail) == len(pattern) and all(p.fullmatch(s) for p, s in zip(pattern, tail)):
            if "only" in row and "/".join(path[-2:]) != row["only"]:
                continue
            name = path[-1] if row["product"] == "mcp" else row["product"]
            return Product(name, AssetKind(row["kind"]), tag, "/".join(path[-2:]) if row.get("model") else "")
    return None


def _parts(image: str) -> tuple[list[str], str]:
    """(path segments in lower case without the registry, tag or digest)."""
    plain, _, digest = image.strip().lower().removeprefix("docker://").partition("@")
    head, _, last = plain.rpartition("/")
    last, _, tag = last.partition(":")
    path = [segment for segment in f"{head}/{last}".split("/") if segment]
    if len(path) > 1 and ("." in path[0] or ":" in path[0] or path[0] == "localhost"):
        path = path[1:]
    return path, tag or digest


@cache
def _images() -> list[tuple[list[re.Pattern[str]], dict[str, Any]]]:
    out = []
    for row in load("signals/images")["images"]:
        pattern = [re.compile(re.escape(s).replace(r"\*", "[^/]*")) for s in row["match"].split("/")]
        out.append((pattern, row))
    return sorted(out, key=lambda one: (-len(one[0]), one[1]["match"].count("*")))


@cache
def _commands() -> list[tuple[list[re.Pattern[str]], dict[str, Any]]]:
    rows = load("signals/images")["commands"]
    return [([re.compile(re.escape(w).replace(r"\*", r"[\w.]*")) for w in row["words"].split()], row) for row in rows]


@cache
def product_kinds() -> dict[str, AssetKind]:
    """Kind of every product the catalog knows by image or command."""
    data = load("signals/images")
    return {
        row["product"]: AssetKind(row["kind"])
        for row in (*data["commands"], *data["images"])
        if row["product"] != "mcp"
    }


def command(words: Words) -> list[tuple[Product, int, str]]:
    """Products a command line starts, with the line and the words that said so."""
    plain = [word.rsplit("/", 1)[-1].lower() for word, _ in words[:2000]]
    out: list[tuple[Product, int, str]] = []
    for pattern, row in _commands():
        size = len(pattern)
        for at in range(len(plain) - size + 1):
            if not all(p.fullmatch(plain[at + i]) for i, p in enumerate(pattern)):
                continue
            if at and plain[at - 1] in (
                "install",
                "add",
                "-r",
                "which",
                "import",
                "download",
                "upgrade",
                "-u",
                "as",
                "from",
            ):
                continue
            if row.get("flags") and not any(word.startswith("--") for word in plain[at + 1 : at + 3]):
                continue
            if "next" in row and not any(row["next"] in word for word in plain[at + size : at + size + 1]):
                continue
            named = words[at + size][0] if row.get("model") and at + size < len(words) else ""
            named = named if named and not named.startswith("-") and model_names.is_id(named) else ""
            matched = " ".join(word for word, _ in words[at : at + size + bool(named)])
            out.append((Product(row["product"], AssetKind(row["kind"]), model=named), words[at][1], matched))
            break
    return out


def models(words: Words, is_server: bool) -> list[tuple[str, bool, int, str]]:
    """(model, is embedding, line, matched) of the flags that name a model; `-m` counts for a known server only."""
    data = load("signals/images")
    out: list[tuple[str, bool, int, str]] = []
    for at, (word, line) in enumerate(words[:2000]):
        flag, _, value = word.partition("=")
        flag = flag.lower().replace("_", "-")
        embedding = flag in data["embedding_flags"]
        runs_module = at > 0 and words[at - 1][0].rsplit("/", 1)[-1].startswith(("python", "pypy", "uv"))
        short = flag in data["short_model_flags"] and is_server and not runs_module
        if not (embedding or short or flag in data["model_flags"]):
            continue
        if not value and at + 1 < len(words) and not words[at + 1][0].startswith("-"):
            value = words[at + 1][0]
        value = value.strip("\"'")
        alias = flag == "--served-model-name" and not model_names.is_resolved(value)
        if value and not alias and model_names.is_id(value) and not value.endswith((".py", ".yaml", ".yml", ".json")):
            out.append((value, embedding or model_names.is_embedding(value), line, f"{flag} {value}"))
    return out


def read(sheet: Sheet, image: str, image_line: int, words: Words, resolved: bool = True) -> Seen:
    """Products of a container's image and command written down later by `settle`; its models are written down here."""
    found: list[tuple[Product, int, str, bool]] = []
    by_image = product(image) if image and (resolved or "/" in image) else None
    if by_image is not None:
        found.append((by_image, image_line, f"image: {image}", False))
    found.extend((one, line, matched, True) for one, line, matched in command(words))
    named = [
        (one.model, model_names.is_embedding(one.model), line, matched) for one, line, matched, _ in found if one.model
    ]
    is_server = any(one.kind is AssetKind.inference_server for one, *_ in found)
    if found or _two_flags(words):
        named.extend(models(words, is_server))
    edges = []
    for name, embedding, line, matched in dict.fromkeys(named):
        if name.startswith(("/", "./", "~", "../")):
            if model_names.is_model_path(name):
                edge = sheet.add(AssetKind.model_artifact, name, line, matched)
                edges.append(Edge("serves", edge.kind, edge.name))
            continue
        kind = AssetKind.embedding_model if embedding else AssetKind.model
        known = model_names.is_resolved(name)
        certainty = Certainty.declared if known else Certainty.unresolved
        edge = sheet.add(kind, name if known else f"unresolved:{name}", line, matched, certainty)
        edges.append(Edge("serves", edge.kind, edge.name))
    return Seen(tuple(found), tuple(edges))


def _two_flags(words: Words) -> bool:
    """Whether an unknown program is told a model and how to serve it: two markers for a server we do not know."""
    flags = {word.partition("=")[0].lower().replace("_", "-") for word, _ in words}
    serving = {"--trust-remote-code", "--max-model-len", "--tensor-parallel-size", "--gpu-memory-utilization", "--quantization",
               "--served-model-name", "--enable-lora", "--tool-call-parser", "--max-num-seqs", "--dtype", "--n-gpu-layers"}  # fmt: skip
    return bool(flags & {"--model", "--model-id", "--model-path", "--model-repository"}) and bool(flags & serving)


def settle(sheet: Sheet, seen: Seen, edges: tuple[Edge, ...] = (), second: bool = False, **facts: str) -> list[Edge]:
    """Write the products down. An image alone is inferred; with a command, a port or a setting (`second`) declared."""
    out = []
    by_command = any(from_command for *_, from_command in seen.products)
    for one, line, matched, _ in dict.fromkeys(seen.products):
        server = one.kind is AssetKind.inference_server
        certainty = (
            Certainty.declared if by_command or second or one.kind is AssetKind.mcp_server else Certainty.inferred
        )
        image = matched.removeprefix("image: ") if matched.startswith("image: ") else ""
        joined = (*edges, *(seen.models if server else ()))
        out.append(
            sheet.add(one.kind, one.name, line, matched, certainty, joined, image=image, version=one.tag, **facts)
        )
    return out
