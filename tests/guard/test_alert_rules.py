"""The alert rules and the dashboard against the metrics there are, and the rules evaluated by Prometheus's own tool on pages of a real guard.

In: deploy/, METRICS, and where there is a `promtool` (Debian: prometheus) a real guard to which bad things happen. Without the tool the last part skips and says so.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ports import free_port

from afterguard.guard.metrics import METRICS, Metrics

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/afterguard.rules.yaml"
DASHBOARD = ROOT / "deploy/grafana/afterguard.json"
RUNBOOK = ROOT / "docs/how-to/runbook.md"
ADDED = {"instance", "job"}
"""Labels that Prometheus puts on what it scrapes."""
NAME = re.compile(r"afterguard_\w+")
SUFFIX = re.compile(r"_(bucket|sum|count)$")
SELECTOR = re.compile(r"(afterguard_\w+)\{([^}]*)\}")
GROUPED = re.compile(r"(?:by|without|on|ignoring)\s*\(([^)]*)\)")


def rules() -> list[dict[str, Any]]:
    return list(yaml.safe_load(RULES.read_text())["groups"][0]["rules"])


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    board = json.loads(DASHBOARD.read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace('{route=~"$route"}', '{route=~".*"}')
    for note in board["annotations"]["list"]:
        yield note["name"], note["expr"]


@pytest.mark.parametrize(("title", "expression"), list(expressions()))
def test_every_metric_and_label_exists(title: str, expression: str) -> None:
    labels: set[str] = set()
    for name in NAME.findall(expression):
        metric = METRICS.get(name) or METRICS.get(SUFFIX.sub("", name))
        assert metric is not None, f"{title}: {name} is no metric"
        is_histogram = metric.kind == "histogram"
        assert is_histogram == bool(SUFFIX.search(name) and name not in METRICS), f"{title}: {name} is a {metric.kind}"
        labels |= {*metric.labels, *(("le",) if is_histogram else ())}
    assert labels or "afterguard_" in expression
    for name, inside in SELECTOR.findall(expression):
        metric = METRICS.get(name) or METRICS[SUFFIX.sub("", name)]
        for label in re.findall(r"(\w+)\s*[=!]~?", inside):
            assert label in metric.labels, f"{title}: {name} has no label {label}"
    for inside in GROUPED.findall(expression):
        for label in filter(None, (one.strip() for one in inside.split(","))):
            assert label in labels | ADDED, f"{title}: nothing in it has a label {label}"


def test_counters_are_only_used_as_counters() -> None:
    """A counter without rate or increase is the total since the start, which nobody wants an alert on."""
    for title, expression in expressions():
        for found in re.finditer(r"(afterguard_\w+_total)(\{[^}]*\})?(\[\w+\])?", expression):
            rest = expression[found.end() :]
            assert found[3] or rest.startswith((" unless", " offset")), f"{title}: {found[0]}"


def test_every_alert_stands_in_the_runbook() -> None:
    page = RUNBOOK.read_text()
    for rule in rules():
        assert f"### {rule['alert']}\n" in page, rule["alert"]
        assert rule["annotations"]["runbook"] == f"docs/how-to/runbook.md#{_anchor(page, rule)}"


def _anchor(page: str, rule: dict[str, Any]) -> str:
    anchor = str(rule["annotations"]["runbook"]).partition("#")[2]
    assert f"### {anchor}\n" in page.lower(), anchor
    return anchor


# --- evaluated -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def promtool() -> str:
    found = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if not found:
        pytest.skip("no promtool (Debian: apt-get install prometheus)")
    return found


def test_the_files_are_good(promtool: str) -> None:
    done = subprocess.run([promtool, "check", "rules", str(RULES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_is_good(promtool: str) -> None:
    metrics = Metrics()
    for name, metric in METRICS.items():
        labels = tuple('odd "value"\n\\' for _ in metric.labels)
        if metric.kind == "histogram":
            metrics.time(name, 0.02, *labels)
        else:
            metrics.add(name, *labels)
    done = subprocess.run([promtool, "check", "metrics"], input=metrics.page(), capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


Series = dict[str, str]


def fired(promtool: str, folder: Path, series: Series, minutes: int) -> dict[str, set[tuple[tuple[str, str], ...]]]:
    """Alert -> label sets that fire at that minute. The tool only compares, so it is asked for nothing and its difference is read."""
    copy = folder / "rules.yaml"
    copy.write_text(re.sub(r"(?m)^        annotations:\n(?:          .*\n)+", "", RULES.read_text()))
    names = [rule["alert"] for rule in rules()]
    asked = {
        "rule_files": [str(copy)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [{"eval_time": f"{minutes}m", "alertname": n, "exp_alerts": []} for n in names],
            }
        ],
    }
    file = folder / "asked.json"  # JSON is YAML
    file.write_text(json.dumps(asked))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True)
    said = done.stdout + done.stderr
    out: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    for labels in re.findall(r"Labels:\{(.*)\}", said):
        pairs = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
        out.setdefault(pairs.pop("alertname"), set()).add(tuple(sorted(pairs.items())))
    assert done.returncode == 0 or out, said
    return out


def names(found: dict[str, Any]) -> set[str]:
    return set(found)


QUIET: Series = {
    'afterguard_requests_total{route="a",operation="chat",action="allow",mode="enforce",job="g",instance="i"}': "0+600x3000",
    'afterguard_killed{job="g",instance="i"}': "0+0x3000",
    'afterguard_in_flight{route="all",job="g",instance="i"}': "5+0x3000",
    'afterguard_log_lost_total{job="g",instance="i"}': "0+0x3000",
    'afterguard_policy_info{policy="p@1",mode="enforce",job="g",instance="i"}': "1+0x3000",
    'afterguard_policy_stale{job="g",instance="i"}': "0+0x3000",
    'afterguard_policy_valid_until_timestamp_seconds{job="g",instance="i"}': "2000000000+0x3000",
    'afterguard_policy_pulls_total{outcome="unchanged",job="g",instance="i"}': "0+1x3000",
    'afterguard_measures_stale{job="g",instance="i"}': "0+0x3000",
    'afterguard_measures_sequence{job="g",instance="i"}': "1796020212346+0x3000",
    'afterguard_measures_sequence{job="g",instance="alone"}': "7+0x3000",
    'afterguard_collected_total{source="traces",outcome="taken",job="g",instance="i"}': "0+100x3000",
    'afterguard_judging_seconds_bucket{route="a",le="0.001",job="g",instance="i"}': "0+600x3000",
    'afterguard_judging_seconds_bucket{route="a",le="+Inf",job="g",instance="i"}': "0+600x3000",
}
AT = 60
GONE = "_x20"
ONE_EVENT: list[tuple[str, str, Series]] = [
    (
        "AfterguardFailingOpen",
        "a",
        {'afterguard_failures_total{route="a",reason="budget",passed="yes"}': f"_x{AT - 3} 1x60"},
    ),
    (
        "AfterguardFailingClosed",
        "a",
        {'afterguard_failures_total{route="a",reason="budget",passed="no"}': f"_x{AT - 3} 1x60"},
    ),
    (
        "AfterguardException",
        "a",
        {'afterguard_failures_total{route="a",reason="exception:KeyError",passed="yes"}': f"_x{AT - 3} 1x60"},
    ),
    (
        "AfterguardPolicyNotLoaded",
        "",
        {'afterguard_failures_total{route="all",reason="bad_policy",passed="yes"}': f"_x{AT - 3} 1x60"},
    ),
    ("AfterguardApprovalForged", "", {'afterguard_approvals_total{route="all",event="forged"}': f"_x{AT - 3} 1x60"}),
    ("AfterguardPolicyRefused", "", {'afterguard_policy_pulls_total{outcome="older"}': f"_x{AT - 3} 1x60"}),
    ("AfterguardMeasuresRefused", "", {'afterguard_measures_refused_total{reason="older"}': f"_x{AT - 3} 1x60"}),
    (
        "AfterguardCollectedLost",
        "",
        {'afterguard_collected_total{source="traces",outcome="refused"}': f"_x{AT - 3} 1x60"},
    ),
    ("AfterguardLateHits", "a", {'afterguard_late_total{route="a"}': f"_x{AT - 3} 1x60"}),
]
STEADY: list[tuple[str, Series]] = [
    ("AfterguardFailingOpenOften", {'afterguard_failures_total{route="a",reason="overload",passed="yes"}': "0+20x100"}),
    ("AfterguardUnjudged", {'afterguard_unjudged_total{route="a",reason="unknown_shape"}': "0+60x100"}),
    ("AfterguardLogLost", {'afterguard_log_lost_total{job="g",instance="j"}': "0+1x100"}),
    ("AfterguardUpstreamErrors", {'afterguard_upstream_errors_total{route="a",reason="refused"}': "0+60x100"}),
    (
        "AfterguardSlow",
        {
            'afterguard_judging_seconds_bucket{route="b",le="0.1"}': "0+90x100",
            'afterguard_judging_seconds_bucket{route="b",le="0.25"}': "0+100x100",
            'afterguard_judging_seconds_bucket{route="b",le="+Inf"}': "0+100x100",
        },
    ),
    ("AfterguardFull", {'afterguard_in_flight{route="all",job="g",instance="j"}': "1800+0x100"}),
    ("AfterguardKilled", {'afterguard_killed{job="g",instance="j"}': "1+0x100"}),
    (
        "AfterguardPoliciesDiffer",
        {'afterguard_policy_info{policy="p@2",mode="enforce",job="g",instance="j"}': "1+0x100"},
    ),
    ("AfterguardRefused", {'afterguard_refused_total{reason="malformed_http"}': "0+300x100"}),
    ("AfterguardSharedStateAway", {'afterguard_failures_total{route="all",reason="redis",passed="yes"}': "0+5x100"}),
    ("AfterguardPolicyStale", {'afterguard_policy_stale{job="g",instance="j"}': "1+0x100"}),
    ("AfterguardMeasuresStale", {'afterguard_measures_stale{job="g",instance="j"}': "1+0x100"}),
    (
        "AfterguardMeasuresDiffer",
        {
            'afterguard_measures_stale{job="g",instance="j"}': "0+0x100",
            'afterguard_measures_sequence{job="g",instance="j"}': "1796020212345+0x100",
        },
    ),
    (
        "AfterguardPolicyExpires",
        {'afterguard_policy_valid_until_timestamp_seconds{job="g",instance="j"}': "100000+0x100"},
    ),
    ("AfterguardApprovalsWait", {'afterguard_approvals{state="pending",job="g",instance="j"}': "1+0x100"}),
    ("AfterguardClientsLeave", {'afterguard_client_gone_total{route="a"}': "0+90x100"}),
]


def test_nothing_fires_on_a_quiet_day(promtool: str, tmp_path: Path) -> None:
    assert not fired(promtool, tmp_path, QUIET, AT)


@pytest.mark.parametrize(("alert", "route", "series"), ONE_EVENT, ids=[row[0] for row in ONE_EVENT])
def test_the_first_event_ever_is_seen(promtool: str, tmp_path: Path, alert: str, route: str, series: Series) -> None:
    """The series begins with it, and increase() alone would stay at nothing."""
    found = fired(promtool, tmp_path, QUIET | series, AT)
    assert alert in found
    if route:
        assert all(("route", route) in labels for labels in found[alert])


@pytest.mark.parametrize(("alert", "series"), STEADY, ids=[row[0] for row in STEADY])
def test_what_goes_on_fires(promtool: str, tmp_path: Path, alert: str, series: Series) -> None:
    assert alert in fired(promtool, tmp_path, QUIET | series, AT)


def test_no_guard_and_no_traffic(promtool: str, tmp_path: Path) -> None:
    assert "AfterguardGone" in fired(promtool, tmp_path, {}, AT)
    day = 24 * 60
    stopped = {name: values for name, values in QUIET.items() if "requests" not in name}
    stopped[next(name for name in QUIET if "requests" in name)] = f"0+600x{day} 864000+0x400"
    assert "AfterguardBypassed" in fired(promtool, tmp_path, stopped, day + 120)
    assert "AfterguardBypassed" not in fired(promtool, tmp_path, QUIET, day + 120)


def test_everything_unlisted_was_tried() -> None:
    tried = {row[0] for row in ONE_EVENT} | {row[0] for row in STEADY} | {"AfterguardGone", "AfterguardBypassed"}
    assert tried == {rule["alert"] for rule in rules()}


# --- a real guard ----------------------------------------------------------------------------------------------------

POLICY = """
format: afterguard.policy/1
name: tried
says: Two routes, one open and one closed, and no time for large texts.
mode: enforce
on_error: open
limits: {per: conversation, requests_per_minute: 100000}
routes:
  strict: {on_error: closed}
