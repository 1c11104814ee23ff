"""Compiled patterns come back only from a place of one's own."""

from __future__ import annotations

import os
from pathlib import Path

from afterguard import compiled


def test_compiled_patterns_are_believed_only_from_a_place_of_ones_own(tmp_path: Path) -> None:
    kept = compiled.Compiled(tmp_path / "cache")
    assert kept.get("a") is None
    kept.put("a", b"database")
    assert kept.get("a") == b"database"
    (tmp_path / "cache" / "a").write_bytes(b"\0" * 40)
    assert kept.get("a") is None
    kept.put("a", b"database")
    (tmp_path / "cache" / "a").chmod(0o666)
    assert kept.get("a") is None
    for number in range(compiled.KEPT + 5):
        kept.put(f"k{number}", b"x")
    assert len(list((tmp_path / "cache").iterdir())) == compiled.KEPT
    compiled.Compiled(Path(os.devnull) / "x").put("a", b"x")
