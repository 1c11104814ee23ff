"""Walking and reading hostile trees: every refusal is a row, nothing hangs, nothing leaves the tree."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from afterguard import files
from afterguard.errors import UsageError
from afterguard.model import Coverage, Source


def everything(root: Path, limits: files.Limits = files.DEFAULT) -> tuple[dict[str, Source], list[Coverage]]:
    rows: list[Coverage] = []
    return {one.path: one for one in files.sources([root], rows.append, limits)}, rows


def reasons(rows: list[Coverage]) -> dict[str, str]:
    return {row.path: row.reason for row in rows}


def test_paths_are_relative_and_ordered(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.py").write_text("1")
    (tmp_path / "a.py").write_text("1")
    found, rows = everything(tmp_path)
    assert list(found) == ["a.py", "b/x.py"]
    assert rows == []
    assert found["a.py"].kind == "python"


def test_a_file_as_root_and_a_missing_root(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    assert list(everything(tmp_path / "a.py")[0]) == ["a.py"]
    with pytest.raises(UsageError, match="no such path"):
        everything(tmp_path / "gone")


def test_links_loops_pipes_and_vendored_folders(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("x")
    root = tmp_path / "root"
    (root / "node_modules").mkdir(parents=True)
    (root / "node_modules" / "x.js").write_text("1")
    (root / "app.min.js").write_text("1")
    (root / "loop").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    (root / "away").symlink_to(outside)
    os.mkfifo(root / "pipe")
    found, rows = everything(root)
    assert list(found) == []
    assert reasons(rows) == {
        "away": "excluded",
        "loop": "symlink_loop",
        "node_modules": "excluded",
        "pipe": "not_a_file",
        "self": "symlink_loop",
        "app.min.js": "excluded",
    }


def test_large_and_binary(tmp_path: Path) -> None:
    (tmp_path / "big.py").write_bytes(b"x = 1\n" * 1000)
    (tmp_path / "junk.py").write_bytes(bytes(range(256)) * 4)
    found, rows = everything(tmp_path, files.Limits(source_bytes=100))
    assert len(found["big.py"].data) == 100
    assert found["junk.py"].kind == "binary"
    assert reasons(rows)["big.py"] == "too_large"


def test_archives_are_read_in_place_with_caps(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("deep.py", "import openai")
        archive.writestr("../../escape.py", "x")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app/main.py", "import openai")
        archive.writestr("zeros.txt", b"0" * 3_000_000)
        archive.writestr("inner.zip", inner.getvalue())
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("src/x.go")
        info.size = 7
        tar.addfile(info, io.BytesIO(b"package"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    found, rows = everything(tmp_path, files.Limits(source_bytes=1_000_000, archive_bytes=1_500_000))
    assert {"a.zip!/app/main.py", "b.tar.gz!/src/x.go"} <= set(found)
    assert reasons(rows)["a.zip!/zeros.txt"] == "too_large"
    assert not any("passwd" in name for name in found)
    found, rows = everything(tmp_path, files.Limits(archive_bytes=2_000))
    assert reasons(rows)["a.zip"] == "bomb"


def test_damaged_and_encrypted_archives_are_rows(tmp_path: Path) -> None:
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04" + b"\0" * 40)
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(b"x" * 5000)[:30])
    _, rows = everything(tmp_path)
    assert reasons(rows) == {"cut.zip": "unreadable", "cut.tar.gz": "unreadable"}


def test_unreadable_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    try:
        _, rows = everything(tmp_path)
        assert os.geteuid() == 0 or reasons(rows)["closed"] == "unreadable"
    finally:
        closed.chmod(0o700)


def test_a_file_that_vanishes(tmp_path: Path) -> None:
    rows: list[Coverage] = []
    assert files.read(files.Entry("gone.py", tmp_path / "gone.py", 1), rows.append, 10) is None
    assert reasons(rows) == {"gone.py": "vanished"}


def test_device_files_do_not_hang() -> None:
    rows: list[Coverage] = []
    assert list(files.walk([Path("/dev/zero")], rows.append)) == []
    assert rows[0].reason == "not_a_file"


@given(
    st.lists(st.binary(max_size=40).filter(lambda b: b"\n" not in b and not b.endswith(b"\r")), max_size=30),
    st.integers(1, 50),
)
def test_lines_come_back_whole(rows: list[bytes], block: int) -> None:
    data = b"\n".join(rows)
    got = [line.data for line in files.lines(io.BytesIO(data), 1000, block)]
    want = data.split(b"\n")
    assert got == (want[:-1] if want[-1] == b"" else want)


@given(st.integers(1, 400), st.integers(1, 64))
def test_an_over_long_line_is_skipped_and_counted(length: int, block: int) -> None:
    data = b"a\n" + b"x" * length + b"\nb\n"
    lines = list(files.lines(io.BytesIO(data), 50, block))
    assert [lines[0].data, lines[-1].data] == [b"a", b"b"]
    assert lines[-1].number == 3
    assert lines[1].cut in (0, length)
    assert lines[1].cut == length or lines[1].data == b"x" * length


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_stream_bomb_ends_with_a_row(tmp_path: Path, pack: object) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(pack(b"a" * (300 << 20)))  # type: ignore[operator]
    rows: list[Coverage] = []
    total = 0
    with files.open_stream(path, "log.gz", rows.append, files.Limits(ratio=100)) as stream:
        for line in files.lines(stream):
            total += line.cut
    assert rows[0].reason == "bomb"
    assert total < 300 << 20


@given(st.binary(max_size=300))
def test_no_bytes_break_a_stream(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("s") / "x"
    for head in (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh9", b"\xfd7zXZ\0", b""):
        path.write_bytes(head + data)
        rows: list[Coverage] = []
        with files.open_stream(path, "x", rows.append) as stream:
            list(files.lines(stream))


@given(st.text(max_size=40), st.binary(max_size=300))
def test_a_kind_for_everything(path: str, data: bytes) -> None:
    assert files.kind_of(path, data)


def test_a_file_below_two_paths_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    rows: list[Coverage] = []
    found = list(files.walk([tmp_path, tmp_path / "a.py", tmp_path], rows.append))
    assert len(found) == 1
    assert [row.reason for row in rows] == ["excluded", "excluded"]


def test_a_report_is_not_read_again_and_hides_nothing_else(tmp_path: Path) -> None:
    for name in ("report.html", "data-protection.md", "chat.py"):
        (tmp_path / name).write_text("x")
    (tmp_path / "report.json").write_text('{\n  "format": "afterguard.onboard/1"}')
    found, rows = everything(tmp_path)
    assert list(found) == ["chat.py"]
    assert [(row.path, row.reason) for row in rows] == [(".", "excluded")]
    (tmp_path / "report.json").write_text("{}")
    assert len(everything(tmp_path)[0]) == 4


def test_a_small_file_the_user_named_is_no_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError):
            files.named(path, 100)
    (tmp_path / "a").write_text("x" * 101)
    with pytest.raises(OSError, match="larger than 100"):
        files.named(tmp_path / "a", 100)