rules:
  - id: worth-a-look
    says: "When a detector saw anything: write it down."
    detection:
      seen:
        hit.kind|exists: true
      condition: seen
    action: flag
"""


def post(url: str, body: bytes, timeout: float = 20) -> int:
    try:
        asked = urllib.request.Request(url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(asked, timeout=timeout) as reply:
            reply.read()
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def chat(text: str, **more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]} | more).encode()


class Guarded:
    """The real command, the stand-in providers behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policy = folder / "policy.yaml"
        self.policy.write_text(POLICY)
        model = free_port()
        self.model = subprocess.Popen(
            [sys.executable, str(ROOT / "examples/stand_in_providers.py"), "--port", str(model)],
            stdout=subprocess.DEVNULL,
        )
        self.base = f"http://127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "afterguard", "guard", "--listen", self.base[7:], "--no-config", "--quiet"]
        command += [
            "--policy",
            str(self.policy),
            "--folder",
            str(folder),
            "--redis",
            f"redis://127.0.0.1:{free_port()}/0",
        ]
        command += ["--budget-ms", "0.001", "--judge", "off"]
        for name, target in (("open", model), ("strict", model), ("dead", free_port())):
            command += ["--upstream", f"{name}:openai=http://127.0.0.1:{target}/openai"]
        self.process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not self.is_ready():
            assert time.monotonic() < until and self.process.poll() is None, "the guard did not start"
            time.sleep(0.1)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base}/readyz", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def page(self) -> dict[str, float]:
        with urllib.request.urlopen(f"{self.base}/metrics", timeout=10) as reply:
            text = reply.read().decode()
        rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in rows}

    def chat(self, route: str, body: bytes) -> int:
        return post(f"{self.base}/{route}/v1/chat/completions", body)

    def worker(self) -> int:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                        return int(entry.name)
                except (OSError, ValueError, IndexError):
                    continue
        raise AssertionError("no worker")

    def lose_a_decision(self) -> None:
        """No room for another line, as on a full disk."""
        worker = self.worker()
        hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(worker, resource.RLIMIT_FSIZE, ((self.folder / "decisions.jsonl").stat().st_size + 9, hard))
        self.chat("open", chat("Good morning."))
        time.sleep(0.1)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (hard, hard))

    def leave_early(self) -> None:
        """A client that does not wait."""
        body = chat("Good morning. [[wait: 5]]")
        host, number = self.base[7:].split(":")
        with socket.create_connection((host, int(number))) as one:
            head = f"POST /open/v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n"
            one.sendall(head.encode() + body)
            time.sleep(0.4)

    def close(self) -> None:
        for process in (self.process, self.model):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    if not hasattr(resource, "prlimit") or not Path("/proc").exists():
        pytest.skip("needs Linux")
    one = Guarded(tmp_path_factory.mktemp("guarded"))
    try:
        yield one
    finally:
        one.close()


