"""Manifests and lock files of every ecosystem -> Packages with their version and line; nothing is resolved or fetched.

In: Parsed (or a Source). Out: Packages in file order, and the problems met. `version` is set when exactly one version is meant,
`specifier` is what was written. XML is read by a tokenizer: no DTD, no entities. setup.py is read by its syntax tree only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from afterguard.code.document import Node
from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, argument, calls, walk

MAX_PACKAGES = 50_000
MAX_LINE = 2_000


class Package(msgspec.Struct, frozen=True):
    """One dependency as written. `ecosystem` is one of pypi npm maven go cargo gem nuget packagist.

    `lock` says that it comes from a lock file; `source` is a git, path or URL reference where it has one.
    """

    ecosystem: str
    name: str
    version: str
    specifier: str
    line: int
    lock: bool = False
    source: str = ""

    @property
    def is_pinned(self) -> bool:
        """Whether exactly one version can be installed."""
        return bool(self.version)


def packages(parsed: Parsed) -> Iterator[Package]:
    """Dependencies of a manifest or lock file, at most MAX_PACKAGES; nothing for any other file."""
    reader = reader_of(parsed.source.path)
    if reader is None:
        return
    count = 0
    for one in reader(parsed):
        if one.name and len(one.name) <= 214:
            yield one
            count += 1
        if count >= MAX_PACKAGES:
            return


def reader_of(path: str) -> Callable[[Parsed], Iterator[Package]] | None:
    """The reader for a file by its name, None when it is no manifest."""
    from afterguard.code import manifest_formats as formats

    full = "/" + path.replace("!/", "/").lower()
    name = full.rsplit("/", 1)[-1]
    if name in formats.BY_NAME:
        return formats.BY_NAME[name]
    if re.search(r"(requirements|constraints)[^/]*\.(txt|in|pip)$", name) or re.search(
        r"/requirements/[^/]+\.(txt|in)$", full
    ):
        return formats.requirements
    if re.fullmatch(r"(environment|conda)[\w.-]*\.ya?ml", name):
        return formats.conda
    if name.endswith((".csproj", ".fsproj", ".vbproj")) or name == "directory.packages.props":
        return formats.csproj
    if name.endswith((".gradle", ".gradle.kts")):
        return formats.gradle
    return formats.versions_toml if name.endswith(".versions.toml") else None


def exact(specifier: str) -> str:
    """The one version a specifier means, "" for a range: "==1.2", "1.2" in a lock, "=1.2"."""
    text = specifier.strip().strip("\"'")
    found = re.fullmatch(r"(?:===?|=)?\s*v?(\d[\w.!+-]*)", text)
    return found.group(1) if found and "*" not in text else ""


def requirement(text: str, line: int) -> Package | None:
    """A PEP 508 requirement, an editable or a URL one; None for options and comments."""
    text = re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip().rstrip("\\").strip()
    text = re.split(r"\s--hash", text, maxsplit=1)[0].strip()
    if text.startswith(("-e ", "--editable ")):
        text = text.partition(" ")[2].strip()
    elif text.startswith("-"):
        return None
    egg = re.search(r"[#&]egg=([A-Za-z0-9][\w.-]*)", text)
    if re.match(r"(git\+|hg\+|https?://|file:)", text):
        name = (
            egg.group(1)
            if egg
            else re.sub(r"(\.git)?([@#].*)?$", "", text).rsplit("/", 1)[-1].removesuffix(".whl").split("-")[0]
        )
        return Package("pypi", name.lower(), "", text[:200], line, source=text[:200])
    found = re.match(r"([A-Za-z0-9][\w.-]*)\s*(\[[^\]]*\])?\s*(@\s*\S+|\(?[^;]*)", text[:MAX_LINE])
    if not found or (found.group(3) or "")[:1] in ("/", "\\"):
        return None
    name, rest = re.sub(r"[-_.]+", "-", found.group(1)).lower(), (found.group(3) or "").strip().strip("()").strip()
    if rest.startswith("@"):
        return Package("pypi", name, "", rest[:200], line, source=rest[1:].strip()[:200])
    if rest and not re.match(r"[<>=!~^]", rest):
        return None
    return Package("pypi", name, exact(rest) if rest.startswith("=") else "", rest[:200], line)


def scalar(node: Node | None) -> str:
    """Text of a scalar node."""
    return node.text if node is not None and node.kind not in ("map", "list") else ""


def setup_py(parsed: Parsed) -> Iterator[Package]:
    """Requirements named in a call of setup()."""
    if parsed.module is None:
        return
    for _, call in calls(parsed.module):
        if not call.text.endswith("setup"):
            continue
        for name in ("install_requires", "extras_require", "tests_require", "setup_requires"):
            held = argument(call, name)
            yield from _texts(parsed, held)


def _texts(parsed: Parsed, held: Expr | None) -> Iterator[Package]:
    values = [held] if held is not None else []
    if held is not None and held.kind == "name" and parsed.module is not None:
        top = parsed.module.functions[0]
        values = [s.value for s in top.body if held.text in s.targets and s.value is not None]
    for value in values:
        for one in walk(value):
            found = requirement(one.text, one.line) if one.kind == "text" else None
            if found is not None:
                yield found
