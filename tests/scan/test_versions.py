"""Versions and ranges against cases worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard import catalog
from afterguard.scan.versions import holds, key, meets
from afterguard.scan.vulnerable_dependency import advisories


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("1.2", "1.10"),
        ("0.3.80", "0.3.81"),
        ("1.0rc1", "1.0"),
        ("2.0.0-beta.1", "2.0.0"),
        ("1.0", "1.0.1"),
        ("2025.9.25", "2025.12.18"),
    ],
)
def test_order(low: str, high: str) -> None:
    assert key(low) < key(high)


def test_equal_forms() -> None:
    assert key("1.0") == key("1.0.0") == key("v1.0+local") == key("=1")


@pytest.mark.parametrize(
    ("affected", "version", "expected"),
    [
        ("<1.2.5", "1.2.4", True), ("<1.2.5", "1.2.5", False), (">=1.0.0,<1.2.5", "0.9", False), (">=1.0.0,<1.2.5", "1.0", True),
        (">=8.3.41,<8.3.43", "8.3.42", True), (">=8.3.41,<8.3.43", "8.3.43", False),
    ],
)  # fmt: skip
def test_holds(affected: str, version: str, expected: bool) -> None:
    assert holds(affected, version) is expected


@pytest.mark.parametrize(
    ("affected", "written", "expected"),
    [
        ("<0.3.81", "", True), ("<0.3.81", "*", True), ("<0.3.81", ">=0.3.81", False), ("<0.3.81", ">=0.2,<0.4", True),
        ("<1.24.0", "^1.24.0", False), ("<1.24.0", "^1.20.0", True), (">=1.0.0,<1.2.5", "^0.3.0", False), ("<1.5", "~=1.4", True),
        ("<1.5", "==1.6.*", False), ("<2.0", "^2.0.0 || ^1.0.0", True), ("<0.7.0", ">0.7", False), ("<=1.0", ">=1.0", True),
    ],
)  # fmt: skip
def test_meets(affected: str, written: str, expected: bool) -> None:
    assert meets(affected, written) is expected


@given(st.text(max_size=60), st.text(max_size=60))
def test_never_raises(affected: str, written: str) -> None:
    assert holds(affected, written) in (True, False)
    assert meets(affected, written) in (True, False)


def test_the_advisory_file_is_sound() -> None:
    rows = catalog.load("rules/advisories")["advisories"]
    assert len(rows) >= 60
    assert len({(row["id"], row["package"]) for row in rows}) == len(rows)
    for known in advisories().values():
        for one in known:
            assert not any(holds(affected, one.fixed) for affected in one.affected), one.id
            assert one.title[0].islower() and not one.title.endswith(".")
