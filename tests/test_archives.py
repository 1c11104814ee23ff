"""Archives made to break their reader: sizes that lie, members that cannot be read, bombs that are only skipped."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from afterguard import files
from afterguard.model import Coverage, Source


def everything(root: Path, limits: files.Limits = files.DEFAULT) -> tuple[dict[str, Source], list[Coverage]]:
    rows: list[Coverage] = []
    return {one.path: one for one in files.sources([root], rows.append, limits)}, rows


def test_one_encrypted_or_damaged_member_does_not_cost_the_others(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("a.py", "b.py", "c.py"):
            archive.writestr(name, "import openai\n")
    data = bytearray(packed.getvalue())
    data[data.find(b"PK\1\2") + 8] |= 1
    data[data.find(b"PK\3\4") + 6] |= 1
    at = data.find(b"import", data.find(b"b.py"))
    data[at] ^= 0xFF
    (tmp_path / "x.zip").write_bytes(bytes(data))
    found, rows = everything(tmp_path)
    assert "x.zip!/c.py" in found
    assert {row.path: row.reason for row in rows} == {"x.zip!/a.py": "encrypted", "x.zip!/b.py": "unreadable"}


def test_a_tar_bomb_that_is_only_skipped_ends_at_the_cap(tmp_path: Path) -> None:
    big = tarfile.TarInfo("a.py")
    big.size = 200 << 20
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(big.tobuf() + bytes(64 << 20), 1))
    found, rows = everything(tmp_path, files.Limits(archive_bytes=16 << 20))
    assert [row.reason for row in rows if row.path == "x.tar.gz"] == ["bomb"]
    assert len(found["x.tar.gz!/a.py"].data) <= files.DEFAULT.source_bytes


def test_links_and_devices_in_an_archive_are_counted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in (("dev", tarfile.CHRTYPE), ("up.py", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "../../etc/passwd"
            archive.addfile(member)
        member = tarfile.TarInfo("../../a.py")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"a = 1"))
    found, rows = everything(tmp_path)
    assert "x.tar!/../../a.py" in found
    assert [(row.reason, row.count) for row in rows] == [("excluded", 2)]


def test_a_chain_of_long_names_is_no_recursion_error(tmp_path: Path) -> None:
    head = tarfile.TarInfo("././@LongLink")
    head.type, head.size = b"L", 4
    (tmp_path / "x.tar").write_bytes((head.tobuf(tarfile.GNU_FORMAT) + b"abc\0".ljust(512, b"\0")) * 3000)
    assert {row.reason for row in everything(tmp_path)[1]} <= {"unreadable", "too_large"}


def test_a_compressed_file_that_is_no_log_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml.gz").write_bytes(gzip.compress(b"model: gpt-4o\n"))
    assert [row.reason for row in everything(tmp_path)[1]] == ["unsupported"]


@given(st.binary(max_size=200), st.sampled_from([b"PK\3\4", b"PK\5\6", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0"]))
def test_junk_is_never_raised(tmp_path_factory: object, data: bytes, head: bytes) -> None:
    folder = tmp_path_factory.mktemp("junk")  # type: ignore[attr-defined]
    for suffix in ("zip", "tar.gz"):
        (folder / f"x.{suffix}").write_bytes(head + data)
    everything(folder)
