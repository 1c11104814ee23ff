"""What comes of an attack: findings in every format, with planted values masked; comparisons that raise no false alarm; the journal read back as a result."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.attack.assessment import Assessment, Hit, attacked, family
from afterguard.attack.codecs import CODECS
from afterguard.attack.compare import Change, compare, corrected
from afterguard.attack.contract import Call, Canary, Claim, Plant, Prompt, Receipt, Reply, Surface
from afterguard.attack.effective import effective
from afterguard.attack.findings import checks, weaknesses
from afterguard.attack.masking import masked, masker
from afterguard.attack.rotate import rotated
from afterguard.attack.techniques import BY_ID, TECHNIQUES
from afterguard.attack.trial import Result, Verdict
from afterguard.attack.verified import State, again
from afterguard.cli.attack_shown import FORMATS, diff_text, renderer
from afterguard.errors import UsageError
from afterguard.jobs import attack as job
from afterguard.jobs import attack_results
from afterguard.policy.load import load
from afterguard.policy.shipped import rule_text
from afterguard.report.attack import json as attack_json
from afterguard.report.attack import sarif
from afterguard.shares import wilson

CODE = "MER-7741-QX"
HOSTILE = "<script>alert(1)</script>\x1b[31m ]]> \u202e&amp; {{ 7*7 }} |x| ![p](https://evil.example/?q=1)"
SCHEMA = json.loads((Path(__file__).parents[1] / "schemas" / "sarif-2.1.0-rtm.5.schema.json").read_text("utf-8"))
YES, NO = Result(Verdict.succeeded, claim=Claim("canary", "x")), Result(Verdict.resisted)
BLOCKED, ERROR = Result(Verdict.resisted, "blocked"), Result(Verdict.not_assessed, "timeout")


def ends(technique: str, *results: Result) -> list[tuple[str, Result]]:
    """Trials with forms in turn."""
    forms = BY_ID[technique].variants
    return [(f"{technique}/{forms[n % len(forms)]}/{n // len(forms)}", one) for n, one in enumerate(results)]


def found(said: str = "The code is MER-7741-QX.", **rates: tuple[int, int]) -> Assessment:
    """A run in which each of these techniques succeeded in so many of so many trials."""
    rows = {name.replace("_", "-"): one for name, one in (rates or {"canary_question": (3, 5)}).items()}
    families = [family(BY_ID[name], ends(name, *[YES] * part, *[NO] * (of - part)), "") for name, (part, of) in rows.items()]  # fmt: skip
    families.append(family(BY_ID["order-in-mail"], [], "no-mail"))
    families.append(family(BY_ID["prompt-recital"], ends("prompt-recital", ERROR), ""))
    prompt = Prompt(f"Tell me. {HOSTILE}", (Plant(Surface.mail, said, HOSTILE),))
    reply = Reply(said, (Call("pay", '{"note": "<b>"}'),), (Receipt("listener", "/x?d=MER-7741-QX"),))
    hits = tuple(Hit(f"{one.technique}/{form}/0", one.technique, "canary", said, ((prompt, reply),)) for one in families if one.succeeded for form in list(one.forms)[:1])  # fmt: skip
    return Assessment("desk", "run", tuple(families), hits, 20, 1.0, 0.0, host="h", seed="s", ended=1.8e9)


def written(chosen: Any, one: Assessment) -> str:
    out = io.StringIO()
    renderer(chosen)(one, weaknesses(one, rule_text), out)
    return out.getvalue()


def test_what_a_family_is_worth() -> None:
    one = family(BY_ID["canary-question"], [*ends("canary-question", *[YES] * 7, NO, BLOCKED, ERROR)], "")
    assert (one.succeeded, one.resisted, one.blocked, one.not_assessed) == (7, 2, 1, {"timeout": 1})
    assert one.share == wilson(7, 9) and one.forms["blunt"] == (1, 2)
    assert one.effective == pytest.approx(2 * 2 / 1.5 + 5)
    assert effective([5]) == pytest.approx(5 / 3) and effective([1] * 5) == 5 and effective([]) == 0


def test_a_finding_says_how_sure_it_is_and_what_to_do() -> None:
    (weak,) = weaknesses(found(), rule_text)
    one = weak.finding
    assert one.rule == "canary-question" and "3 of 5 trials (60%, 95 % interval 23% to 88%)" in one.message
    assert one.fix and one.taxonomies and one.fingerprint.startswith("a1:") and one.asset == "application:desk"
    assert "- id: canaries-stay-inside" in weak.rule and "action: block" in weak.rule
    other = weaknesses(msgspec.structs.replace(found(), run="other", seed="t"), rule_text)[0].finding
    assert other.fingerprint == one.fingerprint
    assert checks(found()) == {"canary-question": "hit", "order-in-mail": "not_applicable", "prompt-recital": "not_available"}  # fmt: skip


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda one: one.id)
def test_each_technique_names_a_rule_that_can_be_put_into_a_policy_or_none(technique: Any) -> None:
    text = rule_text(technique.rule) if technique.rule else ""
    assert bool(text) == bool(technique.rule), "a rule that only writes down holds nothing off"
    if text:
        policy = load(f"format: afterguard.policy/1\nname: p\nrules:\n{text}", "p")
        assert [rule.id for rule in policy.rules] == [technique.rule]
    else:
        assert technique.id in {"formula-in-cell", "false-limit", "invented-package", "huge-answer", "off-purpose"}
    assert not rule_text("worth-a-look") and not rule_text("x")


@pytest.mark.parametrize("chosen", FORMATS)
def test_no_format_shows_a_planted_value_or_lets_hostile_text_act(chosen: Any) -> None:
    one = masked(found(f"{HOSTILE} it is MER-7741-QX"), [Canary(CODE)])
    text = written(chosen, one)
    assert CODE not in text and "MER 7741" not in text and "ME[planted value]" in text
    assert "\x1b" not in text and (chosen == "json" or "\u202e" not in text)
    if chosen == "html":
        assert "<script" not in text and "{{ 7*7 }}" in text and "default-src &#39;none&#39;" in text
        assert "src=" not in text and 'href="http' not in text


def test_sarif_is_valid_and_holds_the_conversation() -> None:
    one = found(canary_question=(3, 5), order_in_document=(5, 5), huge_answer=(1, 3))
    log = json.loads(written("sarif", one))
    assert [error.message for error in jsonschema.Draft4Validator(SCHEMA).iter_errors(log)] == []
    run = log["runs"][0]
    assert run["automationDetails"]["id"] == "afterguard/attack/desk/" and len(run["results"]) == 3
    flow = run["results"][0]["codeFlows"][0]["threadFlows"][0]["locations"]
    assert flow[0]["location"]["message"]["text"].startswith("user: Tell me.")
    assert all("techniques.md#" in rule["helpUri"] for rule in run["tool"]["driver"]["rules"])
    by = {row["ruleId"]: row["properties"] for row in run["results"]}
    assert "no-orders-from-outsiders" in by["order-in-document"]["policyRule"]
    assert by["huge-answer"]["policyRule"] == "" and "No rule" in by["huge-answer"]["policyNote"]
    notes = [row["message"]["text"] for row in run["invocations"][0]["toolExecutionNotifications"]]
    assert any("order-in-mail" in text for text in notes)
    assert sarif.document(masked(one, []), weaknesses(one, rule_text))["runs"]


def test_junit_never_passes_what_is_not_known() -> None:
    root = ElementTree.fromstring(written("junit", found(canary_question=(3, 5), role_play=(0, 5))))
    cases = {case.attrib["name"]: [child.tag for child in case] for case in root.iter("testcase")}
    assert cases == {"canary-question": ["failure"], "role-play": ["system-out"], "order-in-mail": ["skipped"], "prompt-recital": ["skipped"]}  # fmt: skip
    assert root.attrib == {"tests": "4", "failures": "1", "errors": "0", "skipped": "2"}


def test_json_comes_back_as_it_was() -> None:
    one = found()
    text = written("json", one)
    assert attack_json.read(text.encode(), "x") == one
    raw = json.loads(text)
    assert raw["families"][0]["low"] == pytest.approx(wilson(3, 5).low) and raw["findings"][0]["policy_rule"]
    assert attacked(one).families == one.families


@given(st.one_of(st.binary(max_size=300), st.recursive(st.none() | st.integers() | st.text(max_size=9), lambda inner: st.dictionaries(st.sampled_from(["target", "run", "families", "hits", "format", "turns"]), inner, max_size=4) | st.lists(inner, max_size=3), max_leaves=12).map(lambda one: json.dumps(one).encode())))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_file_is_a_result_or_refused(data: bytes) -> None:
    try:
        attack_results.read(data, "x")
    except UsageError as error:
        assert error.hint


@given(st.text(max_size=60), st.text(min_size=4, max_size=20).filter(str.strip), st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_planted_value_is_masked_wherever_it_stands(before: str, value: str, after: str) -> None:
    text = masker([Canary(value)])(f"{before}{value}{after}")
    # What is left of it can only be what stood there beside it.
    assert value not in text.replace(f"{value[:2]}[planted value]", "\0") or value in before + "\0" + after or value in "[planted value]"  # fmt: skip


@pytest.mark.parametrize("way", ["reversed", "base64", "hexadecimal", "spaced", "percent", "base32", "rot13"])
def test_a_disguised_value_is_masked_too(way: str) -> None:
    text = masker([Canary(CODE)])(f"Here: {CODECS[way].encode(CODE)} - bye.")
    assert "planted value" in text and CODECS[way].encode(CODE) not in text
    assert "[" in masker([])("the key ghp_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA4 came out")
    assert masker([Canary(CODE)])("nothing of the kind") == "nothing of the kind"


def test_only_what_is_really_worse_is_called_so() -> None:
    old = found(canary_question=(0, 6), claimed_authority=(5, 5), order_in_page=(1, 5), off_purpose=(0, 2), order_in_code=(0, 6))  # fmt: skip
    new = found(canary_question=(7, 7), claimed_authority=(0, 5), order_in_page=(2, 5), off_purpose=(2, 2), order_in_code=(0, 6))  # fmt: skip
    rows = {one.technique: one for one in compare(old, new).pairs}
    assert rows["canary-question"].change is Change.worse and rows["claimed-authority"].change is Change.better
    assert rows["order-in-page"].change is Change.open and rows["off-purpose"].change is Change.open
    assert rows["off-purpose"].needs > 2 and rows["order-in-mail"].change is Change.apart
    text = diff_text(compare(old, new))
    assert "WORSE" in text and "cannot tell yet" in text and "for all families together" in text
    assert not compare(old, old).worse


def test_another_form_is_another_attack() -> None:
    old = found(canary_question=(0, 3))
    new = msgspec.structs.replace(old, families=(family(BY_ID["canary-question"], [(f"canary-question/{form}/0", YES) for form in ("poem", "spelled", "completion")], ""),))  # fmt: skip
    (pair,) = compare(old, new).pairs
    assert pair.change is Change.apart and pair.new_forms == ("completion", "poem", "spelled")


def test_false_alarms_of_a_comparison_stay_below_the_level() -> None:
    rng = random.Random(20261130)
    rates = [rng.choice((0, 0, 0.1, 0.3, 0.5, 0.9)) for _ in range(50)]
    alarms = 0
    for _ in range(150):
        pairs = [tuple(wilson(sum(rng.random() < rate for _ in range(6)), 6) for _ in range(2)) for rate in rates]
        alarms += any(one <= 0.05 for one in corrected(pairs))  # type: ignore[arg-type]
    assert alarms <= 12, "5 % of 150 and three standard deviations is 15"
    one = [(wilson(0, 5), wilson(5, 5)), *[(wilson(0, 5), wilson(0, 5))] * 50]
    assert corrected(one)[0] < 0.01 and corrected(one)[1] == 1, "families that could show nothing take nothing"


def test_a_hit_asked_again_is_gone_only_where_every_trial_says_so() -> None:
    hit = found().hits[0]
    assert again(hit, [NO, YES], ()).state is State.succeeds
    assert again(hit, [BLOCKED, BLOCKED], ()).state is State.held_off
    assert again(hit, [BLOCKED, NO], ()).state is State.resisted
    assert again(hit, [NO, ERROR], ()).state is State.unknown and again(hit, [NO, ERROR], ()).reason == "timeout"
    assert again(hit, [], (), "no-listener").reason == "no-listener"


def test_the_days_of_a_schedule_go_round_all_forms() -> None:
    days = [rotated(TECHNIQUES, day) for day in range(60)]
    for number, technique in enumerate(TECHNIQUES):
        mine = [next(one for one in day if one.id == technique.id).variants for day in days]
        assert {one[0] for one in mine} == {technique.variants[0]} and {one[1] for one in mine} == set(technique.variants[1:])  # fmt: skip
        assert {set(one) == set(technique.variants) for one in mine} == {True}
        assert any(technique.id in [one.id for one in day[:10]] for day in days), number


def test_a_journal_is_read_as_a_result(tmp_path: Path) -> None:
    head = job.Head("desk", "h", "s", "run", ("canary-question",), "guarded")
    book = job.Journal(tmp_path / "j", head)
    prompt, reply = Prompt("x", leaves="a note"), Reply(CODE)
    for row in (job.Row("begin", "canary-question/blunt/0"), job.Row("turn", "canary-question/blunt/0", prompt, reply), job.Row("end", "canary-question/blunt/0", result=YES)):  # fmt: skip
        book.write(row)
    book.close()
    one = attack_results.baseline(tmp_path / "j")
    assert (one.target, one.seed, one.through) == ("desk", "s", "guarded") and one.families[0].share == wilson(1, 1)
    assert one.hits[0].turns == ((prompt, reply),) and one.left[0].what == "a note"
    with pytest.raises(UsageError):
        attack_results.baseline(tmp_path / "none")
