"""A scope's rows: what peers allow a small one, whose company a group keeps, and what one that came lately may call usual."""

from __future__ import annotations

import numpy as np
import pytest

from afterguard.watch.columns import AT
from afterguard.watch.forgotten import Forgotten
from afterguard.watch.kinds import measures
from afterguard.watch.table import DAY, Table

START = 1_780_272_000.0
SLICE = 1_800.0


class Groups:
    """Payees that many pay, a fifth of whom are new to the application; days are fed in half hours."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)
        self.table = Table("payee", measures("payee"), 500)
        self.table.begun = START
        self.now = START
        self.at = {name: self.table.columns.index(c) for name, c in zip(("many", "new"), self._places(), strict=True)}

    def _places(self) -> tuple[int, int]:
        return AT["identities"], AT["new_identities"]

    def feed(self, extra: dict[str, tuple[int, float]], ordinary: bool = True) -> dict[str, float]:
        """Half an hour of the ordinary payees and of `extra` (payments, share by newcomers); the score of new identities over a day, each."""
        self.now += SLICE
        rates = {f"p{n}": (30.0 / (1 + n), 0.2) for n in range(60)} if ordinary else {}
        paid = {name: (int(self.rng.poisson(rate)), share) for name, (rate, share) in rates.items()} | extra
        paid = {name: row for name, row in paid.items() if row[0]}
        rows = self.table.admit(list(paid), self.now)
        amounts = np.zeros((len(rows), len(self.table.columns)), dtype=np.float32)
        for row, (count, share) in enumerate(paid.values()):
            new = int(self.rng.binomial(count, share))
            amounts[row, 0], amounts[row, -1] = count, new
            amounts[row, self.at["many"]], amounts[row, self.at["new"]] = count, new
        self.table.is_free = self.now - START < 8 * DAY
        is_learning = self.now - START < 3 * DAY
        self.table.add(rows, amounts, self.now)
        self.table.look_at_all(self.now, is_learning)
        scores, _, _ = self.table.score(rows, 1.0, 1.0, np.zeros(len(rows), dtype=bool), np.zeros(len(rows)))
        return {name: float(scores[row, 2, self.at["new"]]) for row, name in enumerate(paid)}


@pytest.fixture(scope="module")
def learnt() -> Groups:
    groups = Groups()
    for _ in range(int(9 * DAY / SLICE)):
        groups.feed({})
    return groups


def test_a_payee_of_new_accounts_alone_keeps_bad_company(learnt: Groups) -> None:
    limit = learnt.table.times[learnt.at["new"]]
    for _ in range(16):
        scores = learnt.feed({"mule": (2, 1.0), "shop": (40, 0.2)})
    assert scores["mule"] >= limit
    assert max(score for name, score in scores.items() if name != "mule") < limit


def test_of_a_small_row_less_is_believed_than_of_a_large_one() -> None:
    table = Table("payee", measures("payee"), 500)
    table.jump[:], table.wild[:] = 1_000, 3
    few, many = (table.peers(np.full(table.jump.shape, value, dtype=np.float32)) for value in (1.0, 1e9))
    assert (many == np.maximum(1_000, table.least)).all() and (few >= table.least).all()
    assert (few[:, 0] == np.maximum(3 * np.sqrt(1 + table.least[:, 0]), table.least[:, 0])).all()


def test_what_came_lately_and_grows_is_not_usual_by_that() -> None:
    groups = Groups()
    for step in range(int(15 * DAY / SLICE)):
        day = step * SLICE / DAY
        groups.feed({"creeping": (int(4 * 1.8 ** (day - 9)), 0.2)} if day >= 9 else {})
    table = groups.table
    row = np.array([table.rows["creeping"]])
    assert table.usual[row[0], 0] > 1.5 * table.established[2, 0]
    assert table.expected(row, 1.0)[0, 2, 0] <= max(table.established[2, 0], table.newcomer[2, 0])


def test_a_client_that_many_take_up_is_news_where_the_others_are_larger() -> None:
    table = Table("client", measures("client"), 100)
    table.begun, table.is_free = START, True
    many = table.columns.index(AT["identities"])
    taken = 0.0
    for step in range(int(6 * DAY / SLICE)):
        now = START + step * SLICE
        counts = {"browser": 900, "ios": 500, "android": 300} | ({"plugin": 40} if now >= START + 5 * DAY else {})
        rows = table.admit(list(counts), now)
        amounts = np.zeros((len(rows), len(table.columns)), dtype=np.float32)
        amounts[:, 0] = amounts[:, many] = list(counts.values())
        table.add(rows, amounts, now)
        table.look_at_all(now, now - START < 3 * DAY)
        scores, excess, _ = table.score(rows, 1.0, 1.0, np.ones(len(rows), dtype=bool), np.zeros(len(rows)))
        over = (scores >= table.limits(rows)) & (excess >= table.floors)
        assert now < START + 3 * DAY or not over[:3, :, many].any()
        taken = max(taken, float(over[3:, :, many].sum()))
    assert taken > 0


def test_an_alarm_that_rings_daily_asks_for_more_of_consumption_alone() -> None:
    table = Table("user", measures("user"), 100)
    table.begun = START
    rows = table.admit(["old"], START)
    before = table.limits(rows)[0, 0]
    for _ in range(9):
        table.loosen(1.4)
    after = table.limits(rows)[0, 0]
    assert (after[table.is_consumption] == 3 * before[table.is_consumption]).all()
    assert (after[~table.is_consumption] == before[~table.is_consumption]).all()
    table.learn(np.zeros_like(table.record), 90 * DAY, False)
    assert (table.limits(rows)[0, 0] <= 1.15 * before).all(), "it is forgotten in months"


def test_company_counts_where_new_groups_are_large_by_nature(learnt: Groups) -> None:
    """Every new payee had hundreds of newcomers last week: one of newcomers alone goes beyond its share all the same."""
    table, at = learnt.table, learnt.at["new"]
    rows = table.admit(["few"], learnt.now)
    before = table.newcomer.copy()
    table.newcomer[:, at] = 500
    table.sums[rows, :, 0] = table.sums[rows, :, -1] = table.sums[rows, :, at] = 60
    scores, excess, expected = table.score(rows, 1.0, 1.0, np.zeros(1, dtype=bool), np.zeros(1))
    table.newcomer = before
    assert expected[0, 2, at] == 500 and scores[0, 2, at] > table.times[at] and excess[0, 2, at] > 30


def test_who_comes_once_an_hour_stays_among_thousands_who_come_once_a_day() -> None:
    """A full table: three hundred rows for six hundred devices a day, three requests each; when it is full, one begins to send a single request an hour."""
    table, rng = Table("device", measures("device"), 300), np.random.default_rng(1)
    seen = []
    for step in range(int(3 * DAY / SLICE)):
        now = START + step * SLICE
        is_there = now >= START + DAY and step % 2
        asks = dict.fromkeys(rng.choice(600, 12, replace=False).tolist(), 3) | ({"slow": 1} if is_there else {})
        names = [f"d{name}" for name in asks]
        rows = table.admit(names, now)
        amounts = np.zeros((len(rows), len(table.columns)), dtype=np.float32)
        amounts[:, 0] = list(asks.values())
        table.add(rows, amounts, now)
        if "dslow" in table.rows:
            seen.append(float(table.sums[table.rows["dslow"], 2, 0]))
    assert table.evicted > 500
    assert seen[-1] > 15, "a day's sum of one an hour, with what is fading of the day before"


def test_a_flood_of_strangers_is_not_remembered() -> None:
    forgotten, now = Forgotten(), START
    forgotten.add(["slow", "other"], np.array([7.0, 2.0]), now)
    assert forgotten.of(["slow", "never here"], now).tolist() == [7, 0]
    assert forgotten.of(["slow"], now + DAY) == pytest.approx(7 / np.e, rel=1e-3)
    for minute in range(1, 31):
        forgotten.add([f"s{minute}-{n}" for n in range(5_000)], np.ones(5_000), now + DAY + 60 * minute)
    assert forgotten.of(["slow", "s3-7", "never here"], now + DAY + 1_800).tolist() == [0, 0, 0]
    assert forgotten.of(["never here"], now + 9 * DAY) == 0


def test_who_splits_an_amount_stays_under_the_limit_with_all_he_moves() -> None:
    table = Table("payee", measures("payee"), 500)
    under, moves = table.under, table.moves
    names = ["mule", "shop", "price", "one or two", "half"]
    rows = table.admit(names, START)
    for row, (below, all_) in enumerate([(6, 6), (6, 200), (30, 30), (2, 2), (6, 12)]):
        table.sums[row, :, moves], table.sums[row, :, under] = all_, below
    table.usual[2, moves], table.usual[2, under] = 25, 25
    scores, excess = table._stayed_under(rows, 0.02)
    stands_out = (scores >= table.times[under]) & (excess >= table.floors[:, under])
    for window in range(4):
        assert [bool(one) for one in stands_out[:, window]] == [True, False, False, False, True]
    assert table.stays_under(0, 2, 0.02) == (1, pytest.approx(0.02))
    assert table.is_split and not any(
        Table(scope, measures(scope), 10).is_split for scope in ("client", "app", "shape")
    )
    assert not (table._stayed_under(rows, 1 - 1e-6)[0] >= table.times[under]).any(), "an application full of them"
