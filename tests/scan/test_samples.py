"""Every check against its samples: `hit: rule-id` marks a line that must be flagged, every other line must stay silent.

A sample is a file, or a folder whose files are one application. Files that take no comments have their marks in NAME.lines.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from afterguard.code.parse import Parsed, parse
from afterguard.files import kind_of
from afterguard.model import Source
from afterguard.scan import CHECKS, run

SAMPLES = Path(__file__).parent / "samples"
MARK = re.compile(r"\bhit: ([a-z0-9-]+(?:, [a-z0-9-]+)*)")
APPS = sorted(
    path for folder in SAMPLES.iterdir() if folder.is_dir() for path in folder.iterdir() if path.suffix != ".lines"
)


def read(path: Path, root: Path) -> Parsed:
    data = path.read_bytes()
    name = path.relative_to(root).as_posix()
    return parse(Source(name, data, kind_of(name, data), len(data)))


def files_of(app: Path) -> list[Path]:
    if app.is_file():
        return [app]
    return sorted(path for path in app.rglob("*") if path.is_file() and path.suffix != ".lines")


def marked(path: Path, root: Path) -> set[tuple[str, int, str]]:
    """(path, line, rule) that must be found."""
    name = path.relative_to(root).as_posix()
    side = path.with_name(path.name + ".lines")
    if side.exists():
        rows = [row.split() for row in side.read_text().splitlines() if row.strip()]
        return {(name, int(line), rule) for line, rule in rows}
    out = set()
    for number, text in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), start=1):
        found = MARK.search(text)
        if found:
            out |= {(name, number, rule) for rule in found.group(1).split(", ")}
    return out


@pytest.mark.parametrize("app", APPS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_flags_exactly_the_marked_lines(app: Path) -> None:
    root = app if app.is_dir() else app.parent
    paths = files_of(app)
    findings, outcomes = run([read(path, root) for path in paths])
    found = {(one.path, one.line, one.rule) for one in findings}
    expected = {row for path in paths for row in marked(path, root)}
    assert found == expected, "\n".join(f"{f.path}:{f.line} {f.rule}: {f.message}" for f in findings)
    assert "error" not in outcomes.values()
    assert app.name.startswith("hit") == bool(expected)


def test_every_check_has_hits_and_misses() -> None:
    for check in CHECKS:
        names = [path.name for path in (SAMPLES / check.id).iterdir()] if (SAMPLES / check.id).is_dir() else []
        assert sum(name.startswith("hit") and not name.endswith(".lines") for name in names) >= 3, check.id
        assert sum(name.startswith("miss") and not name.endswith(".lines") for name in names) >= 3, check.id
