"""Packages and images of AI applications with published advisories.

In: manifests, lock files, install commands, container images. Out: one finding a package and line: the advisories that apply to its
version, or, where no version is fixed anywhere, those that may. Advisories are the dated file catalog/rules/advisories; nothing is
looked up. A range that nobody compared with its database entry is said to be unverified, and alone gives low confidence only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from afterguard import catalog
from afterguard.code.document import walk
from afterguard.code.manifest import Package, packages
from afterguard.code.parse import Parsed
from afterguard.model import SEVERITIES, Confidence, Finding, Severity
from afterguard.scan.check import CONFIG, Check, Context
from afterguard.scan.source_text import uncommented
from afterguard.scan.versions import holds, meets

CHECK = Check(
    id="vulnerable-dependency",
    title="An AI package has a known vulnerability",
    severity=Severity.high,
    taxonomies=("LLM03:2025", "LLM04:2026", "ASI04:2026", "AML.T0010.001", "CWE-1395"),
    why="The weakness is public, and scanners for it run all day.",
    fix="Move to the fixed version or a later one and rebuild what was built with the old one.",
    kinds=("manifest", "python", "script", "notebook", *CONFIG),
)
_INSTALL = re.compile(
    r"\b(?:pip3?|uv pip|uv tool|uv|poetry|pipx)\s+(?:install|add|run)\b(.*)|\b(?:npm|pnpm|yarn|npx|bunx|bun)\s+(?:install|i|add|exec|dlx|-y)?\s*(.*)"
)
_PINNED = re.compile(r"(@?[A-Za-z][\w./-]{1,80}?)(?:\[[\w,-]+\])?(==|@)v?(\d[\w.]{0,30})")


class Advisory(NamedTuple):
    """One published weakness."""

    id: str
    affected: tuple[str, ...]
    fixed: str
    severity: Severity
    title: str
    checked: bool = True
    """Whether the range was compared with the database entry that the catalogue names."""


@cache
def advisories() -> dict[tuple[str, str], tuple[Advisory, ...]]:
    """Advisories by ecosystem and package name."""
    out: dict[tuple[str, str], list[Advisory]] = {}
    for row in catalog.load("rules/advisories")["advisories"]:
        checked = str(row["checked"]) != "none"
        one = Advisory(
            row["id"], tuple(row["affected"]), row["fixed"], Severity(row["severity"]), row["title"], checked
        )
        out.setdefault((row["ecosystem"], row["package"].lower()), []).append(one)
    return {name: tuple(rows) for name, rows in out.items()}


@cache
def images() -> dict[str, tuple[str, str]]:
    """Image path -> (ecosystem, package)."""
    return {row["image"]: (row["ecosystem"], row["package"]) for row in catalog.load("rules/advisories")["images"]}


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for packages with advisories."""
    for package in packages(parsed):
        known = advisories().get((package.ecosystem, package.name.lower()))
        if known:
            yield from _judge(parsed, context, package, known)
    if parsed.source.kind in ("dockerfile", "script", "notebook", "yaml", "json", "toml"):
        yield from _installed(parsed, context)
    if parsed.document is not None:
        yield from _images(parsed, context)


def _judge(parsed: Parsed, context: Context, package: Package, known: tuple[Advisory, ...]) -> Iterator[Finding]:
    if package.version:
        yield from judged(parsed, context, package.line, package.name, package.version, known)
        return
    if package.source or (package.ecosystem, package.name.lower()) in context.locked:
        return
    possible = [one for one in known if any(meets(affected, package.specifier) for affected in one.affected)]
    if possible:
        written = package.specifier or "any version"
        message = f"{package.name} ({written[:40]}) is not fixed to a version; these may apply: {_list(possible)}."
        yield context.finding(
            CHECK,
            parsed,
            package.line,
            message,
            confidence=Confidence.low,
            severity=Severity.low,
            fix=_fix(package.name, possible),
        )


def judged(
    parsed: Parsed, context: Context, line: int, name: str, version: str, known: tuple[Advisory, ...]
) -> Iterator[Finding]:
    """At most one finding for a known version: the advisories that hold for it, as sure as the best of them."""
    hit = [one for one in known if any(holds(affected, version) for affected in one.affected)]
    if hit:
        sure = [one for one in hit if one.checked]
        worst = max((one.severity for one in sure or hit), key=SEVERITIES.index)
        confidence = Confidence.high if sure else Confidence.low
        message = f"{name} {version[:40]}: {_list(hit)}."
        fix = _fix(name, sure or hit)
        yield context.finding(CHECK, parsed, line, message, severity=worst, confidence=confidence, fix=fix)


def _list(found: list[Advisory]) -> str:
    """Verified ones first, so that the four shown are those to rely on."""
    first = sorted(found, key=lambda one: not one.checked)[:4]
    shown = "; ".join(f"{one.id} ({one.title}{'' if one.checked else '; range not verified'})" for one in first)
    return shown + (f" and {len(found) - 4} more" if len(found) > 4 else "")


def _fix(name: str, found: list[Advisory]) -> str:
    from afterguard.scan.versions import key

    fixed = max((one.fixed for one in found), key=key)
    return f"Move {name} to {fixed} or later and rebuild what was built with the old one."


def _installed(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Versions named in install commands and in the arguments of tool servers."""
    for number, text in uncommented(parsed, context.lines(parsed)):
        if "==" not in text and "@" not in text:
            continue
        for name, sign, version in _PINNED.findall(text):
            ecosystem = "pypi" if sign == "==" else "npm"
            known = advisories().get(
                (ecosystem, name.lower().replace("_", "-") if ecosystem == "pypi" else name.lower())
            )
            if known and (parsed.source.kind not in ("yaml", "json", "toml") or sign == "@" or _INSTALL.search(text)):
                yield from judged(parsed, context, number, name, version, known)


def _images(parsed: Parsed, context: Context) -> Iterator[Finding]:
    assert parsed.document is not None
    for root in parsed.document.roots:
        for path, node in walk(root):
            if path and path[-1].lower() == "image" and node.kind == "text" and ":" in node.text:
                bare, _, tag = node.text.split("@")[0].rpartition(":")
                held = next((row for name, row in images().items() if bare == name or bare.endswith("/" + name)), None)
                version = re.match(r"v?(\d+(?:\.\d+)+)", tag)
                if held and version:
                    known = advisories().get(held, ())
                    yield from judged(parsed, context, node.line, bare.rsplit("/", 1)[-1], version.group(1), known)
