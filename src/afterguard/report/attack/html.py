"""An attack's result as one self-contained HTML file: rates with intervals as a picture, each finding with its conversation, fix and rule.

In: an Assessment and its findings. Out: HTML that fetches nothing and runs no script, as report/html.py makes it. What an application said is shown as text, never as HTML or Markdown.
"""

from __future__ import annotations

from importlib import resources
from typing import IO, Any

from markupsafe import Markup

from afterguard import __version__
from afterguard.attack.assessment import Assessment
from afterguard.attack.findings import Weakness, said
from afterguard.model import SEVERITIES, Family
from afterguard.report import html
from afterguard.report.attack import plot, words

HITS = 3
"""Conversations shown of one finding; `replay` shows each."""


def render(found: Assessment, weak: tuple[Weakness, ...], out: IO[str]) -> None:
    """Write the page. The same result gives the same bytes."""
    css = style()
    rows = sorted((one for one in found.families if one.share.of), key=_order)
    out.write(
        html.environment()
        .get_template("attack.html")
        .render(
            css=css,
            policy=html.policy(css),
            found=found,
            version=__version__,
            standing=words.standing(found),
            rows=rows,
            weak=[_shown(one) for one in weak],
            skipped=[(one, words.reason(one.skipped)) for one in found.families if one.skipped],
            unassessed=[(one, words.unassessed(one)) for one in found.families if one.not_assessed],
            chart=plot.rates(rows, width=plot.WIDE),
            chart_narrow=plot.rates(rows, width=html.NARROW, ident="rates-narrow"),
            trials=sum(one.share.of for one in rows),
            hits=sum(one.succeeded for one in rows),
            blocked=sum(one.blocked for one in rows),
        )
    )


def style() -> Markup:
    """The report's style sheet, and what an attack's page has more than it."""
    text = resources.files("afterguard.report").joinpath("templates/attack.css").read_text(encoding="utf-8")
    return Markup(html.style() + "\n" + Markup(text))  # noqa: S704


def _order(one: Family) -> tuple[bool, int, float, str]:
    return not one.succeeded, -SEVERITIES.index(one.severity), -one.share.rate, one.technique


def _shown(one: Weakness) -> dict[str, Any]:
    return {
        "finding": one.finding,
        "rate": said(one.family),
        "rule": one.rule,
        "note": one.rule_note,
        "hits": [(hit, words.transcript(hit)) for hit in one.hits[:HITS]],
        "more": len(one.hits) - HITS,
        "forms": sorted(one.family.forms.items()),
    }
