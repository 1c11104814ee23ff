"""The archive of evidence: it verifies, and whatever is done to it shows."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.errors import UsageError
from afterguard.jobs.collect import collect
from afterguard.model import Alert, Case, Confidence, Severity
from afterguard.policy import load_policy
from afterguard.respond import evidence
from afterguard.respond.evidence import Member, Missing
from afterguard.respond.kept import kept

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
MEMBERS = (
    Member("decisions/0.jsonl", b'{"a":1}\n', "decisions.jsonl at 17"),
    Member("policy/strict.yaml", b"rules: []\n"),
)


def packed(members: tuple[Member, ...] = MEMBERS) -> bytes:
    out = io.BytesIO()
    evidence.pack(out, members, case="c1", created="2026-11-30T10:00:00Z", at=1.79e9, by="ana", product="0.1", key=KEY, missing=(Missing("original of x2", "never kept"),), facts={"policy": "strict@7"})  # fmt: skip
    return out.getvalue()


def checked(data: bytes, folder: Path, trusted: tuple[str, ...] = (PUBLIC,)) -> evidence.Checked:
    path = folder / "e.tar"
    path.write_bytes(data)
    return evidence.verify(path, trusted)


def test_it_verifies_and_is_the_same_twice(tmp_path: Path) -> None:
    found = checked(packed(), tmp_path)
    assert found.problems == () and found.key == PUBLIC and found.manifest is not None
    assert found.manifest.missing == (Missing("original of x2", "never kept"),) and found.manifest.members[0].source == "decisions.jsonl at 17"  # fmt: skip
    assert packed() == packed()
    other = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    assert "not among the trusted" in checked(packed(), tmp_path, (other,)).problems[0]


def rebuilt(change: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(packed())) as old, tarfile.open(fileobj=out, mode="w") as new:
        for info in old:
            data = old.extractfile(info).read()  # type: ignore[union-attr]
            if change == "member" and info.name.startswith("policy"):
                data = b"rules: [x]"
            if change == "manifest" and info.name == "manifest.json":
                data = data.replace(b'"ana"', b'"bob"')
            if change == "gone" and info.name.startswith("policy"):
                continue
            info.size = len(data)
            new.addfile(info, io.BytesIO(data))
        if change in ("more", "link"):
            info = tarfile.TarInfo("../evil" if change == "more" else "decisions/0.jsonl")
            if change == "link":
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            new.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize(("change", "says"), [("member", "policy/strict.yaml was changed"), ("manifest", "the signature does not hold"), ("gone", "policy/strict.yaml is gone"), ("more", "does not belong"), ("link", "does not belong")])  # fmt: skip
def test_what_is_done_to_it_shows(tmp_path: Path, change: str, says: str) -> None:
    assert any(says in one for one in checked(rebuilt(change), tmp_path).problems)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_239), st.binary(min_size=1, max_size=4))
def test_no_byte_can_be_changed_unseen(at: int, what: bytes) -> None:
    data = packed()
    changed = data[:at] + what + data[at + len(what) :]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        held = [(info.offset_data, info.offset_data + info.size) for info in archive]
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = checked(changed, Path(folder))
        except UsageError:
            return
    touched = any(data[low:high] != changed[low:high] for low, high in held)
    assert found.problems or not touched


def test_what_acts_kept_is_in_it_and_stands_in_for_what_was_rotated_away(tmp_path: Path) -> None:
    def decision(uid: str) -> bytes:
        return b'{"metadata":{"uid":"%s"},"class_uid":6003}\n' % uid.encode()

    policy = b"format: afterguard.policy/1\nname: p\nmode: observe\nrules: []\n"
    revision = load_policy(policy.decode(), "p").revision
    place, log = tmp_path / "case", tmp_path / "decisions.jsonl"
    (place / "act-1").mkdir(parents=True)
    (place / "act-1" / "decisions.jsonl").write_bytes(decision("e-1") + decision("e-2"))
    (place / "act-1" / "policy.yaml").write_bytes(policy)
    (place / "act-1" / "measures.json").write_bytes(b"{}")
    (place / "act-1" / ".measures.json.7.part").write_bytes(b"torn")
    (place / "act-2.before").write_bytes(policy)
    log.write_bytes(decision("e-2"))
    alert = Alert("al-1", "f", "made_up", "t", Severity.high, Confidence.high, 1.0, 2.0, 2.0, "desk", exchanges=("e-1", "e-2"), count=2, policy=revision)  # fmt: skip
    case = Case("c-1", "t", Severity.high, 1.0, 2.0, "desk")
    found = collect(case, [alert], logs=[log], kept=kept(place))
    members = {one.name: one.data for one in found.members}
    assert members["decisions.jsonl"] == decision("e-2") + decision("e-1"), "each once"
    assert members["kept/1-measures.json"] == b"{}" and members["policy/1-policy.yaml"] == policy
    assert not [name for name in members if "part" in name or name.startswith("policy/2")]
    assert [one.what for one in found.missing] == ["originals of the exchanges"]
    (place / "act-1" / "decisions.jsonl").unlink()
    assert "decision of exchange e-1" in [one.what for one in collect(case, [alert], logs=[log], kept=kept(place)).missing]  # fmt: skip


def test_names_that_leave_it_are_refused() -> None:
    for name in ("../x", "/etc/x", "a//b", "manifest.json", "", "a/./b", "a\\b", "x" * 500):
        with pytest.raises(UsageError):
            packed((Member(name, b""),))
    with pytest.raises(UsageError):
        packed((MEMBERS[0], MEMBERS[0]))


def test_what_is_no_archive_says_so(tmp_path: Path) -> None:
    for data in (b"", b"nothing", packed()[:700], b"\0" * 10_240):
        with pytest.raises(UsageError):
            checked(data, tmp_path)
    with pytest.raises(UsageError, match="there is no"):
        evidence.verify(tmp_path / "none.tar")
