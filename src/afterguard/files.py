"""Walking trees and archives and reading streams, with caps; every refusal becomes a Coverage row.

In: paths the user named. Out: `Source` objects for whole files, `Line` objects for logs of any size. It opens regular files
only, follows no link out of the tree it was given and never extracts an archive to disk.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import msgspec
import zstandard

from afterguard.config import LimitsConfig
from afterguard.errors import UsageError
from afterguard.model import Coverage, Source

Note = Callable[[Coverage], None]
SECRET = 16 << 10
"""Bytes of a secret."""


class Limits(msgspec.Struct, frozen=True):
    """Caps on what is read. All sizes in bytes."""

    source_bytes: int = 4 << 20
    """A source or configuration file above this is read only as far as the cap."""
    archive_members: int = 20_000
    archive_bytes: int = 1 << 30
    """Sum of the unpacked bytes of one archive."""
    archive_depth: int = 2
    ratio: int = 2_000
    """Unpacked to packed bytes above which a stream over 256 MiB counts as a bomb."""
    line_bytes: int = 32 << 20
    """A log line above this is skipped and counted."""
    files: int = 500_000
    depth: int = 64


DEFAULT = Limits()


def limits_of(chosen: LimitsConfig) -> Limits:
    """Caps as the configuration sets them."""
    return Limits(
        source_bytes=chosen.source_bytes,
        archive_bytes=chosen.archive_bytes,
        line_bytes=chosen.line_bytes,
        files=chosen.files,
    )


EXCLUDED_FOLDERS = {
    ".git", ".hg", ".svn", "node_modules", "bower_components", "site-packages", "dist-packages", "__pycache__", ".venv",
    "venv", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".gradle", ".terraform", ".next", ".nuxt",
    "third_party", "third-party", "vendor", "vendored", "_vendor", ".eggs", ".cache", ".yarn", ".pnpm-store",
}  # fmt: skip
MINIFIED = re.compile(r"(\.min\.(js|css|mjs)|\.bundle\.js|\.chunk\.js|\.map)$")

SUFFIX_KINDS = {
    ".py": "python", ".pyi": "python", ".pyw": "python", ".ipynb": "notebook",
    ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript", ".jsx": "javascript",
    ".ts": "typescript", ".tsx": "typescript", ".mts": "typescript", ".cts": "typescript",
    ".java": "java", ".kt": "kotlin", ".kts": "kotlin", ".go": "go",
    ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".jsonc": "json", ".json5": "json", ".har": "json",
    ".toml": "toml", ".tf": "hcl", ".tfvars": "hcl", ".hcl": "hcl", ".template": "yaml",
    ".ini": "ini", ".cfg": "ini", ".conf": "ini", ".properties": "ini",
    ".csv": "csv", ".tsv": "csv", ".jsonl": "log", ".ndjson": "log", ".log": "log",
    ".md": "text", ".rst": "text", ".txt": "text", ".html": "text", ".adoc": "text", ".mdc": "text",
    ".xml": "manifest", ".gradle": "manifest", ".mod": "manifest", ".sum": "manifest", ".lock": "manifest",
    ".tpl": "yaml", ".sh": "script", ".bash": "script", ".ps1": "script", ".rb": "text", ".rs": "text", ".php": "text",
    ".cs": "text", ".csproj": "manifest", ".prompt": "text", ".jinja": "text", ".jinja2": "text", ".j2": "text",
}  # fmt: skip
MANIFESTS = {
    "package.json", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "poetry.lock", "pipfile", "pipfile.lock", "uv.lock",
    "pyproject.toml", "setup.py", "setup.cfg", "go.mod", "go.sum", "pom.xml", "build.gradle", "build.gradle.kts",
    "gradle.lockfile", "environment.yml", "environment.yaml", "conda.yml", "cargo.toml", "cargo.lock", "gemfile",
    "gemfile.lock", "composer.json", "composer.lock", "pdm.lock", "bun.lock", "libs.versions.toml",
}  # fmt: skip
REQUIREMENTS = re.compile(r"(^|[-_.])(requirements|constraints)[^/]*\.(txt|in)$|^requirements/.*\.(txt|in)$")


class Entry(NamedTuple):
    """A regular file found by `walk`: `path` relative to the named root, `full` to open."""

    path: str
    full: Path
    size: int


class Line(NamedTuple):
    """A log line: 1-based physical number, bytes without the newline; `cut` > 0: bytes of an over-long line, data empty."""

    number: int
    data: bytes
    cut: int = 0


def walk(roots: list[Path], note: Note, limits: Limits = DEFAULT) -> Iterator[Entry]:
    """Regular files below the roots in a stable order. Raises UsageError when a root does not exist."""
    seen = 0
    read_before: set[tuple[int, int]] | None = set() if len(roots) > 1 else None
    for root in roots:
        if not os.path.lexists(root):
            raise UsageError(
                f"no such path: {root}", hint="check the spelling, or give another PATH", slug="no-such-path"
            )
        for entry in _tree(root, note, limits):
            if read_before is not None and _again(entry, read_before, note):
                continue
            seen += 1
            if seen > limits.files:
                note(Coverage(str(root), "cap", f"more than {limits.files} files; the rest was not read"))
                return
            yield entry


def _again(entry: Entry, read_before: set[tuple[int, int]], note: Note) -> bool:
    """Whether another PATH has given this file already, so that nothing is counted twice."""
    try:
        info = entry.full.stat()
    except OSError:
        return False
    if (info.st_dev, info.st_ino) in read_before:
        note(Coverage(entry.path, "excluded", "already read below another PATH"))
        return True
    read_before.add((info.st_dev, info.st_ino))
    return False


REPORT = frozenset({
    "report.html", "report.md", "report.json", "bom.cdx.json", "findings.sarif", "policy.yaml", "data-protection.md",
    "business.yaml", "logging-change.md",
})  # fmt: skip
"""What `onboard` writes; left out where it stands beside a report.json of Afterguard."""


def _is_report(folder: str, names: Iterable[str]) -> bool:
    if not {"report.json", "report.html", "data-protection.md"} <= set(names):
        return False
    try:
        with open_file(Path(folder, "report.json")) as handle:
            return b'"format": "afterguard.' in handle.read(200)
    except OSError:
        return False


def _tree(root: Path, note: Note, limits: Limits) -> Iterator[Entry]:
    try:
        info = root.stat()
    except OSError as error:
        note(Coverage(root.name, "unreadable", why(error)))
        return
    if not stat.S_ISDIR(info.st_mode):
        entry = _regular(root.name, root, info, note)
        if entry:
            yield entry
        return
    visited = {(info.st_dev, info.st_ino)}
    stack: list[tuple[Path, str, int]] = [(root, "", 0)]
    reports: set[str] = set()
    while stack:
        folder, prefix, depth = stack.pop()
        try:
            children = sorted(os.scandir(folder), key=lambda child: child.name)
        except OSError as error:
            note(Coverage(prefix or ".", "unreadable", why(error)))
            continue
        below: list[tuple[Path, str, int]] = []
        if _is_report(str(folder), (child.name for child in children)):
            reports.add(prefix)
            note(Coverage(prefix or ".", "excluded", "a report that Afterguard wrote"))
        is_report = prefix in reports or (prefix.rstrip("/").rpartition("/")[0] + "/").lstrip("/") in reports
        for child in children:
            name = prefix + child.name
            try:
                info = child.stat()
                if child.is_symlink() and not _inside(Path(child.path), root):
                    note(Coverage(name, "symlink_loop" if info is None else "excluded", "a link that leaves the tree"))
                    continue
            except OSError as error:
                loop = error.errno == 40
                note(Coverage(name, "symlink_loop" if loop else "unreadable", why(error)))
                continue
            if stat.S_ISDIR(info.st_mode):
                key = (info.st_dev, info.st_ino)
                if key in visited:
                    note(Coverage(name, "symlink_loop", "this folder was already visited"))
                elif child.name in EXCLUDED_FOLDERS:
                    if child.name not in (".git", "__pycache__"):
                        note(Coverage(name, "excluded", "vendored, generated or cache folder"))
                elif depth >= limits.depth:
                    note(Coverage(name, "depth", f"deeper than {limits.depth} folders"))
                else:
                    visited.add(key)
                    below.append((Path(child.path), name + "/", depth + 1))
                continue
            if is_report and child.name in REPORT:
                continue
            entry = _regular(name, Path(child.path), info, note)
            if entry:
                yield entry
        stack.extend(reversed(below))


def _inside(link: Path, root: Path) -> bool:
    try:
        return link.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        return False


def _regular(name: str, full: Path, info: os.stat_result, note: Note) -> Entry | None:
    if not stat.S_ISREG(info.st_mode):
        note(Coverage(name, "not_a_file", "a device, pipe or socket"))
        return None
    return Entry(name, full, info.st_size)


def why(error: BaseException) -> str:
    return (
        error.strerror or type(error).__name__ if isinstance(error, OSError) else (str(error) or type(error).__name__)
    )


def open_file(full: Path) -> IO[bytes]:
    """Open a regular file without blocking on a pipe or device that took its place. Raises OSError."""
    handle = os.open(
        full, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    )
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file")
    return Regular(io.FileIO(handle, "rb"))


class Regular(io.BufferedReader):
    """A reader that gives nothing, instead of None, where the kernel has nothing to give (files below /proc)."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size) or b""


