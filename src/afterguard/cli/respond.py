"""`afterguard respond`: an incident worked through, from alerts to what was done, proven and undone."""

from __future__ import annotations

from cyclopts import App

from afterguard.cli.respond_acts import answer, approve, expire, plan, run, undo
from afterguard.cli.respond_cases import cases, clocks, close, export, merge, note, open_, revert, show, split, ticket
from afterguard.cli.respond_drill import drill
from afterguard.cli.respond_evidence import evidence
from afterguard.cli.respond_exercise import exercise, score, times
from afterguard.cli.respond_measures import measures
from afterguard.cli.respond_read import check, glass, playbooks, verify

respond = App(
    name="respond",
    help="An incident, step by step: evidence, containment that is proven, undo.",
    help_format="plaintext",
)
respond.command(open_, name="open")
for command in (cases, show, note, merge, split, revert, close, plan, run, approve, answer, undo, expire, measures, evidence, export, ticket, clocks, exercise, score, drill, times, check, verify, playbooks, glass):  # fmt: skip
    respond.command(command)
