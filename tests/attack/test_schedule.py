"""The examples in deploy/schedule do what they say: the day's run, its baseline, the end of the leave."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

_spec = importlib.util.spec_from_file_location("attack_stand_ins", Path(__file__).with_name("stand_ins.py"))
assert _spec and _spec.loader
stand_ins: Any = importlib.util.module_from_spec(_spec)
sys.modules["attack_stand_ins"] = stand_ins
_spec.loader.exec_module(stand_ins)
FOLDER = Path(__file__).parents[2] / "deploy/schedule"
TARGET = """\
format: afterguard.target/1
name: desk
url: http://127.0.0.1:{port}/v1/chat/completions
system: {system}
surfaces: [user, document]
knows: {{purpose: bank help desk, canaries: [{{value: {code}}}]}}
limits: {{requests: 60, per_second: 1000}}
"""


def test_a_night_by_the_script(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/afterguard"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m afterguard "$@"\n')
    command.chmod(0o755)
    env = os.environ | {"HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    def ran(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)

    def leave(days: str) -> None:
        done = ran("afterguard", "attack", "authorise", "target.yaml", "--key", "owner.key", "--owner", "A", "--tester", "B", "--days", days, "-o", "leave.json")  # fmt: skip
        assert done.returncode == 0, done.stderr

    with stand_ins.standing("mended") as server:
        (tmp_path / "target.yaml").write_text(TARGET.format(port=server.server_port, system=json.dumps(stand_ins.SYSTEM), code=stand_ins.CODE))  # fmt: skip
        assert ran("afterguard", "policy", "key", "owner.key").returncode == 0
        leave("7")
        first = ran("sh", str(FOLDER / "attack.sh"), str(tmp_path))
        assert first.returncode == 0 and (tmp_path / "baseline.json").exists(), first.stderr
        (one,) = (tmp_path / "results").iterdir()
        assert one.stem == json.loads(one.read_text())["seed"]
        again = ran("sh", str(FOLDER / "attack.sh"), str(tmp_path))
        assert again.returncode == 0 and "the same as far as their trials can show" in again.stderr, again.stderr
        leave("0.000001")
        over = ran("sh", str(FOLDER / "attack.sh"), str(tmp_path))
    assert over.returncode == 5 and "has to sign another leave" in over.stderr


def test_the_units_and_the_job_name_what_there_is() -> None:
    job = yaml.safe_load((FOLDER / "attack.cronjob.yaml").read_text())
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert job["spec"]["concurrencyPolicy"] == "Forbid" and job["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert container["command"][1].endswith("/attack.sh") and pod["restartPolicy"] == "Never"
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert "attack.sh /var/lib/afterguard/%i" in (FOLDER / "afterguard-attack@.service").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
def test_systemd_takes_the_timer() -> None:
    ran = subprocess.run(["systemd-analyze", "calendar", "*-*-* 02:30:00 UTC"], capture_output=True, check=False)
    assert ran.returncode == 0
