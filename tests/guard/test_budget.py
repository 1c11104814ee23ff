"""Budgets of the watch: how they are written, and that one that is gone is a line of the log."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from afterguard.config import Config, GuardConfig
from afterguard.errors import UsageError
from afterguard.guard.budget import budgets
from afterguard.guard.decision import seen
from afterguard.guard.journal import Journal
from afterguard.guard.lookout import Lookout
from afterguard.guard.metrics import Metrics
from afterguard.guard.part import Place
from afterguard.jobs.guard import plan
from afterguard.watch.budgets import Budget
from afterguard.watch.site import Settings

from . import running
from .test_notice import ASKED, over, said


def test_rows() -> None:
    assert budgets(["user:tokens/day=2000000", "tenant=acme:cost/month=5e2", " app:requests/minute=60 "]) == (
        Budget("user", "tokens", "day", 2_000_000),
        Budget("tenant", "cost", "month", 500, "acme"),
        Budget("app", "requests", "minute", 60),
    )


@pytest.mark.parametrize(
    "row",
    ["", "user", "user:tokens=5", "user:tokens/week=5", "user:words/day=5", "who:tokens/day=5", "user:tokens/day=0", "user:tokens/day=nan", "user:tokens/day=-1", "user=:tokens/day=1"],
)  # fmt: skip
def test_a_row_that_is_no_budget(row: str) -> None:
    with pytest.raises(UsageError, match="no budget"):
        budgets([row])


def test_a_budget_that_nobody_watches_is_said(tmp_path: Path) -> None:
    config = msgspec.structs.replace(
        Config(), guard=GuardConfig(upstream=["openai=http://127.0.0.1:9"], watch_budget=["app:requests/day=2"])
    )
    with pytest.raises(UsageError, match=r"guard\.watch_budget without the watch"):
        plan(config, tmp_path, tmp_path / "log")


def test_a_budget_that_is_gone_is_a_line(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    place = Place(tmp_path, Journal(log), Metrics(), running.pseudonym)
    one = Lookout(place, settings=Settings(budgets=budgets(["app:requests/day=2"])))
    session = over(ASKED, said({"content": "Done."}))
    for moment in range(3):
        one.saw(session, seen(session, 1_000.0 + moment, 0.1, 0.0))
    asyncio.run(one.step(5_000.0))
    one.journal.close()
    (row,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert row["unmapped"]["afterguard"]["kind"] == "budget_gone" and "2.00 requests per day is gone" in row["message"]
