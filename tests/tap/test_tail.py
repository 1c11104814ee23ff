"""A log that is being written, rotated, cut: every line once, and what is gone is said."""

from __future__ import annotations

from pathlib import Path

from afterguard.tap.tail import Cursor, Tail


def texts(tail: Tail, most: int = 10_000) -> list[str]:
    return [line.gap or line.data.decode() for line in tail.lines(most)]


def test_lines_come_once_and_a_part_of_one_waits(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\nthr")
    tail = Tail(path)
    assert texts(tail) == ["one", "two"] and texts(tail) == []
    with path.open("ab") as out:
        out.write(b"ee\n\nfour\n")
    assert texts(tail) == ["three", "", "four"]


def test_rotation_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\nb\n")
    tail = Tail(path)
    assert texts(tail, 1) == ["a"]
    path.rename(tmp_path / "log.1")
    path.write_bytes(b"c\n")
    (tmp_path / "log.1").rename(tmp_path / "log.2")
    path.rename(tmp_path / "log.1")
    path.write_bytes(b"d\n")
    assert texts(tail) == ["b", "c", "d"]


def test_where_it_was_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\nb\nc\n")
    tail = Tail(path)
    texts(tail, 2)
    assert texts(Tail(path, Cursor(tail.cursor.inode, tail.cursor.at))) == ["c"]


def test_what_is_gone_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\nb\n")
    tail = Tail(path)
    texts(tail)
    (tmp_path / "other").write_bytes(b"x\n")
    (tmp_path / "other").replace(path)
    assert texts(tail) == ["rotated away before it was read", "x"]
    path.write_bytes(b"")
    assert texts(tail) == ["became shorter than it was"]
    path.write_bytes(b"y\n")
    assert texts(tail) == ["y"]


def test_a_line_without_an_end_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\n" + b"x" * (9 << 20) + b"\nb\n")
    tail = Tail(path)
    assert texts(tail) == ["a", "a line of more than 4 MiB", "b"] and texts(tail) == []


def test_no_file_yet(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "log")
    assert texts(tail) == []
    (tmp_path / "log").write_bytes(b"a\n")
    assert texts(tail) == ["a"]