def put(path: Path, data: bytes, ready: Callable[[Path], None] = lambda _: None) -> None:
    """Write a file whole or not at all, onto the disk, for its owner alone unless `ready` lets others in before it gets its name; its folder has to be there. Raises OSError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        ready(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def named(full: Path, cap: int) -> bytes:
    """The whole of a small file that the user named. OSError when it is no regular file or above `cap` bytes."""
    with open_file(full) as handle:
        data = handle.read(cap + 1)
    if len(data) > cap:
        raise OSError(errno.EFBIG, f"larger than {cap} bytes")
    return data


def secret(path: str) -> str:
    """The secret that a file holds: one line of text, without blanks and the end of the line around it. Who may read the file is not asked: what an orchestrator mounts is open to all inside the container.
    Raises UsageError, which never quotes it."""
    try:
        found = named(Path(path), SECRET).decode("utf-8-sig").strip()
    except (OSError, ValueError) as error:
        said = why(error) if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"the secret {path} cannot be read: {said}", hint="check the path and its permissions", slug="bad-secret") from None  # fmt: skip
    if not found or not found.isprintable():
        raise UsageError(f"the secret {path} is not one line of text", hint="write it into the file, and nothing else", slug="bad-secret")  # fmt: skip
    return found


def read(entry: Entry, note: Note, cap: int) -> bytes | None:
    """The file's bytes up to `cap`, None when it cannot be read; both noted."""
    try:
        with open_file(entry.full) as handle:
            data = handle.read(cap + 1)
    except FileNotFoundError:
        note(Coverage(entry.path, "vanished", "gone between listing and reading"))
        return None
    except OSError as error:
        note(Coverage(entry.path, "unreadable", why(error)))
        return None
    if len(data) > cap:
        note(Coverage(entry.path, "too_large", f"read the first {cap} of {entry.size} bytes", bytes=entry.size - cap))
        data = data[:cap]
    return data


