"""Originals: unreadable without the key, gone when they should be, with proof."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afterguard.errors import Unreachable, UsageError
from afterguard.model import App
from afterguard.store import receipts
from afterguard.store.database import Store
from afterguard.store.evidence import DAY, Swept, Vault
from afterguard.store.keys import WrappingKey, create_key_file, load_key

APP = App("shop")
TEXT = b"my card is 4111 1111 1111 1111"
ADA = {"who": "ada", "why": "case 7"}


@pytest.fixture
def key(tmp_path: Path) -> WrappingKey:
    create_key_file(tmp_path / "key")
    return load_key(str(tmp_path / "key"))


@pytest.fixture
def vault(opened: Callable[[], Store], tmp_path: Path, key: WrappingKey) -> Iterator[Vault]:
    yield Vault(opened(), tmp_path / "evidence", key)


def blobs(vault: Vault) -> list[Path]:
    return sorted(vault.folder.glob("*.blob"))


def everything(vault: Vault, target: str) -> bytes:
    """All that is on the disk: files of the vault and rows of every table."""
    parts = [path.read_bytes() for path in blobs(vault)]
    for table in ("original", "original_key", "original_access", "legal_hold", "deletion"):
        parts += [repr(row).encode() for row in vault.connection.execute(f"SELECT * FROM {table}")]
    if "://" not in target:
        parts += [path.read_bytes() for path in Path(target).parent.iterdir()]
    return b"".join(parts)


def test_an_original_comes_back_and_the_reading_is_logged(vault: Vault, target: str) -> None:
    made = vault.keep(APP, "log.jsonl:7", TEXT, "card")
    assert vault.read(made, **ADA) == TEXT
    assert [row[:3] for row in vault.accesses(made)] == [("ada", "case 7", "read")]
    for plain in (TEXT, b"4111", vault.key.secret):
        assert plain not in everything(vault, target)
    (file,) = blobs(vault)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_reading_needs_a_name_and_a_reason(vault: Vault) -> None:
    made = vault.keep(APP, "x", TEXT)
    for who, why in (("", "x"), ("ada", " ")):
        with pytest.raises(UsageError):
            vault.read(made, who=who, why=why)
    with pytest.raises(UsageError, match="none of that id"):
        vault.read("../../etc/passwd", **ADA)


def test_each_application_has_its_own_key(vault: Vault) -> None:
    vault.keep(APP, "x", TEXT)
    vault.keep(APP, "y", TEXT)
    vault.keep(App("other"), "x", TEXT)
    vault.keep(App("shop", tenant="t2"), "x", TEXT)
    assert vault.connection.execute("SELECT COUNT(*), COUNT(DISTINCT wrapped) FROM original_key") == [(3, 3)]


@pytest.mark.parametrize("change", ["flip", "cut", "empty", "swap", "gone", "huge"])
def test_a_changed_file_is_told(vault: Vault, change: str) -> None:
    made, other = vault.keep(APP, "x", TEXT), vault.keep(APP, "y", b"other")
    file = vault.folder / f"{made}.blob"
    raw = bytearray(file.read_bytes())
    if change == "flip":
        raw[-1] ^= 1
        file.write_bytes(raw)
    elif change == "cut":
        file.write_bytes(raw[:10])
    elif change == "empty":
        file.write_bytes(b"")
    elif change == "swap":
        file.write_bytes((vault.folder / f"{other}.blob").read_bytes())
    elif change == "gone":
        file.unlink()
    else:
        file.write_bytes(raw + bytes(1 << 20))
    with pytest.raises(UsageError, match="cannot be read") as told:
        vault.read(made, **ADA)
    assert told.value.hint
    assert vault.accesses(made)[0][2] == ("missing" if change == "gone" else "tampered")


def test_a_changed_row_does_not_open_another_file(vault: Vault) -> None:
    first, second = vault.keep(APP, "x", TEXT), vault.keep(APP, "y", b"other")
    digest = vault.find(second).digest  # type: ignore[union-attr]
    (vault.folder / f"{first}.blob").write_bytes((vault.folder / f"{second}.blob").read_bytes())
    vault.connection.execute("UPDATE original SET digest = ? WHERE id = ?", (digest, first))
    with pytest.raises(UsageError, match="changed or cut"):
        vault.read(first, **ADA)


def test_another_key_opens_nothing(vault: Vault, tmp_path: Path) -> None:
    made = vault.keep(APP, "x", TEXT)
    create_key_file(tmp_path / "second")
    stranger = Vault(vault.store, vault.folder, load_key(str(tmp_path / "second")))
    with pytest.raises(UsageError, match="another wrapping key"):
        stranger.read(made, **ADA)
    newer = stranger.keep(APP, "z", b"new")
    assert stranger.read(newer, **ADA) == b"new"
    assert vault.read(made, **ADA) == TEXT


def test_a_new_wrapping_key_takes_over(vault: Vault, tmp_path: Path, key: WrappingKey) -> None:
    made = vault.keep(APP, "x", TEXT)
    create_key_file(tmp_path / "second")
    assert vault.rotate(load_key(str(tmp_path / "second"))) == 1
    assert vault.read(made, **ADA) == TEXT
    with pytest.raises(UsageError):
        Vault(vault.store, vault.folder, key).read(made, **ADA)


def test_what_has_expired_is_deleted_with_proof(vault: Vault, clock: Any) -> None:
    short, long = vault.keep(APP, "x", TEXT, "card", "email"), vault.keep(APP, "y", TEXT, "instructions")
    digest = vault.find(short).digest  # type: ignore[union-attr]
    assert vault.sweep(clock.now + 13 * DAY) == Swept()
    assert vault.sweep(clock.now + 15 * DAY) == Swept(deleted=1)
    assert [path.stem for path in blobs(vault)] == [long]
    (receipt,) = receipts.receipts(vault.connection)
    assert (receipt.id, receipt.digest, receipt.why) == (short, digest, "retention ended")
    assert receipts.first_broken(vault.connection) == 0
    with pytest.raises(UsageError, match="none of that id"):
        vault.read(short, **ADA)


def test_retention_can_be_configured(vault: Vault) -> None:
    own = Vault(vault.store, vault.folder, vault.key, {"card": 2, "default": 5})
    assert own.retention("card", "email") == 2 * DAY
    assert own.retention("unheard-of") == 5 * DAY
    assert own.retention() == 5 * DAY


def test_a_legal_hold_stops_every_way_of_deleting(vault: Vault, clock: Any) -> None:
    made = vault.keep(APP, "x", TEXT)
    held = vault.hold(APP, "court order", "ada", subject="x")
    assert vault.sweep(clock.now + 400 * DAY) == Swept(held=1)
    for act in (
        lambda: vault.delete(made, "w"),
        lambda: vault.delete_subject(APP, "x", "w"),
        lambda: vault.shred(APP, "w"),
    ):
        with pytest.raises(UsageError, match="legal hold"):
            act()
    assert vault.read(made, **ADA) == TEXT
    vault.release(held)
    assert vault.sweep(clock.now + 400 * DAY) == Swept(deleted=1)


def test_a_hold_of_the_whole_application(vault: Vault) -> None:
    made = vault.keep(APP, "x", TEXT)
    vault.hold(APP, "audit", "ada")
    with pytest.raises(UsageError, match="legal hold"):
        vault.delete(made, "w")
    other = vault.keep(App("other"), "x", TEXT)
    vault.delete(other, "asked for")
    with pytest.raises(UsageError):
        vault.hold(APP, "", "ada")


def test_shredding_makes_copies_unreadable(vault: Vault, target: str) -> None:
    made = vault.keep(APP, "x", TEXT)
    (file,) = blobs(vault)
    copy = file.read_bytes()
    row = vault.connection.execute("SELECT wrapped FROM original_key")[0][0]
    kept = vault.find(made)
    assert vault.shred(APP, "contract ended") == 1
    assert blobs(vault) == []
    assert row.encode() not in everything(vault, target)
    assert kept is not None
    file.write_bytes(copy)
    vault.connection.insert(
        "original", kept.__struct_fields__, [tuple(getattr(kept, one) for one in kept.__struct_fields__)]
    )
    with pytest.raises(UsageError, match="key of its application was destroyed"):
        vault.read(made, **ADA)
    assert [one.what for one in receipts.receipts(vault.connection)] == ["key", "original"]
    assert vault.read(vault.keep(APP, "new", b"fresh"), **ADA) == b"fresh"


def test_a_subject_can_be_deleted(vault: Vault) -> None:
    for _ in range(3):
        vault.keep(APP, "person-1", TEXT)
    other = vault.keep(APP, "person-2", TEXT)
    assert vault.delete_subject(APP, "person-1", "erasure request 12") == 3
    assert vault.delete_subject(APP, "", "nobody") == 0
    assert [one.id for one in vault.originals(APP)] == [other]
    assert len(receipts.receipts(vault.connection)) == 3


def test_a_forged_receipt_is_noticed(vault: Vault) -> None:
    for subject in "abc":
        vault.delete(vault.keep(APP, subject, TEXT), "w")
    assert receipts.first_broken(vault.connection) == 0
    vault.connection.execute("UPDATE deletion SET why = 'other' WHERE position = 2")
    assert receipts.first_broken(vault.connection) == 2
    vault.connection.execute("UPDATE deletion SET why = 'w' WHERE position = 2")
    vault.connection.execute("DELETE FROM deletion WHERE position = 1")
    assert receipts.first_broken(vault.connection) == 1


def test_files_nobody_owns_are_removed_and_missing_ones_counted(vault: Vault, clock: Any) -> None:
    made = vault.keep(APP, "x", TEXT)
    (vault.folder / f"{made}.blob").unlink()
    stray = vault.folder / "0000.blob"
    stray.write_bytes(b"x")
    os.utime(stray, (1, 1))
    (vault.folder / "notes.txt").write_text("mine")
    assert vault.sweep(clock.now + 400 * DAY) == Swept(deleted=1, missing=1, orphans=1)
    assert [path.name for path in vault.folder.iterdir()] == ["notes.txt"]


def test_names_with_odd_characters(vault: Vault) -> None:
    odd = App("sh\0op\ud800", tenant="t\0")
    made = vault.keep(odd, "s\0\ud800", TEXT, "c\0")
    assert vault.read(made, **ADA) == TEXT
    assert vault.shred(odd, "w\0") == 1


def test_a_link_in_place_of_a_file_is_removed_and_not_followed(vault: Vault, tmp_path: Path) -> None:
    made = vault.keep(APP, "x", TEXT)
    (tmp_path / "precious").write_text("keep me")
    file = vault.folder / f"{made}.blob"
    file.unlink()
    file.symlink_to(tmp_path / "precious")
    with pytest.raises(UsageError, match="its file is gone"):
        vault.read(made, **ADA)
    vault.delete(made, "w")
    assert (tmp_path / "precious").read_text() == "keep me"
    assert blobs(vault) == []
    with pytest.raises(UsageError, match="cannot be made"):
        Vault(vault.store, tmp_path / "precious" / "sub", vault.key)


def test_too_large_and_unwritable(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afterguard.store.evidence.CAP", 10)
    with pytest.raises(UsageError, match="too large"):
        vault.keep(APP, "x", TEXT)
    monkeypatch.undo()
    gone = Vault(vault.store, vault.folder / "sub", vault.key)
    gone.folder.rmdir()
    with pytest.raises(UsageError, match="cannot be written"):
        gone.keep(APP, "x", TEXT)


def test_key_shapes(tmp_path: Path) -> None:
    secret = os.urandom(32)
    ids = set()
    import base64

    for text in (secret, secret.hex().encode() + b"\n", base64.b64encode(secret), base64.urlsafe_b64encode(secret)):
        (tmp_path / "key").write_bytes(text)
        ids.add(load_key(str(tmp_path / "key")).id)
    assert len(ids) == 1
    assert secret.hex() not in repr(load_key(str(tmp_path / "key")))
    for bad in (b"", b"short", bytes(32), b"x" * 5000):
        (tmp_path / "key").write_bytes(bad)
        with pytest.raises(UsageError, match="32 bytes"):
            load_key(str(tmp_path / "key"))
    for where in (str(tmp_path / "none"), str(tmp_path), ""):
        with pytest.raises(UsageError):
            load_key(where)


def test_a_key_command(tmp_path: Path) -> None:
    secret = os.urandom(32).hex()
    assert load_key(key_command=f"printf {secret}").secret.hex() == secret
    with pytest.raises(UsageError, match="32 bytes"):
        load_key(key_command=f"echo $(touch {tmp_path}/shell)")
    assert not (tmp_path / "shell").exists()
    with pytest.raises(UsageError, match="cannot be run"):
        load_key(key_command="no-such-program-here")
    with pytest.raises(Unreachable, match="code 1"):
        load_key(key_command="false")
    with pytest.raises(Unreachable, match="within"):
        load_key(key_command="sleep 30", timeout=0.2)
    for odd in ("'", " ", "\0"):
        with pytest.raises(UsageError):
            load_key(key_command=odd)
