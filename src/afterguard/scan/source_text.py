"""Physical lines of a file without its comments, for what stands in command lines and settings of any format.

In: a parsed file and its lines. Out: (line number, text) of lines that are not comments. Used where a format's own tree does not
reach: commands in Dockerfiles, Compose, Kubernetes and shell scripts.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.parse import Parsed

_LEADS = {
    "javascript": ("//", "*", "/*"),
    "typescript": ("//", "*", "/*"),
    "java": ("//", "*", "/*"),
    "kotlin": ("//", "*", "/*"),
    "go": ("//", "*", "/*"),
    "json": ("//",),
    "hcl": ("#", "//", "/*", "*"),
    "ini": ("#", ";"),
}
LONG = 20_000


def uncommented(parsed: Parsed, lines: list[str]) -> Iterator[tuple[int, str]]:
    """Lines that are not comments, with the tail of a shell-style comment cut off; over-long lines are cut."""
    leads = _LEADS.get(parsed.source.kind, ("#",))
    for number, text in enumerate(lines, start=1):
        bare = text[:LONG].lstrip()
        if not bare or bare.startswith(leads):
            continue
        cut = bare.find(" #") if "#" in leads else bare.find(" //") if "//" in leads and "://" not in bare else -1
        yield number, bare if cut < 0 else bare[:cut]


def code_of(text: str) -> str:
    """A line of code without its comment, for words that must stand in code to count."""
    bare = text[:4000].lstrip()
    if bare.startswith(("#", "//", "*", "/*", "<!--")):
        return ""
    cuts = [at for at in (bare.find(" #"), bare.find(" //")) if at >= 0]
    return bare[: min(cuts)] if cuts else bare
