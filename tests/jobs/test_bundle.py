"""A policy as it travels: what is taken, what is refused, and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.config import GuardConfig
from afterguard.errors import UsageError
from afterguard.jobs import bundle as job
from afterguard.jobs import points
from afterguard.jobs.pull import Pull, pull_of
from afterguard.policy.load import settings as settings_of
from afterguard.policy.shipped import shipped_text

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SITES = job.sites_of("berlin: {mode: shadow, routes: {open*: {mode: enforce}}}", "sites")


def made(
    sequence: int = 5, *, text: str = "", key: Ed25519PrivateKey = KEY, days: float = 30.0, now: datetime = NOW
) -> job.Bundle:
    bundle = job.make(
        text or shipped_text("starter"), "p", sequence=sequence, now=now, days=days, promotion=None, sites=SITES
    )
    return job.sign(bundle, key, "Ann", now)


def reason(look: Any) -> str:
    with pytest.raises(job.BundleRefused) as refused:
        look()
    assert str(refused.value) and refused.value.hint
    return refused.value.reason


def test_it_comes_back_as_it_was() -> None:
    found = job.read(job.written(made()))
    assert found == made()
    job.genuine(found, [PUBLIC])
    assert job.new(found, job.Held(), NOW) and not job.new(found, job.Held(5, found.digest), NOW)
    assert job.policy_of(found, "").revision == found.revision
    assert json.loads(job.written(found))["format"] == "afterguard.bundle/1"


def test_a_site_has_what_is_different_there() -> None:
    found = made()
    assert settings_of(job.policy_of(found, "paris"), "mcp/x").mode == "observe"
    assert settings_of(job.policy_of(found, "berlin"), "mcp/x").mode == "shadow"
    assert settings_of(job.policy_of(found, "berlin"), "openai").mode == "enforce"


def test_what_is_refused_and_why() -> None:
    found = made()
    other = Ed25519PrivateKey.generate()
    assert reason(lambda: job.genuine(msgspec.structs.replace(found, signatures=()), [PUBLIC])) == "unsigned"
    assert reason(lambda: job.genuine(made(key=other), [PUBLIC])) == "untrusted"
    assert reason(lambda: job.genuine(found, [])) == "untrusted"
    assert reason(lambda: job.new(found, job.Held(6, "x"), NOW)) == "older"
    assert reason(lambda: job.new(found, job.Held(5, "x"), NOW)) == "forked"
    assert reason(lambda: job.new(found, job.Held(), NOW + timedelta(days=31))) == "expired"
    assert reason(lambda: job.read(b"{}")) == "unreadable"
    assert reason(lambda: job.read(job.written(found).replace(b'"sequence"', b'"more": 1, "sequence"'))) == "unreadable"
    assert reason(lambda: job.policy_of(msgspec.structs.replace(found, revision="other@0"), "")) == "bad_policy"


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 9}, {"valid_until": "2036-01-01T00:00:00Z"}, {"created": "2036-01-01T00:00:00Z"}, {"policy": shipped_text("strict")},
        {"sites": {}}, {"revision": "x@1"}, {"sites": job.sites_of("berlin: {mode: observe}", "s")},
    ],
)  # fmt: skip
def test_whatever_is_changed_is_seen(change: dict[str, Any]) -> None:
    changed = msgspec.structs.replace(made(), **change)
    assert reason(lambda: job.genuine(changed, [PUBLIC])) == "tampered"


def test_a_name_or_time_that_is_changed_is_seen() -> None:
    found = made()
    for change in ({"name": "Eve"}, {"time": "2020-01-01T00:00:00Z"}, {"signature": "00"}, {"signature": "zz"}):
        one = msgspec.structs.replace(found.signatures[0], **change)
        assert (
            reason(lambda one=one: job.genuine(msgspec.structs.replace(found, signatures=(one,)), [PUBLIC]))
            == "tampered"
        )


@settings(max_examples=200, deadline=None)
@given(data=st.one_of(st.binary(max_size=300), st.tuples(st.integers(0, 3_000), st.binary(min_size=1, max_size=4))))
def test_no_bytes_are_a_defect(data: Any) -> None:
    """Any bytes, and a good bundle with some of its bytes changed: read and genuine, or refused."""
    if isinstance(data, tuple):
        whole = bytearray(job.written(made()))
        at = data[0] % len(whole)
        whole[at : at + len(data[1])] = data[1]
        data = bytes(whole)
    try:
        found = job.read(data)
        job.genuine(found, [PUBLIC])
    except job.BundleRefused:
        return
    assert found == made()


# Pulling, from a file.


def pull(folder: Path, source: Path, clock: list[float], **more: Any) -> Pull:
    given = GuardConfig(policy=str(source), trusted_keys=[PUBLIC], policy_stale=100.0, **more)
    found = pull_of(given, folder / "guard")
    assert found is not None
    found.clock = lambda: clock[0]
    return found


def test_the_last_good_one_is_kept(tmp_path: Path) -> None:
    source, clock = tmp_path / "b.json", [NOW.timestamp()]
    source.write_bytes(job.written(made(5)))
    one = pull(tmp_path, source, clock)
    assert one.first() == made(5) and not one.standing(made(5)).is_stale
    assert one.once() == "unchanged"
    source.write_bytes(job.written(made(4)))
    assert one.once() == "older" and "roll-back" in one.state().says
    source.write_bytes(b"{")
    assert one.once() == "unreadable"
    source.write_bytes(job.written(made(6, text=shipped_text("strict"))))
    assert one.once() == "changed"
    source.unlink()
    clock[0] += 101
    assert one.once() == "unreachable"
    again = pull(tmp_path, source, clock)
    held = again.first()
    assert held is not None and held.sequence == 6 and again.standing(held).is_stale, "after a restart too"
    again.file.unlink()
    source.write_bytes(job.written(made(5)))
    assert again.once() == "older", "a lost bundle does not take back what was in force"


def test_what_was_changed_on_disk_is_not_used_and_is_fetched_again(tmp_path: Path) -> None:
    source, clock = tmp_path / "b.json", [NOW.timestamp()]
    source.write_bytes(job.written(made(5)))
    one = pull(tmp_path, source, clock)
    one.first()
    one.file.write_bytes(job.written(msgspec.structs.replace(made(5), sites={})))
    assert reason(one.held) == "tampered"
    assert one.first() == made(5)


def test_a_bundle_that_expires_stays_in_force_and_is_stale(tmp_path: Path) -> None:
    source, clock = tmp_path / "b.json", [NOW.timestamp()]
    source.write_bytes(job.written(made(5)))
    one = pull(tmp_path, source, clock)
    one.first()
    clock[0] += 31 * 86_400
    assert one.once() == "expired"
    assert one.first() == made(5) and one.standing(made(5)).is_stale


def test_a_clock_that_runs_backwards_is_not_believed(tmp_path: Path) -> None:
    source, clock = tmp_path / "b.json", [NOW.timestamp()]
    source.write_bytes(job.written(made(5)))
    one = pull(tmp_path, source, clock)
    one.first()
    clock[0] -= 86_400
    assert one.standing(made(5)).is_stale


def test_another_source_begins_anew(tmp_path: Path) -> None:
    clock = [NOW.timestamp()]
    one, two = tmp_path / "1.json", tmp_path / "2.json"
    one.write_bytes(job.written(made(5)))
    two.write_bytes(job.written(made(3)))
    pull(tmp_path, one, clock).first()
    found = pull(tmp_path, two, clock).first()
    assert found is not None and found.sequence == 3


def test_without_trusted_keys_nothing_is_pulled(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="trusted_keys is empty"):
        pull_of(GuardConfig(policy="https://policies.example/b.json"), tmp_path)
    with pytest.raises(UsageError, match="without TLS"):
        pull_of(GuardConfig(policy="http://policies.example/b.json", trusted_keys=[PUBLIC]), tmp_path)
    with pytest.raises(UsageError, match="not among"):
        given = GuardConfig(policy="https://a.example/b", trusted_keys=[PUBLIC], policy_hosts=["b.example"])
        pull_of(given, tmp_path)
    assert pull_of(GuardConfig(policy="starter"), tmp_path) is None


# Enforcement points.

PAGE = """# HELP afterguard_policy_info x
afterguard_policy_info{{policy="{revision}",mode="observe"}} 1
afterguard_route_mode{{route="openai",mode="enforce"}} 1
afterguard_route_mode{{route="mcp/a \\"b\\"",mode="observe"}} 1
afterguard_policy_sequence 7
afterguard_policy_created_timestamp_seconds 1000
afterguard_policy_pulled_timestamp_seconds 4000
afterguard_policy_stale {stale}
afterguard_killed 0
"""


def test_points_say_what_they_have_in_force() -> None:
    one = points.point("a", PAGE.format(revision="p@1", stale=0), 4_600.0)
    assert (one.revision, one.sequence, one.age, one.pulled, one.is_stale) == ("p@1", 7, 3_600.0, 600.0, False)
    assert one.modes == {"openai": "enforce", 'mcp/a "b"': "observe"}
    assert list(points.lines([one])) == [
        'a: p@1, bundle 7, made 1 h ago, pulled 10 min ago, observe /mcp/a "b", enforce /openai, not stale'
    ]
    stale = points.point("b", PAGE.format(revision="p@1", stale=1), 4_600.0)
    other = points.point("c", PAGE.format(revision="p@2", stale=0), 4_600.0)
    assert points.odd([one, stale]) == ["b"] and points.odd([one, one, other]) == ["c"]
    assert points.odd([one, points.point("d", "x", 0.0)]) == ["d"]
    assert "DIFFERS" in next(points.lines([one, other]))
