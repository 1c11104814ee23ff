"""Which files that were not worth parsing by themselves hold what parsed ones name: settings without a word of AI, plain tools.

In: Summaries of what was parsed, and the paths of all code files. Out: paths. It reads nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from afterguard.discover.packages import Packages
from afterguard.discover.summary import Link, Summary


def named(summaries: Iterable[Summary], packages: Packages) -> set[str]:
    """Files that unresolved models, and what agents are handed, come from; and what such files hand on."""
    out: set[str] = set()
    for one in summaries:
        texts = {*one.open_names.values(), *(text for group in one.lists.values() for text in group)}
        links = [link for link in one.links if any(text.startswith(link.prefix) for text in texts)]
        out.update(_files(links, one, packages))
        if one.language in ("java", "kotlin", "go") and one.open_names:
            out.update(_beside(one, one.open_names.values(), packages))
        if any(text.startswith("django.conf.settings.") for text in texts):
            out.update(packages.named.get("settings", ())[:8])
    return out


def imported(summaries: Iterable[Summary], packages: Packages) -> set[str]:
    """Files that any of the summaries imports."""
    return {path for one in summaries for path in _files(one.links, one, packages)}


def _files(links: Iterable[Link], one: Summary, packages: Packages) -> Iterator[str]:
    for link in links:
        yield from packages.files(link.module, one.path)
        if link.name and one.language in ("python", "notebook"):
            mark = "" if link.module.endswith(".") else "."
            yield from packages.files(f"{link.module}{mark}{link.name}", one.path)


def _beside(one: Summary, texts: Collection[str], packages: Packages) -> Iterator[str]:
    """Files of the folder that can hold a name without an import: any in Go, the class's own in Java and Kotlin."""
    heads = {text.partition(".")[0] for text in texts}
    for path in packages.folders.get(one.path.rpartition("/")[0], ())[:100]:
        if one.language == "go" or path.rpartition("/")[2].split(".")[0] in heads:
            yield path
