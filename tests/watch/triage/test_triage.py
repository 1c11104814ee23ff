"""Triage: what reaches a person, once, and what stays a count."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.errors import UsageError
from afterguard.model import Alert, Confidence, Entity, Range, Severity
from afterguard.watch.triage import Disposition, Owner, Said, Sighting, Suppression, Traffic, Triage, sightings, traffic
from afterguard.watch.triage.growing import begun, fingerprint

NOON = 1_790_000_000.0
DAY = 86_400.0


def seen(kind: str = "canary_leak", time: float = NOON, who: str = "u1", **more: Any) -> Sighting:
    entities = more.pop("entities", (Entity("identity", who), Entity("conversation", f"c-{who}", "means")))
    fields = {"severity": Severity.high, "confidence": Confidence.high, "cause": "canary of notes", "exchange": f"e{time:.3f}", "detector": kind, **more}  # fmt: skip
    return Sighting(time, "desk", kind, entities=entities, **fields)


def known(days: int = 3, a_day: int = 2_000) -> Triage:
    """Triage that has seen some days of an application."""
    triage = Triage()
    for at in range(days * a_day):
        triage.ask(Traffic(NOON - days * DAY + at * DAY / a_day, "desk", f"u{at % 300}", f"c{at % 900}"))
    return triage


def fed(triage: Triage, *ones: Sighting) -> list[Alert]:
    out = []
    for one in ones:
        out += triage.feed(one, one.time)
        triage.ask(Traffic(one.time, one.app, one.of("identity"), one.of("conversation")))
    return out


def test_a_rare_hit_that_had_its_way_is_told_at_once() -> None:
    triage = known()
    (alert,) = fed(triage, seen())
    assert (alert.kind, alert.state, alert.revision, alert.severity) == ("canary_leak", "new", 1, Severity.high)
    assert alert.title == "A planted reference came out" and alert.id.startswith("al-") and alert.case.startswith("in-")
    assert alert.touched == {"identity": 1, "conversation": 1} and alert.exchanges == (f"e{NOON:.3f}",)


def test_what_was_held_off_is_a_count_and_no_alert() -> None:
    triage = known()
    assert fed(triage, *(seen(time=NOON + at, is_held_off=True) for at in range(500))) == []
    assert triage.counts.held_off == 500 and triage.counts.raised == 0


def test_the_same_is_the_same_alert_and_told_again_when_it_doubles() -> None:
    triage = known()
    told = fed(triage, *(seen(time=NOON + at * 60, who=f"u{at}") for at in range(600)))
    assert len({one.id for one in told}) == 1 and [one.state for one in told[:2]] == ["new", "updated"]
    assert [one.revision for one in told] == list(range(1, len(told) + 1)) and 4 <= len(told) <= 12
    assert told[-1].touched["identity"] >= 300 and told[-1].risk > told[0].risk
    assert triage.counts.raised == 1 and triage.counts.joined + triage.counts.revised == 599


def test_it_ends_after_a_quiet_week_and_begins_anew() -> None:
    triage = known()
    (first,) = fed(triage, seen())
    assert triage.tick(NOON + 6 * DAY) == []
    (over,) = triage.tick(NOON + 8 * DAY)
    assert (over.state, over.id) == ("closed", first.id)
    (again,) = fed(triage, seen(time=NOON + 9 * DAY))
    assert again.id != first.id and again.fingerprint == first.fingerprint


def test_noise_raises_next_to_nothing_and_an_abuser_in_it_is_found() -> None:
    draw, triage = random.Random(7), Triage()
    told: list[Alert] = []
    for at in range(60_000):
        time, who = NOON + at * 4 * DAY / 60_000, f"u{draw.randrange(2_000)}"
        if draw.random() < 0.05:
            told += fed(triage, seen("jailbreak", time, who, severity=Severity.medium, confidence=Confidence.medium, cause=f"family {draw.random()}" if draw.random() < 0.5 else f"script {draw.randrange(6)}"))  # fmt: skip
        else:
            triage.ask(Traffic(time, "desk", who, f"c-{who}"))
    # The first day learns: what is usual is not known yet. After it nothing is new about noise.
    assert len([one for one in told if one.state == "new"]) <= 15
    assert [one for one in told if one.state == "new" and one.first_seen > NOON + DAY] == []
    end = NOON + 4 * DAY
    found = fed(triage, *(seen("jailbreak", end + at * 30, "mallory", severity=Severity.medium, confidence=Confidence.medium, cause=f"family m{at}") for at in range(30)))  # fmt: skip
    new = [one for one in found if one.state == "new"]
    assert len(new) == 1 and "mallory" in {entity.name for entity in new[0].entities}
    assert new[0].kind in ("hits_of_one_conversation", "hits_of_one_identity")
    assert [(one.kind, one.severity) for one in found[-1].hits] == [("jailbreak", Severity.medium)]


def test_from_probing_to_acting_in_one_conversation_is_news_among_noise() -> None:
    draw, triage = random.Random(3), Triage()
    for at in range(40_000):
        time, who = NOON + at * 4 * DAY / 40_000, f"u{draw.randrange(4_000)}"
        kind = draw.choice(("jailbreak", "unexplained_tool_call"))
        if draw.random() < 0.01:
            fed(triage, seen(kind, time, who, severity=Severity.medium, confidence=Confidence.medium, cause=f"f{at}"))
        else:
            triage.ask(Traffic(time, "desk", who, f"c-{who}"))
    steps = [("jailbreak", True), ("jailbreak", False), ("injection_followed", False), ("unexplained_tool_call", False)]
    told = fed(triage, *(seen(kind, NOON + 4 * DAY + at * 20, "eve", cause=f"x{at}", is_held_off=held) for at, (kind, held) in enumerate(steps)))  # fmt: skip
    assert {"eve"} <= {entity.name for one in told for entity in one.entities}


def test_an_alarm_of_the_watch_is_an_alert_and_its_notices_are_not() -> None:
    triage = known()
    alarm = seen("scraping", is_alarm=True, cause="user u1", count=500, exchanges=("a", "b"))
    assert [one.count for one in fed(triage, alarm)] == [500]
    assert fed(triage, msgspec.structs.replace(alarm, time=NOON + 60, count=1)) == []
    assert fed(triage, seen("traffic_surge", is_alarm=True, severity=Severity.info, cause="app desk")) == []


def test_what_a_person_set_aside_stays_aside_until_it_grows() -> None:
    mark = fingerprint("default", "desk", "canary_leak", "canary of notes")
    said = Said(
        dispositions=(Disposition(mark, "benign_positive", "ana", NOON, severity=Severity.critical, a_day=2.0),)
    )
    triage = known()
    triage.said = said
    (hidden,) = fed(triage, seen())
    assert hidden.suppressed == "benign positive says ana"
    told = fed(triage, *(seen(time=NOON + 60 * at) for at in range(1, 30)))
    assert told and told[0].state == "new" and told[0].suppressed == ""
    assert told[0].count > 8, "it is four times as much a day as when it was set aside"


def test_other_things_of_the_same_kind_are_not_hidden_with_it() -> None:
    mark = fingerprint("default", "desk", "canary_leak", "canary of notes")
    triage = known()
    triage.said = Said(dispositions=(Disposition(mark, "false_positive", "ana", NOON),))
    assert [one.suppressed for one in fed(triage, seen(cause="canary of payroll"))] == [""]
    tool = (Entity("identity", "u1"), Entity("tool", "send_mail", "means"))
    assert [one.suppressed for one in fed(triage, seen(entities=tool))] == [""], "a tool it was not about then"


def test_verdicts_teach_how_likely_a_detector_is_right() -> None:
    rows = tuple(Disposition(f"{at}", "false_positive", "ana", NOON + at, detector="canary_leak", kind="canary_leak") for at in range(40))  # fmt: skip
    triage = known()
    (before,) = fed(triage, seen())
    triage = known()
    triage.said = Said(dispositions=rows)
    (after,) = fed(triage, seen())
    assert before.likelihood == 0.9 and after.likelihood == 0.18 and after.risk < before.risk


def test_a_suppression_has_a_reason_an_owner_and_an_end() -> None:
    rule = Suppression(
        "s1", {"kind": "canary_leak", "app": "desk"}, "test of the red team", "ana", NOON - 10, NOON + DAY
    )
    triage = known()
    triage.said = Said(suppressions=(rule,))
    (hidden,) = fed(triage, seen())
    assert "red team" in hidden.suppressed and triage.counts.suppressed == 1
    told = fed(triage, seen(time=NOON + 2 * DAY))
    assert [one.state for one in told] == ["new"], "it ended, and the alert is still going on"
    for wrong in ({"reason": " "}, {"who": ""}, {"expires": NOON + 400 * DAY}, {"expires": NOON - 20}):
        with pytest.raises(UsageError):
            Said(suppressions=(msgspec.structs.replace(rule, **wrong),))


def test_alerts_over_one_document_are_one_incident_and_hubs_link_nothing() -> None:
    triage = known()
    document = Entity("document", "d77", "means")
    one = fed(triage, seen("injection_followed", cause="a", entities=(Entity("identity", "u1"), document)))[0]
    two = fed(triage, seen("exfil_link", NOON + 3_600, cause="b", entities=(Entity("identity", "u2"), document)))[0]
    other = fed(triage, seen("tool_changed", NOON + 3_700, cause="c", entities=(Entity("identity", "u3"),)))[0]
    assert one.case == two.case != other.case
    assert (one.linked_by, two.linked_by) == ("", "document d77")
    hub = Entity("document", "handbook", "means")
    cases = [fed(triage, seen(f"tool_{at}", NOON + at, is_alarm=True, cause=f"z{at}", entities=(Entity("identity", f"v{at}"), hub)))[0].case for at in range(40)]  # fmt: skip
    assert len(set(cases[:20])) == 1 and len(set(cases[20:])) == 20


def test_more_names_than_are_kept_are_the_least_there_were() -> None:
    triage = known()
    told = fed(triage, *(seen(time=NOON + at, who=f"n{at}") for at in range(1_100)))
    (growing,) = (one for one in triage.open.values() if one.kind == "canary_leak")
    last = growing.alert(NOON, 0.5, None, "", "updated")
    assert (
        told[0].at_least == () and last.at_least == ("conversation", "identity") and last.touched["identity"] == 1_000
    )


def test_money_and_owner_come_as_rows() -> None:
    triage = known()
    triage.prices, triage.currency = {"canary_leak": Range(1e4, 5e6, 2e7)}, "EUR"
    triage.said = Said(owners=(Owner("payments team", {"app": "pay"}), Owner("desk team")))
    (alert,) = fed(triage, seen())
    assert (alert.severity, alert.currency, alert.owner) == (Severity.critical, "EUR", "desk team")
    assert alert.money == Range(1e4, 5e6, 2e7)


def accounts(first: int, last: int, at: float = NOON, **more: Any) -> list[Sighting]:
    """Alarms of one kind, each about another account."""
    more = {"severity": Severity.medium, "is_alarm": True, **more}
    return [seen("account_takeover", at + n, f"w{n}", cause=f"user w{n}", **more) for n in range(first, last)]


def test_many_of_one_kind_share_an_alert_that_comes_to_name_them_all() -> None:
    triage = known()
    new = [one for one in fed(triage, *accounts(0, 40)) if one.state == "new"]
    assert [one.cause for one in new[:2]] == ["user w0", "user w1"] and len(new) == 3
    shared = new[2]
    assert shared.kind == "account_takeover" and shared.title == f"Several at once: {new[0].title}"
    assert shared.touched["identity"] == 1 and shared.case.startswith("in-")
    assert triage.tick(NOON + 600) == [], "not every one at once"
    (later,) = triage.tick(NOON + 3_700)
    assert (later.id, later.state, later.touched["identity"]) == (shared.id, "updated", 38)
    assert triage.tick(NOON + 7_400) == [], "nobody is owed any more"
    assert triage.counts.shared == 38 and triage.counts.raised == 3


def test_what_is_shared_ends_with_the_day_and_leaves_out_the_gravest_and_what_was_set_aside() -> None:
    rule = Suppression("s", {"identity": "w0"}, "a drill", "ana", NOON - 10, NOON + DAY)
    triage = known()
    triage.said = Said(suppressions=(rule,))
    told = fed(triage, *accounts(0, 4), *accounts(4, 5, severity=Severity.critical))
    assert [bool(one.suppressed) for one in told] == [True, False, False, False, False], "it takes nobody's room"
    assert [one.title.startswith("Several") for one in told] == [False, False, False, True, False]
    assert told[-1].severity is Severity.critical
    day_after = fed(triage, *accounts(10, 14, NOON + DAY))
    assert [one.title.startswith("Several") for one in day_after] == [False, False, True]
    assert day_after[-1].id != told[3].id


def test_beyond_a_days_most_one_alert_counts_the_rest() -> None:
    triage = known()
    triage.most = 5
    told = fed(triage, *(seen(f"kind_{at}", NOON + at, f"w{at}", severity=Severity.medium, cause=f"{at}") for at in range(40)))  # fmt: skip
    new = [one for one in told if one.state == "new"]
    assert len(new) == 6 and new[-1].kind == "alerts_beyond" and triage.counts.beyond == 35
    growing = triage.open[new[-1].fingerprint]
    assert growing.count == 35 and len(growing.hits()) == 35 and new[-1].hits[0].kind == "kind_5"


def test_what_is_inside_an_alert_is_told_by_kind_the_worst_that_had_its_way_first() -> None:
    first = seen("jailbreak", severity=Severity.medium)
    growing = begun(first, "hits_of_one_identity", "identity u1")
    for one in (first, seen("exfil_link", severity=Severity.critical, is_held_off=True), seen("canary_leak"), seen("jailbreak", severity=Severity.low), seen("jailbreak", is_held_off=True)):  # fmt: skip
        growing.add(one)
    assert [msgspec.structs.astuple(one) for one in growing.hits()] == [
        ("canary_leak", Severity.high, 1, 0),
        ("jailbreak", Severity.medium, 3, 1),
        ("exfil_link", Severity.critical, 1, 1),
    ]
    alone = begun(seen(), "canary_leak", "c")
    alone.add(seen())
    assert alone.hits() == ()
    for at in range(200):
        growing.add(seen(f"kind_{at}"))
    assert len(growing.hits()) == 50 and growing.count == 205


LINE = {
    "class_uid": 6003, "time": NOON * 1000, "metadata": {"uid": "x1", "log_name": "guard"}, "api": {"operation": "chat", "service": {"name": "openai", "uid": "desk"}},
    "actor": {"user": {"uid": "0a1b"}, "app_name": "desk"}, "ai_model": {"name": "m"}, "message_context": {"uid": "conv"}, "policy": {"version": "strict@7"},
    "unmapped": {"afterguard": {"action": "allow", "tools": ["send_mail"], "documents": ["d1"], "prompt": "p1", "taxonomies": ["LLM01:2025"], "hits": [
        {"kind": "exfil_link", "detector": "exfil_link", "severity": "high", "confidence": "high", "excerpt": "…", "cause": "https://x/*", "rule": "r"}, {"kind": "inventory", "severity": "info"}]}},
}  # fmt: skip


def test_a_line_of_the_decision_log_is_read() -> None:
    (one,) = sightings(LINE)
    about = traffic(LINE)
    assert about is not None and (about.app, about.identity, about.conversation) == ("desk", "0a1b", "conv")
    assert (one.kind, one.exchange, one.policy, one.is_held_off) == ("exfil_link", "x1", "strict@7", False)
    assert [(e.kind, e.name) for e in one.entities] == [("identity", "0a1b"), ("conversation", "conv"), ("mount", "desk"), ("model", "m"), ("prompt", "p1"), ("tool", "send_mail"), ("document", "d1")]  # fmt: skip


def test_a_document_in_which_a_hit_stands_is_its_source_whatever_else_comes() -> None:
    def of(**hit: Any) -> dict[str, Any]:
        own = LINE["unmapped"]["afterguard"] | {"documents": ["d1", "d2"], "hits": [{"kind": "injection_followed", "severity": "high", "confidence": "high", "cause": "x", **hit}]}  # type: ignore[index, operator]  # fmt: skip
        return LINE | {"unmapped": {"afterguard": own}}

    triage = Triage()
    told = [alert for line in (of(), of(document="d2"), of()) for one in sightings(line) for alert in triage.feed(one, NOON)]  # fmt: skip
    assert [(one.name, one.role) for one in told[0].entities if one.kind == "document"] == [("d1", "means"), ("d2", "means")]  # fmt: skip
    (growing,) = triage.open.values()
    assert growing.entities["document"] == {"d1": "means", "d2": "source"}
    assert [one.name for one in growing.alert(NOON, 0.5, None, "", "new").entities if one.kind == "document"] == ["d2", "d1"]  # fmt: skip


WORDS = st.sampled_from([*LINE, *LINE["unmapped"]["afterguard"], "kind", "severity", "high", "afterguard", "uid", "user", "watch", "log_name", "why", "scope", "who", "callers", "exchanges", "exchanges_total"])  # type: ignore[misc]  # fmt: skip
ANY = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        WORDS,
        st.sampled_from([6003, 2004]),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=6)),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(WORDS, ANY, max_size=8), st.sampled_from([6003, 2004, None]), ANY)
def test_no_line_breaks_it(line: dict[str, Any], kind: int | None, own: Any) -> None:
    triage = Triage()
    hostile = {**line, "class_uid": kind, "metadata": {"log_name": "watch"}, "unmapped": {"afterguard": own}}
    for one in sightings(hostile):
        triage.feed(one, max(one.time, 0.0))
        msgspec.json.encode(one)
    about = traffic(hostile)
    if about is not None:
        triage.ask(about)


def test_a_grave_hit_is_not_swallowed_by_the_small_ones_before_it() -> None:
    triage = known()
    small = [seen("injection_ignored", NOON + at, severity=Severity.medium, cause=f"passage {at}") for at in range(4)]
    grave = seen("injection_followed", NOON + 5, severity=Severity.critical, cause="passage 3")
    told = fed(triage, *small, grave, msgspec.structs.replace(grave, time=NOON + 6))
    kinds = [one.kind for one in told if one.state == "new"]
    assert kinds.count("injection_followed") == 1 and told[-1].severity is Severity.critical
    assert len({one.case for one in told}) == 1, "both are one incident"


def test_the_first_grave_hit_of_an_applications_first_minutes_is_told() -> None:
    triage = Triage()
    for at in range(20):
        triage.ask(Traffic(NOON + at, "desk", "u1", "c1"))
    (alert,) = fed(triage, seen(time=NOON + 30))
    assert alert.kind == "canary_leak"
    rest = fed(triage, *(seen("canary_leak", NOON + 31 + at, who=f"w{at}", cause=f"canary {at}") for at in range(30)))
    assert sum(one.kind == "canary_leak" and one.state == "new" for one in rest) <= 9, (
        "and no more than a few of a kind"
    )


def test_a_model_that_answers_otherwise_is_named_without_its_prompt() -> None:
    line = {"class_uid": 2004, "time": 1, "metadata": {"log_name": "watch"}, "unmapped": {"afterguard": {"kind": "response_drift", "route": "openai", "why": {"scope": "model", "who": "gpt-4o 959b0980b7b7d0fb"}}}}  # fmt: skip
    (one,) = sightings(line)
    assert {(e.kind, e.name) for e in one.entities} == {("model", "gpt-4o"), ("prompt", "959b0980b7b7d0fb")}
    assert one.model == "gpt-4o" and one.app == "openai"
