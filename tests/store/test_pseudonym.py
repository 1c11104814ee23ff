"""Pseudonyms: stable with the key, meaningless without."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.errors import UsageError
from afterguard.store.pseudonym import DIGITS, pseudonyms


def test_the_same_person_is_the_same_only_with_the_same_key(tmp_path: Path) -> None:
    first = pseudonyms(tmp_path / "deep" / "key")
    assert first("ada@example.com") == pseudonyms(tmp_path / "deep" / "key")("ada@example.com")
    assert first("ada@example.com") != first("bo@example.com")
    assert first("ada@example.com") != pseudonyms(tmp_path / "other")("ada@example.com")
    assert first("ada@example.com") != pseudonyms(tmp_path / "deep" / "key", tenant="t2")("ada@example.com")
    assert stat.S_IMODE((tmp_path / "deep" / "key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["key"]


def test_a_damaged_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("oops")
    with pytest.raises(UsageError):
        pseudonyms(tmp_path / "key")


@given(st.text(st.characters(exclude_categories=[])))
def test_any_identity(tmp_path_factory: pytest.TempPathFactory, identity: str) -> None:
    key = tmp_path_factory.getbasetemp() / "pseudonym-key"
    made = pseudonyms(key)(identity)
    assert len(made) == DIGITS
    assert not identity or identity not in made or len(identity) <= 2
