"""What every check and detector must bring: an id for ever, reasons a person understands, public ids with edition, samples."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from afterguard import names
from afterguard.detect import DETECTORS
from afterguard.detect.detector import Detector
from afterguard.scan import CHECKS, Check

TESTS = Path(__file__).parent.parent
KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@pytest.mark.parametrize("check", CHECKS, ids=lambda one: one.id)
def test_check(check: Check) -> None:
    assert KEBAB.fullmatch(check.id)
    module = importlib.import_module(f"afterguard.scan.{check.id.replace('-', '_')}")
    assert module.CHECK is check
    assert module.__doc__
    assert len(check.title) > 8
    assert len(check.why) > 30
    assert len(check.fix) > 30
    assert check.kinds
    assert check.persona in ("regular", "auditor")
    assert_taxonomies(check.taxonomies)
    samples = [path.name for path in (TESTS / "scan" / "samples" / check.id).iterdir()]
    assert sum(name.startswith("hit") for name in samples) >= 3
    assert sum(name.startswith("miss") for name in samples) >= 3


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.id)
def test_detector(detector: Detector) -> None:
    assert KEBAB.fullmatch(detector.id)
    module = importlib.import_module(f"afterguard.detect.{detector.id.replace('-', '_')}")
    assert module.__doc__
    assert detector.kinds
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", kind) for kind in detector.kinds)
    assert len(detector.why) > 30
    assert_taxonomies(detector.taxonomies)
    assert (TESTS / "detect" / "samples" / f"{detector.id.replace('-', '_')}.json").exists()


def assert_taxonomies(taxonomies: tuple[str, ...]) -> None:
    assert taxonomies
    wrong = [one for one in taxonomies if not names.is_taxonomy(one)]
    assert not wrong, wrong


def test_both_editions_of_the_top_ten_stand_together() -> None:
    for taxonomies in (one.taxonomies for one in (*CHECKS, *DETECTORS)):
        for old, new in names.CROSSWALK_2025_2026.items():
            assert (old not in taxonomies) or (new in taxonomies) or any(t.endswith(":2026") for t in taxonomies), (
                taxonomies
            )


def test_ids_are_unique() -> None:
    ids = [one.id for one in (*CHECKS, *DETECTORS)]
    assert len(ids) == len(set(ids))
