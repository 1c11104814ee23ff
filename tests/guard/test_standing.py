"""Going forward takes two people; only going back is automatic."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from afterguard.jobs import promote
from afterguard.jobs.standing import Standing, standing
from afterguard.policy import shipped
from afterguard.policy.load import Policy

POLICY: Policy = shipped("strict")
NOW = datetime(2026, 11, 29, tzinfo=UTC)


def promotion(stage: str = "enforce", people: int = 2, revision: str = "") -> promote.Promotion:
    made = promote.Promotion(
        revision or POLICY.revision,
        stage,
        1.0,
        "reviewed",
        "CHG-1",
        promote.Expected(0.0, 0.01, 1_000),  # type: ignore[arg-type]
    )
    for number in range(people):
        made = promote.sign(made, Ed25519PrivateKey.generate(), f"person {number}", NOW)
    return made


def kept(folder: Path, made: promote.Promotion) -> str:
    file = folder / "policy.yaml"
    Path(str(file) + promote.SUFFIX).write_bytes(msgspec.json.encode(made))
    return str(file)


def test_without_a_promotion_a_policy_acts_unless_one_is_required(tmp_path: Path) -> None:
    assert standing(POLICY, str(tmp_path / "p.yaml"), False, []).cap == ""
    assert standing(POLICY, str(tmp_path / "p.yaml"), True, []).cap == "shadow"


def test_two_people_let_it_act(tmp_path: Path) -> None:
    found = standing(POLICY, kept(tmp_path, promotion()), True, [])
    assert found.cap == "" and found.expected == (0.0, 0.01) and "person 1" in found.why


@pytest.mark.parametrize("made", [promotion(people=1), promotion(revision="other@0"), promotion("shadow")])
def test_one_person_another_revision_or_a_lower_stage_does_not(tmp_path: Path, made: promote.Promotion) -> None:
    assert standing(POLICY, kept(tmp_path, made), True, []).cap == "shadow"


def test_a_forged_or_untrusted_signature_does_not(tmp_path: Path) -> None:
    made = promotion()
    forged = msgspec.structs.replace(made, reason="other")
    assert standing(POLICY, kept(tmp_path, forged), True, []).cap == "shadow"
    assert standing(POLICY, kept(tmp_path, made), True, ["00" * 32]).cap == "shadow"
    assert standing(POLICY, kept(tmp_path, made), True, [one.key for one in made.signatures]).cap == ""


def test_what_is_no_promotion_is_said(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    Path(str(file) + promote.SUFFIX).write_text("{")
    found = standing(POLICY, str(file), True, [])
    assert found.cap == "shadow" and promote.SUFFIX in found.why


def test_it_goes_back_by_itself_when_it_acts_more_than_expected() -> None:
    now = Standing("", "promoted", (0.0, 0.01))
    assert now.after(5, 1_000) is now
    back = now.after(200, 1_000)
    assert back.cap == "shadow" and "200 of 1000" in back.why
    assert back.after(0, 10_000) is back
