"""The terminal tables: what they say, that they end with the next command, and that hostile text cannot steer a terminal."""

from __future__ import annotations

import io
from types import ModuleType
from typing import Any

import pytest

from afterguard.report import table
from afterguard.safe import UNSEEN


def shown(result: Any, **more: Any) -> str:
    out = io.StringIO()
    table.render(result, out, **more)
    return out.getvalue()


def test_discover_groups_by_kind_and_gives_places(sample: ModuleType) -> None:
    text = shown(sample.assistant().survey, next_command="afterguard scan .")
    assert "support-assistant: 21 AI assets in 412 files" in text
    assert "Tools (3)" in text and "app/tools/refund.py:18" in text
    assert text.endswith("Next: afterguard scan .\n")


def test_scan_says_where_why_and_how(sample: ModuleType) -> None:
    text = shown(sample.assistant().survey, what="scan")
    assert text.index("CRITICAL") < text.index("HIGH") < text.index("MEDIUM")
    assert "app/tools/refund.py:18" in text and "fix Ask a person above $100" in text
    assert "2 checks could not tell: notebook-open, public-bucket" in text
    assert "Not read: bad encoding 1, encrypted 1, excluded 1, too large 1" in text


def test_lookback_says_suspected_and_distinct_identifiers(sample: ModuleType) -> None:
    text = shown(sample.lookback())
    assert "4 suspected incidents in 12,417 exchanges" in text
    assert "17 distinct identifiers seen" in text and "dwell 9 d 7 h" in text
    assert "560 parts could not be judged" in text


def test_no_terminal_codes_without_a_terminal(sample: ModuleType) -> None:
    assert "\x1b" not in shown(sample.assistant().survey, what="scan")


def test_color_only_on_request_and_never_with_no_color(sample: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in shown(sample.assistant().survey, what="scan", color=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in shown(sample.assistant().survey, what="scan")


def test_hostile_text_cannot_steer(sample: ModuleType) -> None:
    app = sample.hostile().apps[0]
    for text in (
        shown(app.survey, verbose=True),
        shown(app.survey, what="scan", verbose=True),
        shown(app.lookback, verbose=True),
    ):
        assert not UNSEEN.search(text.replace("\n", ""))
        text.encode()