def kind_of(path: str, data: bytes) -> str:
    """Kind of a file from its name and first bytes; see model.Source."""
    name = path.rsplit("/", 1)[-1]
    lower = name.lower()
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "binary"
    if lower in MANIFESTS or REQUIREMENTS.search(lower) or "/requirements/" in f"/{path.lower()}":
        return "python" if lower == "setup.py" else "manifest"
    named = (
        re.match(r"(dockerfile|containerfile)($|[._-])", lower) and SUFFIX_KINDS.get(lower[lower.rfind(".") :]) is None
    )
    if named or lower.endswith((".dockerfile", "containerfile")):
        return "dockerfile"
    if lower.startswith(".env") or lower.endswith(".env"):
        return "env"
    dot = lower.rfind(".")
    kind = SUFFIX_KINDS.get(lower[dot:]) if dot > 0 else None
    if kind:
        return kind
    head = data[:512].lstrip()
    if data.startswith(b"#!"):
        return "python" if b"python" in data[:80] else "javascript" if b"node" in data[:80] else "script"
    if head[:1] in (b"{", b"["):
        return "json"
    return "text"


def sources(roots: list[Path], note: Note, limits: Limits = DEFAULT) -> Iterator[Source]:
    """Every readable file as a Source, archives opened in place. Binary files come with their first cap bytes."""
    for entry in walk(roots, note, limits):
        yield from opened(entry, note, limits)


