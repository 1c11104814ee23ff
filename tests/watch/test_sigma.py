"""Sigma rules over exchanges: what our own say of their samples, what is refused, what memory and time do."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.errors import UsageError
from afterguard.export import sigma as exported
from afterguard.watch import sigma_correlation
from afterguard.watch.sigma import Engine, flat, load

NAMES = list(exported.rules())
EVERY = [one for text in exported.rules().values() for one in load(text)]
ID = "5b1e2a9e-4f0a-4f6a-9f0e-0f2d6f0a1b1"
BASE = f"""
title: Any call
id: {ID}1
name: any_call
logsource: {{product: afterguard, service: ai_exchange}}
detection: {{all: {{class_uid: 6003}}, condition: all}}
"""
HEAD = {"title": "Two", "id": ID + "2", "name": "two"}


def call(at: float, **more: Any) -> dict[str, Any]:
    return {"class_uid": 6003, "time": int(1.79e12 + at * 1000), "metadata": {"uid": f"e{at:g}"}, **more}


def correlating(kind: str = "event_count", **more: Any) -> Engine:
    given = {
        "type": kind,
        "rules": ["any_call"],
        "timespan": "1m",
        "group-by": ["who"],
        "condition": {"gte": 3},
        **more,
    }
    body = {key: value for key, value in given.items() if value is not None}
    return Engine(load(BASE + "---\n" + yaml.safe_dump(HEAD | {"correlation": body})))


@pytest.mark.parametrize("name", NAMES)
def test_rule_hits_and_misses_its_samples(name: str) -> None:
    mine = load(exported.rules()[name])[0].id
    for kind, runs in exported.samples(name).items():
        assert runs
        for run in runs:
            engine = Engine(EVERY)
            engine.quiet -= {mine}
            found = [one for event in run for one in engine.feed(event) if one.rule == mine]
            assert bool(found) == (kind == "hits"), (kind, run)


def test_rules_are_well_formed() -> None:
    assert len({one.id for one in EVERY}) == len(NAMES) >= 20
    assert all(one.name in NAMES for one in EVERY)


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("class_uid: 6003", "class_uid|is_not: 6003", "modifier"),
        ("class_uid: 6003", "'unmapped.x|count|gte': 3", "modifier"),
        ("condition: all", "condition: all | count() > 3", "|"),
        ("condition: all", "condition: al", "al"),
        ("condition: all", "condition: all, timeframe: 5m", "timeframe"),
        ("product: afterguard", "product: windows", "logsource"),
        ("ai_exchange", "ai_exchanges", "service"),
        (f"{ID}1", "not-a-uuid", "UUID"),
        ("title: Any call", "title: Any call\nlevel: urgent", "level"),
        ("title: Any call", "title: Any call\nstatus: great", "status"),
        ("title: Any call", "title: &a Any call\ndescription: *a", "anchors"),
        ("title: Any call", "title: [", "YAML"),
        ("detection:", "detections:", "detection"),
    ],
)
def test_what_cannot_be_done_is_refused(was: str, becomes: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        load(BASE.replace(was, becomes))
    assert says in str(error.value) and error.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "value_sum"}, {"condition": {"lt": 3}}, {"condition": {"gte": 3, "lt": 9}}, {"condition": {"gte": 0}}, {"timespan": "soon"},
        {"timespan": "0m"}, {"rules": []}, {"rules": ["nobody"]}, {"every": 1}, {"condition": None}, {"condition": {"gte": 3, "field": "x"}},
        {"type": "value_count"}, {"type": "temporal"}, {"aliases": [1]}, {"group-by": {"a": 1}}, {"rules": ["two"]},
    ],
)  # fmt: skip
def test_correlations_that_cannot_be_done_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        correlating(**({"kind": wrong.pop("type")} if "type" in wrong else {}), **wrong)


def test_events_are_counted_in_a_sliding_window() -> None:
    engine = correlating()
    quiet = [engine.feed(call(at, who="a")) for at in (0, 50, 100)]  # three, but never within a minute
    assert not any(quiet)
    (found,) = engine.feed(call(105, who="a"))
    assert (found.group, found.count, found.events) == ({"who": "a"}, 3, ("e50", "e100", "e105"))
    assert not engine.feed(call(106, who="a")), "said once a span"
    assert not engine.feed(call(107, who="b"))
    assert [len(engine.feed(call(at, who="a"))) for at in (150, 166, 167)] == [0, 1, 0], "and again while it goes on"


def test_values_are_counted_once() -> None:
    engine = correlating("value_count", condition={"field": "actor.user.uid", "gte": 3})
    calls = [call(n, who="x", actor={"user": {"uid": uid}}) for n, uid in enumerate("aabbc")]
    assert [len(engine.feed(one)) for one in calls] == [0, 0, 0, 0, 1]


def test_order_matters_only_where_it_is_said() -> None:
    first, second = (
        BASE,
        BASE.replace(f"{ID}1", f"{ID}3").replace("any_call", "flagged").replace("{class_uid: 6003}", "{flag: true}"),
    )
    for kind, reached in (("temporal", 1), ("temporal_ordered", 0)):
        body = {"type": kind, "rules": ["any_call", "flagged"], "timespan": "1m", "group-by": ["who"]}
        engine = Engine(
            load(
                first.replace("{class_uid: 6003}", "{plain: true}")
                + "---"
                + second
                + "---\n"
                + yaml.safe_dump(HEAD | {"correlation": body})
            )
        )
        assert (
            sum(len(engine.feed(one)) for one in (call(0, who="a", flag=True), call(9, who="a", plain=True))) == reached
        )
        assert (
            sum(len(engine.feed(one)) for one in (call(200, who="a", plain=True), call(209, who="a", flag=True))) == 1
        )


def test_aliases_join_fields_of_different_names() -> None:
    other = (
        BASE.replace(f"{ID}1", f"{ID}3")
        .replace("any_call", "alerted")
        .replace("ai_exchange", "ai_alert")
        .replace("6003", "2004")
    )
    body = {
        "type": "temporal",
        "rules": ["any_call", "alerted"],
        "timespan": "1m",
        "group-by": ["who"],
        "aliases": {"who": {"any_call": "user", "alerted": "victim"}},
    }
    engine = Engine(load(BASE + "---" + other + "---\n" + yaml.safe_dump(HEAD | {"correlation": body})))
    assert not engine.feed(call(0, user="a")) and not engine.feed(call(1, victim="b", user="c") | {"class_uid": 2004})
    assert len(engine.feed(call(2, victim="a") | {"class_uid": 2004})) == 1


def test_correlation_of_correlations() -> None:
    text = yaml.safe_dump(
        {
            "title": "Three",
            "id": ID + "4",
            "correlation": {
                "type": "event_count",
                "rules": ["two"],
                "timespan": "1h",
                "group-by": ["who"],
                "condition": {"gte": 2},
            },
        }
    )
    body = {"type": "event_count", "rules": ["any_call"], "timespan": "1m", "group-by": ["who"], "condition": {"gt": 1}}
    engine = Engine(load(BASE + "---\n" + yaml.safe_dump(HEAD | {"correlation": body}) + "---\n" + text))
    found = [one.title for at in (0, 1, 100, 101) for one in engine.feed(call(at, who="a"))]
    assert found == ["Three"], "what serves a correlation does not speak for itself"


def test_events_without_group_time_or_class_are_left_out_and_counted() -> None:
    engine = correlating()
    assert not any(engine.feed(call(n)) for n in range(9))
    assert not any(engine.feed({"class_uid": 6003, "who": "a"}) for _ in range(9))
    assert not any(engine.feed({"class_uid": 4001, "who": "a"}) for _ in range(9))
    assert engine.counts["untimed"] == 9 and engine.counts["fed"] == 27
    engine.feed(call(900, who="late"))
    engine.feed(call(1, who="late"))
    assert engine.counts["late"] == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sigma_correlation, "GROUPS_CAP", 50)
    engine = correlating("value_count", condition={"field": "value", "gte": 5})
    for n in range(2_000):
        engine.feed(call(n / 100, who=f"w{n % 400}", value=f"v{n}"))
    groups = next(iter(engine.groups.values()))
    assert len(groups.held) == 50 and engine.counts["forgotten"] >= 1_900
    assert all(len(one.values) <= 20 and len(one.events) <= 20 for one in groups.held.values())


def test_lists_of_maps_become_lists_of_values() -> None:
    assert flat({"a": {"b": [{"c": 1}, {"c": 2, "d": [3]}]}, "e": None}) == {"a.b.c": [1, 2], "a.b.d": [3], "e": None}


scalars = st.none() | st.booleans() | st.integers(-9, 9_999) | st.text(max_size=12) | st.floats()
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=10,
)
words = st.sampled_from(
    [
        "title",
        "id",
        "name",
        "logsource",
        "product",
        "afterguard",
        "service",
        "ai_exchange",
        "detection",
        "condition",
        "correlation",
        "type",
        "event_count",
        "rules",
        "timespan",
        "1m",
        "group-by",
        "gte",
        "sel",
        "1 of sel*",
        "not sel",
        "field|contains",
        ID + "1",
    ]
)
shaped = st.recursive(
    words | scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5),
    max_leaves=16,
)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=80) | shaped.map(yaml.safe_dump) | st.tuples(st.just(BASE), st.text(max_size=40)).map("".join))
def test_any_text_loads_or_is_refused(text: str) -> None:
    try:
        assert load(text)
    except UsageError as error:
        assert error.hint and error.slug == "bad-rule"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["time", "metadata", "unmapped", "actor", "message_context", "status_code", "risk_score"]),
            trees,
            max_size=5,
        ),
        max_size=4,
    )
)
def test_any_event_is_taken(events: list[dict[str, Any]]) -> None:
    engine = Engine(EVERY)
    for event in events:
        for kind in (6003, 2004):
            engine.feed({**event, "class_uid": kind})