def grown(before: dict[str, float], after: dict[str, float]) -> Series:
    """Both pages as series: quiet as before, then the same events once a minute."""
    out: Series = {}
    for name, value in after.items():
        metric = re.split(r"[{ ]", name)[0]
        labelled = name[:-1] + ',job="g",instance="i"}' if name.endswith("}") else name + '{job="g",instance="i"}'
        if METRICS.get(metric, METRICS["afterguard_judging_seconds"]).kind == "gauge":
            was = before.get(name)
            out[labelled] = f"{'_' if was is None else f'{was:g}'}x20 {value:g}x100"
        else:
            step = value - before.get(name, 0.0)
            first = f"{before[name]:g}x20" if name in before else "_x20"
            out[labelled] = f"{first} {value:g}+{step:g}x100"
    return out


def test_a_real_guard_to_which_bad_things_happen(promtool: str, guarded: Guarded, tmp_path: Path) -> None:
    for route in ("open", "strict"):
        assert guarded.chat(route, chat("Good morning.")) == 200
    before = guarded.page()
    large = chat(" ".join(f"The {n}th parcel went to the office in street {n}." for n in range(3_000)))
    assert guarded.chat("open", large) == 200, "fails open"
    assert guarded.chat("strict", large) == 400, "fails closed"
    assert guarded.chat("dead", chat("Good morning.")) == 502
    guarded.chat("open", b'{"messages": [')
    guarded.lose_a_decision()
    guarded.leave_early()
    guarded.policy.write_text("rules: [")
    (guarded.folder / "killed").touch()
    time.sleep(1.2)
    after = guarded.page()
    (guarded.folder / "killed").unlink()
    guarded.policy.write_text(POLICY)
    found = fired(promtool, tmp_path, grown(before, after), 80)
    wanted = {
        "AfterguardFailingOpen", "AfterguardFailingOpenOften", "AfterguardFailingClosed", "AfterguardUpstreamErrors", "AfterguardUnjudged", "AfterguardLogLost",
        "AfterguardClientsLeave", "AfterguardPolicyNotLoaded", "AfterguardKilled", "AfterguardSharedStateAway",
    }  # fmt: skip
    assert wanted <= names(found), wanted - names(found)
    assert not names(found) - wanted - {"AfterguardSlow"}
    assert {dict(labels)["route"] for labels in found["AfterguardFailingClosed"]} == {"strict"}
    assert {dict(labels)["route"] for labels in found["AfterguardUpstreamErrors"]} == {"dead"}
    quiet = {name: values.partition(" ")[0] for name, values in grown(before, after).items()}
    assert not names(fired(promtool, tmp_path, quiet, 15)) - {"AfterguardSharedStateAway"}, (
        "Redis was away all the time"
    )
