"""Who owns a path: the CODEOWNERS file, else whoever committed here most in the local reflog.

In: a checked-out tree. Out: `owner(path)`. It runs no git and reads no objects; from the reflog it keeps names, never e-mail
addresses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from afterguard.files import open_file

PLACES = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS", ".bitbucket/CODEOWNERS")
CAP = 3 << 20
RULES = 10_000
RECENT = 1 << 18
SECTION = re.compile(r"\A\^?\[([^\]]{1,200})\](?:\[\d{1,3}\])?\s*(.*)\Z")
REFLOG = re.compile(r"\A[0-9a-f]{40,64} [0-9a-f]{40,64} (.{0,200}?) ?<[^>]{0,320}> \d{1,12} [+-]\d{4}\t(\w+)")
BOTS = re.compile(r"\[bot\]|\bbot\b|dependabot|renovate|github-actions|jenkins", re.I)


class Rule(NamedTuple):
    """A line of CODEOWNERS: what it covers, who owns it, in which GitLab section ("" without)."""

    pattern: tuple[str, ...]
    owners: tuple[str, ...]
    section: str = ""
    excludes: bool = False


def parse(text: str) -> tuple[Rule, ...]:
    """Rules in file order. GitLab sections with default owners and `!` exclusions are understood; bad lines are left out."""
    out: list[Rule] = []
    section, default = "", tuple[str, ...]()
    for raw in text[:CAP].splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        found = SECTION.match(line)
        if found and not line.startswith("[!"):
            section, default = found[1].strip().lower(), tuple(found[2].split("#")[0].split()[:20])
            continue
        excludes = line.startswith("!")
        fields = re.split(r"(?<!\\)\s+", re.split(r"\s#", line[1:] if excludes else line)[0].strip())
        pattern = fields[0].replace("\\ ", " ").replace("\\#", "#")
        if not pattern or len(pattern) > 512 or len(out) >= RULES:
            continue
        out.append(Rule(_segments(pattern), tuple(fields[1:21]) or default, section, excludes))
    return tuple(out)


def _segments(pattern: str) -> tuple[str, ...]:
    """gitignore-like: a leading or inner slash anchors, a trailing slash covers the folder, `*` stays in one segment."""
    anchored = "/" in pattern.rstrip("/")
    body = [part for part in pattern.strip("/").split("/") if part]
    if not body:
        return ("**",)
    start = () if anchored else ("**",)
    if pattern.endswith("/"):
        return (*start, *body, "*", "**")
    exact = anchored and "*" in body[-1]
    return (*start, *body) if exact else (*start, *body, "**")


def _fits(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Greedy match of segments, `**` for any number of them; linear in the product, so no pattern can be slow."""
    at, star, mark, here = 0, -1, 0, 0
    while here < len(parts):
        if at < len(pattern) and pattern[at] == "**":
            star, mark = at, here
            at += 1
        elif at < len(pattern) and _segment_fits(pattern[at], parts[here]):
            at += 1
            here += 1
        elif star >= 0:
            mark += 1
            at, here = star + 1, mark
        else:
            return False
    return all(part == "**" for part in pattern[at:])


def _segment_fits(pattern: str, text: str) -> bool:
    if "*" not in pattern and "?" not in pattern:
        return pattern == text
    at, star, mark, here = 0, -1, 0, 0
    while here < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, here
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[here]):
            at += 1
            here += 1
        elif star >= 0:
            mark += 1
            at, here = star + 1, mark
        else:
            return False
    return all(letter == "*" for letter in pattern[at:])


def match(rules: tuple[Rule, ...], path: str) -> tuple[str, ...]:
    """Owners of a path: the last rule that fits wins, in each section by itself; an empty owner list un-owns."""
    path = path.lstrip("/")
    parts = tuple(path.split("/"))
    last: dict[str, tuple[str, ...]] = {}
    barred: set[str] = set()
    for rule in rules:
        if rule.section not in barred and _fits(rule.pattern, parts):
            if rule.excludes:
                barred.add(rule.section)
                last.pop(rule.section, None)
            else:
                last[rule.section] = rule.owners
    return tuple(dict.fromkeys(owner for owners in last.values() for owner in owners))


def owners_of(root: Path) -> Callable[[str], str]:
    """`owner(path)` for a tree: names joined by ", ", "" when nobody can be named. Reads at most a few small files."""
    folder = root if root.is_dir() else root.parent
    rules = next((parse(text) for place in PLACES if (text := _text(folder / place, folder))), ())
    author = _author(folder)

    @lru_cache(maxsize=65536)
    def owner(path: str) -> str:
        named = match(rules, path.partition("!/")[0]) if len(path) <= 4096 else ()
        return ", ".join(named[:5]) or author

    return owner


def _text(path: Path, within: Path, tail: bool = False) -> str:
    """A small text file, "" when there is none or when a link leads out of the tree."""
    try:
        if not path.resolve().is_relative_to(within.resolve()):
            return ""
        with open_file(path) as handle:
            if tail:
                handle.seek(max(0, handle.seek(0, 2) - RECENT))
            return handle.read(CAP).decode("utf-8", "replace")
    except (OSError, RuntimeError, ValueError):
        return ""


def _author(folder: Path) -> str:
    """The most frequent name among recent commits made in this checkout, bots left out; "" when the reflog has none."""
    names: Counter[str] = Counter()
    for line in _text(folder / ".git" / "logs" / "HEAD", folder, tail=True).splitlines()[-2000:]:
        found = REFLOG.match(line)
        if found and found[2].startswith(("commit", "merge")) and not BOTS.search(found[1]):
            names[" ".join(found[1].split())] += 1
    return min(names, key=lambda name: (-names[name], name)) if names else ""
