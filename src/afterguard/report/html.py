"""The onboarding report as one self-contained HTML file.

In: an OnboardResult. Out: HTML that fetches nothing, runs no script and needs no server: first the owner's page, then the
evidence. Text from outside is escaped by the template engine after invisible characters were made visible; prompts are shown as
text, never as HTML or Markdown. Long lists are cut with a count; report.json holds all of them.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import IO, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from afterguard import names
from afterguard.model import SEVERITIES, AppResult, Family, OnboardResult
from afterguard.report import graph, plots, view, words
from afterguard.report.json import ordered_assets
from afterguard.safe import visible

WIDE, NARROW = 660, 330
"""Widths in CSS pixels at which a chart is drawn: for a desk or paper, and for a phone, so that its labels stay readable."""


def render(result: OnboardResult, out: IO[str]) -> None:
    """Write the page. The same result gives the same bytes."""
    css = style()
    page = environment().get_template("onboard.html")
    out.write(
        page.render(
            css=css,
            policy=policy(css),
            result=result,
            apps=[_app(app, index) for index, app in enumerate(result.apps, 1)],
        )
    )


render_onboard = render


@cache
def style() -> Markup:
    """The style sheet, our own file: the only thing on the page that is not escaped."""
    text = resources.files("afterguard.report").joinpath("templates/report.css").read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704


def policy(css: str) -> str:
    """Content security policy: nothing but this very style sheet."""
    digest = b64encode(sha256(css.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@cache
def environment() -> Environment:
    """Templates with everything they may use; every text is made visible and escaped."""
    env = Environment(
        loader=PackageLoader("afterguard.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    env.globals.update(view=view, words=words, table=plots.curve_rows)
    env.filters.update(
        describe=names.describe,
        money=words.money,
        number=words.number,
        plain=words.plain,
        percent=words.percent,
        cut=_cut,
        sentence=words.sentence,
    )
    return env


def _cut(text: str, limit: int = 48) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _finalize(value: Any) -> Any:
    """What every expression passes: text loses its invisible characters before it is escaped."""
    if isinstance(value, Markup):
        return value
    return visible(value) if isinstance(value, str) else value


def _app(app: AppResult, index: int) -> dict[str, Any]:
    """What the template reads about one application."""
    money = view.currency(app)
    found = view.groups(app.survey.findings, view.deltas(app), money)
    seen = view.incidents(app)
    assets = ordered_assets(app.survey.assets)
    ident = f"a{index}"
    return {
        "id": ident,
        "rank": index,
        "data": app,
        "name": app.survey.app.name,
        "currency": money,
        "deltas": view.deltas(app),
        "facts": view.facts(app),
        "figures": view.figures(app.loss) if app.loss else None,
        "decisions": view.decisions(app),
        "groups": found[: view.GROUPS],
        "groups_more": found[view.GROUPS :],
        "incidents": seen[: view.INCIDENTS],
        "incidents_more": len(seen[view.INCIDENTS :]),
        "assets": assets[: view.ASSETS],
        "assets_more": len(assets[view.ASSETS :]),
        "guesses": view.guessed(app.survey.assets),
        "gaps": view.gaps(view.all_coverage(app)),
        "outcomes": view.outcomes(app.survey.checks),
        "attacked": sorted((one for one in app.attacked.families if one.share.of), key=_tried) if app.attacked else [],
        "graph": graph.inventory(app.survey.assets, ident=f"{ident}-graph"),
        **_charts(app, ident),
    }


def _tried(one: Family) -> tuple[bool, int, float, str]:
    return not one.succeeded, -SEVERITIES.index(one.severity), -one.share.rate, one.technique


def _charts(app: AppResult, ident: str) -> dict[str, Markup]:
    """Each chart in two widths; CSS shows one of them."""
    out = {name: Markup("") for name in ("curve", "curve_narrow", "bars", "bars_narrow", "time", "time_narrow")}
    for suffix, width in (("", WIDE), ("_narrow", NARROW)):
        if app.loss:
            out["curve" + suffix] = plots.loss_curve(
                app.loss.curve,
                band=app.loss.band,
                appetite=app.loss.appetite if app.loss else None,
                one_in_twenty=app.loss.one_in_twenty,
                worst=view.figures(app.loss).bad_year,
                currency=app.loss.currency,
                width=width,
                height=250 if width == WIDE else 220,
                ident=f"{ident}-curve{suffix}",
            )
            out["bars" + suffix] = plots.scenario_bars(
                app.loss.scenarios, app.loss.currency, width=width, ident=f"{ident}-bars{suffix}"
            )
        moments = [
            plots.Moment(item.title or words.plain(item.kind), item.severity, item.first_seen, item.last_seen)
            for item in view.incidents(app)
            if item.first_seen is not None and item.last_seen is not None
        ]
        out["time" + suffix] = plots.timeline(moments, width=width, ident=f"{ident}-time{suffix}")
    return out
