"""Which file of the tree an import means, in five languages, without reading any manifest.

In: the paths of the code files of one tree, and an import as written. Out: paths that can be meant, the nearest first. A name
that could only be a library's gives nothing: a root that an import hangs on must lie above the importing file, or the path
below it must be two folders deep and the only one.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable

LIMIT = 200_000
"""Files known; later ones are not found by name."""
_JS = (".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".vue", ".svelte")
_JVM = (".java", ".kt", ".kts")
_ALIASES = ("@/", "~/", "#/", "@@/", "~~/", "$lib/", "src/", "app/", "server/", "lib/")
_INSIDE = ("__init__", "index")
SAME = 500
"""Files of one name looked at for one import."""
ABOVE = 100
_HOSTS = ("github.com", "gitlab.com", "bitbucket.org", "gitee.com")


class Packages:
    """Paths of one tree by the name they are imported by."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths: set[str] = set()
        self.named: dict[str, list[str]] = defaultdict(list)
        self.folders: dict[str, list[str]] = defaultdict(list)
        self.tails: dict[str, list[str]] = {}
        for path in sorted(paths)[:LIMIT]:
            self.paths.add(path)
            folder, _, last = path.rpartition("/")
            self.folders[folder].append(path)
            stem = last.split(".")[0]
            self.named[folder.rpartition("/")[2] if stem in _INSIDE else stem].append(path)

    def files(self, module: str, here: str) -> list[str]:
        """Files that `module`, as an import in `here` spells it, can mean; several only where a package is many files."""
        if not module or len(module) > 300:
            return []
        suffix = posixpath.splitext(here)[1]
        if suffix in (".py", ".ipynb", ".pyi"):
            return self._python(module, here)
        if suffix in _JS:
            return self._script(module, here)
        if suffix in _JVM:
            return self._jvm(module, here)
        return self._go(module) if suffix == ".go" else []

    def _python(self, module: str, here: str) -> list[str]:
        plain = module.lstrip(".")
        dots = len(module) - len(plain)
        inner = "/".join(part for part in plain.split(".") if part)
        if dots:
            folder = here.rpartition("/")[0]
            for _ in range(dots - 1):
                if not folder:
                    break
                folder = folder.rpartition("/")[0]
            return self._first(_under(folder, inner), (".py", ".pyi")) if inner else self._first(folder, (".py",))
        return self._below(inner, ("", "/__init__"), (".py",), here)

    def _script(self, module: str, here: str) -> list[str]:
        if module.startswith("."):
            target = posixpath.normpath(posixpath.join(here.rpartition("/")[0], module))
            if target.startswith(".."):
                return []
            return self._first("" if target == "." else target, _JS)
        for alias in _ALIASES:
            if module.startswith(alias):
                inner = module if alias[-2].isalnum() and alias != "$lib/" else module[len(alias) :]
                inner = f"lib/{inner}" if alias == "$lib/" else inner
                return self._below(_without_suffix(inner), ("", "/index"), _JS, here, above=False)
        return []

    def _jvm(self, module: str, here: str) -> list[str]:
        parts = module.split(".")
        for count in (len(parts), len(parts) - 1):
            if count > 1:
                found = self._below("/".join(parts[:count]), ("",), _JVM, here, above=False)
                if found:
                    return found
        return []

    def _go(self, module: str) -> list[str]:
        parts = module.split("/")
        starts = (3,) if parts[0] in _HOSTS else (2, 1, 3) if "." in parts[0] else (1,)
        for start in starts:
            tail = "/".join(parts[start:])
            if tail and tail not in self.tails:
                self.tails[tail] = [one for one in self.folders if one == tail or one.endswith("/" + tail)]
            folders = self.tails.get(tail, [])
            if len(folders) == 1:
                return [path for path in self.folders[folders[0]] if path.endswith(".go")]
        return []

    def _first(self, stem: str, suffixes: tuple[str, ...]) -> list[str]:
        """The file or the package at a place."""
        bare = _without_suffix(stem)
        ends = [f"{bare}{suffix}" for suffix in suffixes] + [f"{stem}{suffix}" for suffix in suffixes]
        inside = ("__init__",) if suffixes[0] == ".py" else ("index",)
        ends += [_under(stem, name) + suffix for name in inside for suffix in suffixes]
        return next(([one] for one in (stem, *ends) if one in self.paths), [])

    def _below(
        self, inner: str, ends: tuple[str, ...], suffixes: tuple[str, ...], here: str, *, above: bool = True
    ) -> list[str]:
        """Files whose path ends with `inner`, the one that shares most folders with `here`."""
        if not inner:
            return []
        found: list[tuple[int, str]] = []
        for path in self.named.get(inner.rpartition("/")[2].split(".")[0], ())[:SAME]:
            for end in ends:
                root = _root(path, inner + end, suffixes)
                if root is None:
                    continue
                near = _shared(root, here)
                if near == root.count("/") + bool(root):
                    found.append((-near - ABOVE, path))
                elif not above or "/" in inner:
                    found.append((-near, path))
        found.sort()
        if not found:
            return []
        if found[0][0] > -ABOVE and above and len(found) > 1:
            return []
        return [found[0][1]]


def _under(folder: str, inner: str) -> str:
    return f"{folder}/{inner}" if folder else inner


def _without_suffix(path: str) -> str:
    return next((path[: -len(one)] for one in _JS if path.endswith(one)), path)


def _root(path: str, tail: str, suffixes: tuple[str, ...]) -> str | None:
    """The folder above `tail` in a path, None where the path does not end with it."""
    bare = next((path[: -len(one)] for one in suffixes if path.endswith(one)), None)
    if bare is None:
        return None
    if bare == tail:
        return ""
    return bare[: -len(tail) - 1] if bare.endswith("/" + tail) else None


def _shared(root: str, here: str) -> int:
    """Folders that a root and a file have in common from the top."""
    count = 0
    for one, two in zip(root.split("/") if root else [], here.split("/")[:-1], strict=False):
        if one != two:
            break
        count += 1
    return count