def opened(entry: Entry, note: Note, limits: Limits = DEFAULT) -> Iterator[Source]:
    """One entry as a Source, followed by its members when it is an archive; nothing, with a note, when it cannot be read."""
    if MINIFIED.search(entry.path):
        note(Coverage(entry.path, "excluded", "minified or generated", bytes=entry.size))
        return
    data = read(entry, note, limits.source_bytes)
    if data is None:
        return
    from afterguard import archives  # it needs this module

    if archives.archive_kind(entry.path, data):
        yield Source(entry.path, data[:65536], "binary", entry.size)
        yield from archives.members(entry.path, entry.full, note, limits)
        return
    if is_packed(data):
        note(Coverage(entry.path, "unsupported", "a compressed file that is no known log", bytes=entry.size))
    yield Source(entry.path, data, kind_of(entry.path, data), entry.size)


def is_packed(head: bytes) -> bool:
    """Whether a file is a gzip, zstd, bzip2 or xz stream."""
    return head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\0"))


def head(entry: Entry, size: int = 65536) -> bytes:
    """The first bytes of a file, unpacked when it is a compressed stream; empty when it cannot be read."""
    try:
        with open_stream(entry.full, entry.path, lambda _row: None) as stream:
            return stream.read(size)
    except (OSError, EOFError, ValueError):
        return b""


def open_stream(full: Path, path: str, note: Note, limits: Limits = DEFAULT) -> IO[bytes]:
    """A byte stream of a log, unpacked by content (gzip, zstd, bzip2, xz), cut with a note where it is a bomb. OSError."""
    handle = open_file(full)
    head = handle.read(6)
    handle.seek(0)
    opened = unpacked(handle, head)
    return handle if opened is None else _Bounded(opened, handle, path, note, limits)  # type: ignore[return-value]


def unpacked(handle: IO[bytes], head: bytes) -> IO[bytes] | None:
    """The stream inside a compressed one, None where it is not compressed."""
    if head[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=handle, mode="rb")  # type: ignore[return-value]
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(handle, read_across_frames=True)
    if head[:3] == b"BZh":
        return bz2.BZ2File(handle)
    if head[:6] == b"\xfd7zXZ\0":
        return lzma.LZMAFile(handle)
    return None


class _Bounded:
    """A read-only stream that ends, with a note, when an unpacked stream looks like a bomb or is damaged."""

    def __init__(self, inner: IO[bytes], raw: IO[bytes], path: str, note: Note, limits: Limits) -> None:
        self.inner, self.raw, self.path, self.note, self.limits = inner, raw, path, note, limits
        self.given = 0
        self.over = False

    def read(self, size: int = -1) -> bytes:
        if self.over:
            return b""
        pieces: list[bytes] = []
        wanted = size if size >= 0 else 1 << 20
        try:
            # Piece by piece, so that what was unpacked before the damage is not lost with it.
            while wanted > 0 and (piece := self.inner.read1(wanted)):  # type: ignore[attr-defined]
                pieces.append(piece)
                wanted -= len(piece)
        except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
            whole = self.given + sum(map(len, pieces))
            self.note(Coverage(self.path, "truncated", f"damaged after {whole} unpacked bytes: {why(error)}"))
            self.over = True
        data = b"".join(pieces)
        self.given += len(data)
        if self.given > 256 << 20 and self.given > self.limits.ratio * max(1, self.raw.tell()):
            self.note(
                Coverage(self.path, "bomb", f"unpacks more than {self.limits.ratio} to 1; stopped", bytes=self.given)
            )
            self.over = True
        return data

    def close(self) -> None:
        self.inner.close()
        self.raw.close()

    def __enter__(self) -> _Bounded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def lines(stream: IO[bytes], cap: int = DEFAULT.line_bytes, block: int = 1 << 20) -> Iterator[Line]:
    """Lines of a stream of any size in bounded memory; an over-long line comes back empty with its length in `cut`."""
    number = 1
    rest = b""
    skipped = 0
    while True:
        data = stream.read(block)
        if not data:
            break
        parts = (rest + data).split(b"\n") if not skipped else data.split(b"\n")
        rest = b""
        if skipped:
            skipped += len(parts[0])
            if len(parts) == 1:
                continue
            yield Line(number, b"", skipped)
            number += 1
            skipped = 0
            parts = parts[1:]
        for part in parts[:-1]:
            yield Line(number, part[:-1] if part.endswith(b"\r") else part)
            number += 1
        rest = parts[-1]
        if len(rest) > cap:
            skipped, rest = len(rest), b""
    if skipped:
        yield Line(number, b"", skipped)
    elif rest:
        yield Line(number, rest[:-1] if rest.endswith(b"\r") else rest)
