"""The Markdown report: the same content, short, and inert."""

from __future__ import annotations

import io
import re
from types import ModuleType
from typing import Any

import pytest
from markdown_it import MarkdownIt

from afterguard.report import markdown


def written(result: Any, **more: Any) -> str:
    out = io.StringIO()
    markdown.render(result, out, **more)
    return out.getvalue()


def test_says_the_same_as_the_page(sample: ModuleType) -> None:
    text = written(sample.result()).replace("\\", "")
    for part in (
        "$5,200 to $840,000", "64 % of the expected loss", "**Do nothing**", "17 distinct identifiers seen", "app/tools/refund.py:18",
        "Would change it: a first-party order record", "2 new, 1 fixed, 31 unchanged", "Checks that could not tell: public-bucket, notebook-open",
        "1 agent", "Next: `afterguard guard --policy policy.yaml --observe`",
    ):  # fmt: skip
        assert part in text
    assert len(text) < 12_000


@pytest.mark.parametrize("name", ["result", "empty", "hostile"])
def test_nothing_is_a_link_an_image_or_html(sample: ModuleType, name: str) -> None:
    result = getattr(sample, name)()
    sources = [written(result)]
    for app in result.apps:
        sources += [written(app.survey), written(app.survey, what="scan")]
        sources += [written(app.lookback)] if app.lookback else []
    for source in sources:
        tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(source)
        flat = [*tokens, *(child for token in tokens for child in token.children or ())]
        kinds = {re.sub("_(open|close)$", "", token.type) for token in flat}
        assert not kinds & {"link", "image", "html_block", "html_inline", "fence", "code_block", "hr"}, kinds
        source.encode()


def test_tables_keep_their_columns(sample: ModuleType) -> None:
    for name in ("result", "hostile"):
        app = getattr(sample, name)().apps[0]
        html = MarkdownIt("commonmark").enable("table").render(written(app.survey, what="scan"))
        assert html.count("<td>") == 5 * len(app.survey.findings)
