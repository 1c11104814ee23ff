"""Probes through a running guard: every cell seen, gaps said, and nobody else can have a request answered by the guard itself."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ports import free_port

from afterguard.guard import door, probe, probe_request
from afterguard.policy.shipped import shipped_text

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]
MOUNTS = (
    "openai",
    "azure",
    "anthropic",
    "gemini",
    "ollama",
    "bedrock",
    "mcp/pages",
    "kserve",
    "tfserving",
    "mlflow",
    "sagemaker",
    "torchserve",
    "scoring",
)
KEY = b"k" * 32


@pytest.fixture(scope="module", params=["enforce", "observe"])
def guard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("prove")
    nowhere = f"http://127.0.0.1:{free_port()}"
    policy = shipped_text("strict").replace("mode: observe", f"mode: {request.param}")
    mounts = {name: f"{nowhere}/{name}" for name in MOUNTS}
    doors = [f"--door={name}=127.0.0.1:{free_port()}" for name in ("icap", "ext_proc")]
    gateways = [f"--gateway={name}" for name in door.ON_REQUEST]
    ports = ()
    if importlib.util.find_spec("grpc"):
        address = f"127.0.0.1:{free_port()}"
        ports = ("--grpc", f"kserve@{address}=grpc://127.0.0.1:{free_port()}")
    with running.guard("", folder, policy, *doors, *gateways, *ports, mounts=mounts) as one:
        one.doors = [*doors, f"--door=grpc={address}"] if ports else doors
        yield one


def prove(one: Any, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = running.prove(one.url[7:], folder, *words)
    return done


def test_every_cell_of_every_door_is_seen_and_no_upstream_is_asked(guard: Any) -> None:
    """All at once: the mounts, the gateways that ask, traces, mirrors, and every door on an address of its own."""
    done = prove(guard, guard.folder, "--format", "json", *guard.doors)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    cells = json.loads(done.stdout)["cells"]
    kinds = [kind.partition("/")[0] for kind in MOUNTS]
    each = sum(len(list(probe.cells(kind))) for kind in kinds)
    found = Counter(cell["door"] or cell["mount"].partition("/")[0] for cell in cells)
    assert {name: found[name] for name in door.LISTENERS} == {"icap": each, "ext_proc": each}
    assert found["grpc"] == len([one for one in guard.doors if "grpc" in one]) * len(list(probe.cells("kserve")))
    assert {name: found[name] for name in door.ON_REQUEST} == {
        name: len(list(probe.cells(name))) for name in door.ON_REQUEST
    }
    assert found["otlp"] == len(list(probe.cells("otlp")))
    assert found["mirror"] == sum(len(list(probe.mirrored(kind))) for kind in kinds)
    assert set(door.PATHS) | set(door.LISTENERS) <= set(found), "a door that nothing proves"
    assert all(cell["seen"] for cell in cells)
    assert guard.metric("afterguard_upstream_errors_total") == 0


def test_the_table_names_the_door(guard: Any) -> None:
    table = prove(guard, guard.folder, *guard.doors).stdout
    assert "icap/openai chat" in table and "ext_proc/openai chat" in table and "GAP" not in table


def test_a_door_that_is_not_there_is_said(guard: Any) -> None:
    done = prove(guard, guard.folder, f"--door=ext_proc=127.0.0.1:{free_port()}")
    assert done.returncode == 4 and "no door ext_proc" in done.stderr


def test_a_port_that_is_none_of_the_guards_is_said(guard: Any) -> None:
    pytest.importorskip("grpc")
    done = prove(guard, guard.folder, f"--door=grpc=127.0.0.1:{free_port()}")
    assert done.returncode == 2 and "no port for gRPC" in done.stderr and "(kserve)" in done.stderr, done.stderr


def test_what_stands_before_a_guard_is_told_its_token_only_where_the_guard_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own address, under another name: nothing shows the token there unless the client does."""
    monkeypatch.setenv("AFTERGUARD_GUARD_TOKEN", "a-token")
    nowhere = f"http://127.0.0.1:{free_port()}"
    with running.guard("", tmp_path, shipped_text("strict"), mounts={"openai": nowhere}) as one:
        done = prove(one, tmp_path, "--through", one.url.replace("127.0.0.1", "localhost"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def test_another_key_is_no_probe(guard: Any, tmp_path: Path) -> None:
    done = prove(guard, tmp_path)
    assert done.returncode == 4 and "does not know this key" in done.stderr


def test_a_header_that_is_not_signed_is_only_a_header(guard: Any) -> None:
    cell = next(probe.cells("openai"))
    forged = probe.signature(b"x" * 32, probe.named(cell), int(time.time()))
    asked = urllib.request.Request(
        guard.url + "/openai" + probe.path(cell),
        probe_request.request(cell, KEY),
        {"x-afterguard-probe": forged.decode()},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=10)
    refused.value.close()
    assert refused.value.code == 502, "it went to the upstream, which is not there"


def test_old_signatures_do_not_hold() -> None:
    cell = next(probe.cells("anthropic"))
    signed = probe.signature(KEY, probe.named(cell), 1_000_000)
    assert probe.verified(signed, KEY, 1_000_100.0) == cell
    assert probe.verified(signed, KEY, 1_000_000.0 + probe.FRESH + 1) is None
    assert probe.verified(signed[:-1] + b"0", KEY, 1_000_100.0) in (None, cell)
    assert probe.verified(b"", KEY, 0.0) is None and probe.verified(b"1.x.y", KEY, 1.0) is None


@given(
    st.binary(max_size=60) | st.builds(bytes.__add__, st.binary(max_size=6), st.just(b".openai/chat/user/whole/.00"))
)
@example(b"\xb2.openai/chat/user/whole/.00")
@example(b"9" * 5_000 + b".openai/chat/user/whole/.00")
def test_whatever_stands_in_the_header_is_read_or_is_no_probe(value: bytes) -> None:
    """What raised here would be an exchange that nobody judges."""
    assert probe.verified(value, KEY, 1.0) is None
