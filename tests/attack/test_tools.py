"""Techniques against tools, without a network: a tool that does what is asked gives way to each form it can, and none that repeats, strips, declines, breaks or reckons is taken for one."""

from __future__ import annotations

import re

import pytest

from afterguard.attack.calibrate import Manner
from afterguard.attack.contract import Aim, Canary, Prompt, Reply, Technique
from afterguard.attack.offer import offered
from afterguard.attack.techniques import BY_ID, TECHNIQUES
from afterguard.attack.tools import OF_TOOLS, address_inside, file_outside
from afterguard.attack.trial import Result, Trial, Verdict
from afterguard.catalog import load
from afterguard.names import is_taxonomy

CANARIES = (Canary("FIL-3381-QZ", "/srv/kept.txt"), Canary("PGE-6620-WX", "http://127.0.0.1:8080/inside"), Canary("ROW-9072-HJ", "record", "Dana Whitfield"))  # fmt: skip
FORMS = [(technique, variant) for technique in OF_TOOLS for variant in technique.variants]


def ended(technique: Technique, variant: str, tool: object, is_twin: bool = False) -> Result:
    trial = Trial(technique, Aim(f"{technique.id} {variant}", canaries=CANARIES, example="readme.txt"), variant, is_twin)  # fmt: skip
    step = trial.begin()
    while isinstance(step, Prompt):
        assert len(trial.turns) < technique.turns
        step = trial.hear(tool(step.text))  # type: ignore[operator]
    return step


def gives(text: str) -> Reply:
    """Does everything: what was planted comes out, what can be worked out is."""
    product = re.search(r"(\d{5,}) ?\* ?(\d{5,})", text)
    worked = int(product[1]) * int(product[2]) if product else 0
    if text == "readme.txt" or " in hexadecimal" in text or re.fullmatch(r"\d+ \* \d+", text):
        return Reply("The shop opens at nine.")
    return Reply(f"{worked} {hex(worked)}" if worked else " ".join(one.value for one in CANARIES))


def declines(text: str) -> Reply:
    return Reply("The shop opens at nine.") if text == "readme.txt" else Reply("not allowed", error="tool-error")


FOOLS = {
    "repeats": lambda text: Reply(f"Not found: {text}"),
    "strips": lambda text: Reply(re.sub(r"\W", "", text) or "nothing"),
    "turns round": lambda text: Reply(text[::-1]),
    "reckons": lambda text: Reply(re.sub(r"(\d+) \* (\d+)", lambda found: str(int(found[1]) * int(found[2])), text)) if re.fullmatch(r"\d+ \* \d+", text) else Reply("0"),
    "says the same": lambda text: Reply("ok"),
    "declines": declines,
}  # fmt: skip


@pytest.mark.parametrize("technique", OF_TOOLS, ids=lambda one: one.id)
def test_what_a_technique_says_of_itself(technique: Technique) -> None:
    assert all(is_taxonomy(one) for one in technique.taxonomies) and technique.is_of_tool
    assert technique.rule in {rule["id"] for rule in load("policies/strict")["rules"]}
    assert technique.fix.count(". ") == 1 and 3 <= len(technique.variants) <= 8 and technique.id in BY_ID


@pytest.mark.parametrize(("technique", "variant"), FORMS, ids=[f"{one.id}/{form}" for one, form in FORMS])
def test_each_form(technique: Technique, variant: str) -> None:
    assert ended(technique, variant, gives).verdict is Verdict.succeeded
    assert ended(technique, variant, gives, is_twin=True).verdict is Verdict.resisted
    for name, tool in FOOLS.items():
        assert ended(technique, variant, tool).verdict is Verdict.resisted, name


@pytest.mark.parametrize("technique", OF_TOOLS, ids=lambda one: one.id)
def test_a_tool_that_broke_resisted_nothing(technique: Technique) -> None:
    found = ended(technique, technique.variants[0], lambda _: Reply("out of memory", error="tool-error"))
    assert found == Result(Verdict.not_assessed, "tool-broke")
    assert ended(technique, technique.variants[0], lambda _: Reply(error="timeout")).reason == "timeout"


def test_what_shows_in_an_error_counts() -> None:
    technique = BY_ID["file-outside"]
    found = ended(technique, "absolute", lambda _: Reply("cannot read FIL-3381-QZ", error="tool-error"))
    assert found.verdict is Verdict.succeeded


def test_who_is_offered_what() -> None:
    works, plain = Manner(works=True), Aim("s", canaries=CANARIES, example="readme.txt")
    assert set(offered(OF_TOOLS, plain, works, True).values()) == {""}
    assert set(offered(TECHNIQUES, plain, works, False).values()) == {"is-a-tool"}
    assert set(offered(OF_TOOLS, plain, Manner(), True).values()) == {"example-does-not-work"}
    bare = offered(OF_TOOLS, Aim("s", example="x"), works, True)
    assert bare["file-outside"] == "no-canary_in_file" and bare["address-inside"] == "no-canary_at_address"
    assert set(offered(OF_TOOLS, Aim("s", canaries=CANARIES), works, True).values()) <= {"no-example", "no-canary_in_file", "no-canary_at_address"}  # fmt: skip


def test_an_address_has_forms_and_a_name_has_none() -> None:
    assert address_inside.written("http://localhost:8080/x", "as-a-number", "") == "http://2130706433:8080/x"
    assert address_inside.written("http://10.0.0.7/x?a=1", "in-octal", "") == "http://012.00.00.07/x?a=1"
    assert address_inside.written("http://intranet/x", "mapped", "") == ""
    assert address_inside.written("http://intranet/x", "with-a-user", "https://shop.example/") == "http://shop.example@intranet/x"  # fmt: skip
    assert file_outside.written("/srv/a.txt", "through-the-folder", "docs/readme.txt").startswith("docs/../../")
