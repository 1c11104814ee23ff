"""What a name of one file means in the others: imports, re-exports, objects and what made them, base classes and their heirs.

In: Summaries of one tree. Out: Meanings, the nearest first, each a place where the name may be defined. Bounded: at most STEPS places are
looked at for one name, so that circles end.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from afterguard.discover.packages import Packages
from afterguard.discover.summary import ANY, Link, Summary

STEPS = 40
KNOWN = 50_000
"""Answers kept."""
HEIRS = 8
FITTING = 20
"""Methods one name can mean; more, and it says nothing."""
_WORD = re.compile(r"[A-Za-z][a-z]{2,}")
_NEIGHBOURS = ("java", "kotlin", "go")
_JVM = ("java", "kotlin")
_DJANGO = "django.conf.settings."
"""An object that stands for the settings module of the project, wherever that lies."""
_SETTINGS = re.compile(r"(?:\A|/)settings(?:/\w+)?\.py\Z")
_SPLIT = re.compile(r"[.()\[\]?!]+")
Place = tuple[str, str]
Step = tuple[str, str, bool]


class Meaning(NamedTuple):
    """A symbol of a file. `guess`: one of several classes that a name declared by their base may stand for."""

    one: Summary
    symbol: str
    guess: bool = False


class Lookup:
    """Names over the files of one tree."""

    def __init__(self, summaries: Iterable[Summary], packages: Packages) -> None:
        self.by_path = {one.path: one for one in summaries}
        self.packages = packages
        self.beside: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.heirs: dict[str, list[Place]] = defaultdict(list)
        self.missing: set[str] = set()
        """Files of the tree that names led to and that have no summary."""
        self.methods: dict[str, list[Place]] = defaultdict(list)
        self.answers: dict[tuple[str, str], tuple[Meaning, ...]] = {}
        self.settings = [path for path in sorted(self.by_path) if _SETTINGS.search(path)][:HEIRS]
        self.heads = {path: _heads(one) for path, one in self.by_path.items()}
        for path, one in self.by_path.items():
            folder = path.rpartition("/")[0]
            if one.language in _NEIGHBOURS:
                for name in self.heads[one.path]:
                    self.beside[folder, name].append(path)
            for name in one.functions:
                owner, _, method = name.rpartition(".")
                if owner and owner not in one.functions and len(_WORD.findall(method)) > 1:
                    self.methods[method].append((path, name))
            for name, bases in one.bases.items():
                for base in bases:
                    self.heirs[_SPLIT.split(re.sub(r"[<\[].*", "", base))[-1]].append((path, name))

    def meanings(self, text: str, here: str) -> tuple[Meaning, ...]:
        """Every place a name may mean, seen from the file `here`."""
        key = (text, here)
        found = self.answers.get(key)
        if found is None:
            found = tuple(self._meanings(text, here))
            if len(self.answers) < KNOWN:
                self.answers[key] = found
        return found

    def _meanings(self, text: str, here: str) -> Iterator[Meaning]:
        queue: list[Step] = [(*place, text.startswith(ANY)) for place in self._places(text, here)]
        seen: set[Place] = set()
        for path, symbol, guess in queue:
            one = self.by_path.get(path)
            if one is None:
                self.missing.add(path)
                continue
            if (path, symbol) in seen or len(seen) >= STEPS:
                continue
            seen.add((path, symbol))
            yield Meaning(one, symbol, guess)
            queue.extend((*place, guess) for place in self._further(one, symbol))
            queue.extend(self._heirs(symbol, guess))

    def _places(self, text: str, here: str) -> Iterator[Place]:
        """Where the words of a name lead at once: through an import, beside, or nowhere."""
        one = self.by_path.get(here)
        if one is None or not text:
            return
        if text.startswith(ANY):
            yield from self._telling(text[len(ANY) :])
            return
        if text.startswith(_DJANGO):
            yield from ((path, _plain(text[len(_DJANGO) :])) for path in self.settings)
            return
        for link in one.links:
            if text.startswith(link.prefix) and text[len(link.prefix) : len(link.prefix) + 1] in ("", ".", "(", "["):
                yield from self._through(link, _plain(text[len(link.prefix) :]), one)
                return
        symbol = _plain(text)
        head = symbol.partition(".")[0]
        if one.language in _NEIGHBOURS and head not in self.heads[one.path]:
            folder = here.rpartition("/")[0]
            for path in self.beside.get((folder, head), ())[:HEIRS]:
                yield path, symbol
            for path in (f"{folder}/{head}.java", f"{folder}/{head}.kt"):
                if path in self.packages.paths and path not in self.by_path:
                    yield path, symbol
        yield here, symbol

    def _telling(self, method: str) -> list[Place]:
        """Methods that an object nothing is known about may have: two words say enough, unless many classes have it."""
        found = self.methods.get(method, [])
        return found if len(found) <= FITTING else []

    def _through(self, link: Link, rest: str, one: Summary) -> Iterator[Place]:
        files = self.packages.files(link.module, one.path)
        if one.language in _JVM:
            parts = link.module.split(".")
            for path in files:
                own = path.rpartition("/")[2].split(".")[0]
                inner = parts[parts.index(own) :] if own in parts else [own]
                yield path, _joined(*inner, link.name if link.name != "*" else "", rest)
            return
        if link.name in ("", "*"):
            yield from ((path, rest) for path in files)
            return
        if link.name == "default":
            for path in files:
                yield from self._default(path, link.alias, rest)
            return
        if one.language in ("python", "notebook"):
            mark = "" if link.module.endswith(".") else "."
            yield from ((path, rest) for path in self.packages.files(f"{link.module}{mark}{link.name}", one.path))
        yield from ((path, _joined(link.name, rest)) for path in files)

    def _default(self, path: str, alias: str, rest: str) -> Iterator[Place]:
        """What a file exports without a name: what is called like the import or the file, else its only function."""
        one = self.by_path.get(path)
        if one is None:
            return
        names = self.heads[one.path]
        stem = path.rpartition("/")[2].split(".")[0]
        for name in (alias, stem, "default"):
            if name in names:
                yield path, _joined(name, rest)
                return
        plain = [name for name in one.functions if "." not in name and "@" not in name]
        if len(plain) == 1 and not rest:
            yield path, plain[0]
        elif rest:
            yield path, rest
            yield from ((path, _joined(name, rest)) for name in one.bases)
        else:
            yield path, "default"

    def _further(self, one: Summary, symbol: str) -> Iterator[Place]:
        """What a symbol stands for in its file: made by, handed out by, inherited from, imported from elsewhere."""
        parts = symbol.split(".")
        for size in range(min(len(parts), 3), 0, -1):
            name, rest = ".".join(parts[:size]), ".".join(parts[size:])
            if name in one.objects:
                yield from self._places(_joined(one.objects[name], rest), one.path)
            doing = one.functions.get(name)
            if doing is not None and doing.returns and rest:
                yield from self._places(_joined(doing.returns, rest), one.path)
            if rest:
                for base in one.bases.get(name, ()):
                    yield from self._places(f"{re.sub(r'[<[].*', '', base)}.{rest}", one.path)
        head, _, rest = symbol.partition(".")
        for link in one.links:
            if link.alias == head and link.alias:
                yield from self._through(link, rest, one)
            elif link.name == "*" and head not in self.heads[one.path]:
                yield from ((path, symbol) for path in self.packages.files(link.module, one.path))

    def _heirs(self, symbol: str, guess: bool) -> Iterator[Step]:
        """The same method of the classes that inherit from the one named."""
        owner, _, method = symbol.rpartition(".")
        heirs = self.heirs.get(owner, [])
        for path, heir in heirs[:HEIRS] if owner else ():
            yield path, f"{heir}.{method}", guess or len(heirs) > 1


def _heads(one: Summary) -> set[str]:
    """Names a file defines at its top."""
    names = {name.partition(".")[0] for name in (*one.constants, *one.objects, *one.functions, *one.bases)}
    return names | {name.partition(".")[0] for name in one.held}


def _plain(text: str) -> str:
    """`Service().ask` as Service.ask."""
    return ".".join(part for part in _SPLIT.split(text) if part)


def _joined(*parts: str) -> str:
    return ".".join(part for part in parts if part)
