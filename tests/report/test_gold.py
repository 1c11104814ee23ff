"""Every format of the sample result against the file kept in tests/gold/report. `make gold` renews them; read the diff."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import pytest

from afterguard import __version__
from afterguard.report import csv, cyclonedx, html, json, jsonl, junit, markdown, sarif, table

GOLD = Path(__file__).parents[1] / "gold" / "report"
RENDERERS: dict[str, Callable[[ModuleType, IO[str]], None]] = {
    "report.json": lambda s, out: json.render(s.result(), out),
    "discover.json": lambda s, out: json.render(s.assistant().survey, out),
    "scan.json": lambda s, out: json.render(s.assistant().survey, out, what="scan"),
    "lookback.json": lambda s, out: json.render(s.lookback(), out),
    "scan.jsonl": lambda s, out: jsonl.render(s.assistant().survey, out, what="scan"),
    "report.md": lambda s, out: markdown.render(s.result(), out),
    "report.html": lambda s, out: html.render(s.result(), out),
    "bom.cdx.json": lambda s, out: cyclonedx.render(s.assistant().survey, out, created_at=s.NOW),
    "findings.sarif": lambda s, out: sarif.render(s.assistant().survey, out, created_at=s.NOW),
    "junit.xml": lambda s, out: junit.render(s.assistant().survey, out),
    "findings.csv": lambda s, out: csv.render(s.assistant().survey, out, what="scan"),
    "discover.txt": lambda s, out: table.render(s.assistant().survey, out, next_command="afterguard scan ."),
    "scan.txt": lambda s, out: table.render(
        s.assistant().survey, out, what="scan", next_command="afterguard onboard ."
    ),
    "lookback.txt": lambda s, out: table.render(s.lookback(), out, verbose=True),
}


def normal(text: str) -> str:
    """Without what changes for other reasons: the version, the serial number that follows from it, the style sheet."""
    text = text.replace("\r\n", "\n").replace(f'"{__version__}"', '"VERSION"')
    text = re.sub(r"urn:uuid:[0-9a-f-]{36}", "urn:uuid:SERIAL", text)
    text = re.sub(r"<style>.*?</style>", "<style></style>", text, flags=re.DOTALL)
    return re.sub(r"sha256-[A-Za-z0-9+/=]{44}", "sha256-STYLE", re.sub(r"sha256-[^;]*&#39;", "sha256-STYLE&#39;", text))


@pytest.mark.parametrize("name", RENDERERS)
def test_gold(sample: ModuleType, name: str, renew: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(key, raising=False)
    out: Any = io.StringIO()
    RENDERERS[name](sample, out)
    text = normal(out.getvalue())
    path = GOLD / name
    if renew:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    assert text == path.read_text(encoding="utf-8"), "renew with `make gold`, then read the diff"
