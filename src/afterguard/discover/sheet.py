"""The assets of one file while they are being written down: one place that cuts, redacts and names alike.

In: what a finder saw, with its line. Out: Assets. It decides nothing about what is an asset.
"""

from __future__ import annotations

import re

from afterguard.code.document import Node
from afterguard.model import Asset, AssetKind, Certainty, Edge, Evidence

SHOWN = 160
_HELD = re.compile(
    r"(?i)((?:api[_-]?key|apikey|token|secret|passw(?:or)?d|passwd|credential|private[_-]?key|authorization|bearer|access[_-]?key"
    r"(?:[_-]?id)?)[\"']?\s{0,3}[=:\s]\s{0,3}[\"']?)(?!\$\{|\{\{|\$\()([^\s\"',;}]{4,})"
)
_CREDENTIALS = re.compile(r"(?<=://)[^/\s:@]{0,80}:[^/\s@]{1,200}(?=@)")
_KEY = re.compile(
    r"\b(?:sk|pk|rk|ghp|gho|ghs|glpat|hf|xox[abprs]|AKIA|ASIA|AIza|eyJ|gsk|nvapi|pplx|r8|tvly|lsv2|pat|sk-ant|npm|dop|shp)"
    r"[-_A-Za-z0-9.]{12,}"
)
_LONG = re.compile(r"(?<![\w/.+-])(?=[\w+=-]{0,200}\d)(?=[\w+=-]{0,200}[A-Za-z])[A-Za-z0-9_+=-]{32,}(?![\w/.+-])")


def shown(text: str) -> str:
    """The text fit for a report: one line, cut, with anything that looks like a credential taken out."""
    text = " ".join(text[: 4 * SHOWN].split())
    text = _CREDENTIALS.sub("[redacted]", text)
    text = _HELD.sub(r"\1[redacted]", text)
    text = _LONG.sub("[redacted]", _KEY.sub("[redacted]", text))
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


class Sheet:
    """Assets seen in one file so far. `source` is the evidence word: config, infrastructure or artefact."""

    def __init__(self, path: str, source: str = "config") -> None:
        self.path, self.source = path, source
        self.assets: list[Asset] = []

    def add(
        self,
        kind: AssetKind,
        name: str,
        line: int,
        matched: str,
        certainty: Certainty = Certainty.declared,
        edges: tuple[Edge, ...] = (),
        **attributes: str,
    ) -> Edge:
        """Write an asset down; the edge `uses` that leads to it comes back, for whoever uses it."""
        facts = {key: shown(value) for key, value in attributes.items() if value}
        name = " ".join(name.split())[:200]
        evidence = self.evidence(line, matched)
        self.assets.append(Asset(kind, name, certainty, evidence, tuple(dict.fromkeys(edges)), attributes=facts))
        return Edge("uses", kind, name)

    def evidence(self, line: int, matched: str) -> tuple[Evidence, ...]:
        """One place in this file."""
        return (Evidence(self.path, line, shown(matched), self.source),)

    def extend(self, index: int, edges: tuple[Edge, ...]) -> None:
        """Give the asset at `index` further edges."""
        old = self.assets[index]
        merged = tuple(dict.fromkeys((*old.edges, *edges)))
        self.assets[index] = Asset(old.kind, old.name, old.confidence, old.evidence, merged, attributes=old.attributes)


def words(node: Node | None) -> list[tuple[str, int]]:
    """The words of a command with their lines: a list as it is, a text split like a shell would, roughly."""
    if node is None:
        return []
    if node.kind == "list":
        out: list[tuple[str, int]] = []
        for item in node.items[:500]:
            if item.kind not in ("map", "list"):
                line = first_line(item)
                out.extend(_split(item.text, line) if " " in item.text or "\n" in item.text else [(item.text, line)])
        return out
    return _split(node.text, first_line(node)) if node.kind == "text" else []


def first_line(node: Node) -> int:
    """The physical line of the first character of a scalar: block scalars start on the line after their mark."""
    return node.line + (node.tag in ("|", ">"))


_WORD = re.compile(r"\"((?:[^\"\\]|\\.)*+)\"|'([^']*+)'|(\n)|([^\s\"'\\;|&]++)|\\|[;|&]+|[\"']")


def _split(text: str, line: int) -> list[tuple[str, int]]:
    out: list[tuple[str, int]] = []
    for found in _WORD.finditer(text[:20_000]):
        if found[3]:
            line += 1
            continue
        word = next((group for group in (found[1], found[2], found[4]) if group is not None), "")
        if " " in word:
            out.extend((part, line) for part in word.split()[:200])
        elif word:
            out.append((word, line))
        line += found[0].count("\n")
    return out
