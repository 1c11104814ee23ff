"""Discovery and posture over real applications, held against truth written by hand.

    python bench/real_runs.py SOURCES [--truth bench/real/truth] [--app NAME] [--details] [--json OUT]

SOURCES is the folder with the unpacked packages that the truth files name (docs/explanation/real-runs.md says how to get
them). Prints per application and kind what was found, missed and false, and the seconds each command took. It judges
nothing by itself: what stands in neither list of a truth file is called false, and a person has to look.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

COMMAND = [sys.executable, "-m", "afterguard"]
NEAR = 2
"""Lines between the truth and the evidence that still count as the same place."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "model-output-to-shell": ("model-output-to-shell",),
    "model-tool-runs-shell": ("model-output-to-shell", "dangerous-tool-without-approval"),
    "shell-from-model": ("model-output-to-shell",),
    "model-output-to-exec": ("model-output-to-eval",),
    "code-from-request-to-exec": ("model-output-to-eval",),
    "model-output-to-sql": ("model-output-to-sql",),
    "model-output-to-html": ("model-output-to-html",),
    "unsafe-deserialisation": ("unsafe-deserialization",),
    "unsafe-model-loading": ("unsafe-deserialization",),
    "cors-any-origin": ("permissive-cors",),
    "prompt-logging": ("prompt-logging",),
    "prompt-in-log": ("prompt-logging",),
    "missing-max-tokens": ("missing-output-limit",),
    "no-rate-limit": ("missing-rate-limit",),
    "open-ai-endpoint": ("unauthenticated-ai-endpoint",),
    "open-mcp-endpoint": ("unauthenticated-ai-endpoint", "exposed-inference-server"),
    "sql-endpoint-open": ("unauthenticated-ai-endpoint",),
    "unbounded-tool-loop": ("unbounded-agent-loop",),
    "unpinned-model": ("unpinned-model",),
    "unpinned-dependency": ("vulnerable-dependency",),
    "path-traversal": ("model-output-to-path",),
}
"""What a weakness in the truth may be called by the tool. `-without-approval` is always the tool-approval rule; a
weakness that stands neither here nor there has no rule at all and is counted as missed, outside the rules."""


@dataclass
class Tally:
    """Counts of one kind, or of one application."""

    truth: int = 0
    found: int = 0
    false: int = 0
    open: int = 0
    """Reported as unresolved: something is used there, which one the code does not say. A person looked at each."""
    lines: list[str] = field(default_factory=list)

    @property
    def missed(self) -> int:
        return self.truth - self.found


def label(name: str) -> str:
    """A name without case, punctuation and routes' methods."""
    name = re.sub(r"^(GET|POST|PUT|DELETE|WEBSOCKET|ANY)\s+", "", name.strip(), flags=re.I)
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def same_place(row: dict[str, Any], path: str, line: int) -> bool:
    """Whether an evidence line is at the place the truth names."""
    first, span = int(row["line"]), int(row.get("span", 0))
    return path == row["path"] and first - NEAR <= line <= first + max(span, NEAR)


def places(asset: dict[str, Any]) -> list[tuple[str, int]]:
    return [(item["path"], item["line"]) for item in asset["evidence"]]


def kinds(row: dict[str, Any]) -> set[str]:
    return {row["kind"], *row.get("or", ())}


def asset_fits(row: dict[str, Any], asset: dict[str, Any], shared: set[str]) -> bool:
    """By name where the name is one row's alone, otherwise by place."""
    if asset["kind"] not in kinds(row):
        return False
    here = any(same_place(row, item["path"], item["line"]) for item in asset["evidence"])
    names = {label(row["name"]), *(label(other) for other in row.get("aka", ()))}
    return here or (label(asset["name"]) in names - shared)


def allowed(row: dict[str, Any], asset: dict[str, Any]) -> bool:
    """Whether a row of `optional` covers an asset: right to report, no fault to leave out."""
    if row["kind"] not in ("*", asset["kind"]):
        return False
    under = all(item["path"].startswith(row["path"]) for item in asset["evidence"])
    if row["name"] == "*":
        if row["line"]:
            return any(same_place(row, item["path"], item["line"]) for item in asset["evidence"])
        return under
    names = {label(row["name"]), *(label(other) for other in row.get("aka", ()))}
    return label(asset["name"]) in names or any(
        same_place(row, item["path"], item["line"]) for item in asset["evidence"] if row["line"]
    )


def covered(truth: dict[str, Any], asset: dict[str, Any]) -> bool:
    """Whether `optional` allows an asset, by one row or by folders that hold all its evidence between them."""
    rows = truth.get("optional", ())
    if any(allowed(row, asset) for row in rows):
        return True
    folders = [
        row["path"] for row in rows if row["name"] == "*" and not row["line"] and row["kind"] in ("*", asset["kind"])
    ]
    return all(item["path"].startswith(tuple(folders)) for item in asset["evidence"])


def judge_assets(truth: dict[str, Any], assets: list[dict[str, Any]]) -> dict[str, Tally]:
    """Kind to tally. An asset that fits any row is right, also when another asset already met that row."""
    seen: dict[tuple[str, str], int] = {}
    for row in truth["assets"]:
        for name in {label(row["name"]), *(label(other) for other in row.get("aka", ()))}:
            seen[(row["kind"], name)] = seen.get((row["kind"], name), 0) + 1
    tallies: dict[str, Tally] = {}
    right: set[int] = set()
    for row in truth["assets"]:
        shared = {name for (kind, name), count in seen.items() if kind == row["kind"] and count > 1}
        tally = tallies.setdefault(row["kind"], Tally())
        tally.truth += 1
        hits = {index for index, asset in enumerate(assets) if asset_fits(row, asset, shared)}
        right |= hits
        if hits:
            tally.found += 1
        else:
            tally.lines.append(f"missed  {row['kind']} {row['name']}  {row['path']}:{row['line']}")
    for index, asset in enumerate(assets):
        if index in right or covered(truth, asset):
            continue
        tally = tallies.setdefault(asset["kind"], Tally())
        if asset["confidence"] == "unresolved" and not any(
            same_place(row, *at) for row in truth["wrong"] for at in places(asset)
        ):
            tally.open += 1
            continue
        tally.false += 1
        first = asset["evidence"][0]
        tally.lines.append(
            f"false   {asset['kind']} {asset['name']}  {first['path']}:{first['line']}  {first['matched'][:80]}"
        )
    return tallies


def rules_of(row: dict[str, Any]) -> tuple[str, ...]:
    """The tool's rules that would name this weakness."""
    if row["rule"].endswith("-without-approval"):
        return (
            "dangerous-tool-without-approval",
            "model-output-to-shell",
            "model-output-to-eval",
            "model-output-to-path",
        )
    return FAMILIES.get(row["rule"], ())


def accepted(row: dict[str, Any], finding: dict[str, Any]) -> bool:
    """Whether a row of `corrected`, added when a finding outside the truth proved right, covers a finding."""
    return (
        row["rule"] == finding["rule"]
        and finding["path"].startswith(row["path"])
        and (not row["line"] or abs(row["line"] - finding["line"]) <= NEAR)
    )


def judge_findings(truth: dict[str, Any], findings: list[dict[str, Any]]) -> dict[str, Tally]:
    """Two tallies: weaknesses a rule exists for, and those that no rule covers."""
    inside, outside = Tally(), Tally()
    right: set[int] = set()
    for row in truth["weaknesses"]:
        rules = rules_of(row)
        tally = inside if rules else outside
        tally.truth += 1
        hits = {
            index
            for index, finding in enumerate(findings)
            if finding["rule"] in rules and same_place(row, finding["path"], finding["line"])
        }
        right |= hits
        if hits:
            tally.found += 1
        else:
            tally.lines.append(f"missed  {row['rule']}  {row['path']}:{row['line']}  {row.get('note', '')}")
    for index, finding in enumerate(findings):
        if index not in right and not any(accepted(row, finding) for row in truth.get("corrected", ())):
            inside.false += 1
            place = f"{finding['path']}:{finding['line']}"
            inside.lines.append(f"false   {finding['rule']}  {place}  {finding.get('snippet', '')[:80]}")
    return {"with a rule": inside, "no rule": outside}


def run(command: str, folder: Path) -> tuple[dict[str, Any], float]:
    """One command's JSON and the seconds it took, start of the interpreter included."""
    began = time.perf_counter()
    done = subprocess.run(
        [*COMMAND, command, str(folder), "--format", "json", "--no-store", "--no-config", "--quiet"],
        capture_output=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode not in (0, 10):
        raise SystemExit(f"{command} {folder.name} ended with {done.returncode}: {done.stderr.decode()[-400:]}")
    return json.loads(done.stdout), seconds


def show(title: str, tallies: dict[str, Tally], details: bool) -> dict[str, list[int]]:
    """Prints a table and gives its figures: truth, found, missed, false, unresolved."""
    rows = {
        kind: [tally.truth, tally.found, tally.missed, tally.false, tally.open]
        for kind, tally in sorted(tallies.items())
    }
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)] if rows else [0, 0, 0, 0, 0]
    print(f"  {title:<22}{'truth':>7}{'found':>7}{'missed':>8}{'false':>7}{'open':>6}")
    for kind, figures in rows.items():
        print(f"    {kind:<20}{figures[0]:>7}{figures[1]:>7}{figures[2]:>8}{figures[3]:>7}{figures[4]:>6}")
    if details:
        for tally in tallies.values():
            for line in tally.lines:
                print("      " + line)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path)
    parser.add_argument("--truth", type=Path, default=Path(__file__).parent / "real" / "truth")
    parser.add_argument("--app", default="")
    parser.add_argument("--details", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    figures: dict[str, Any] = {}
    for path in sorted(args.truth.glob("*.yaml")):
        truth = yaml.safe_load(path.read_text(encoding="utf-8"))
        if args.app and args.app != truth["app"]:
            continue
        truth.setdefault("wrong", [])
        folder = args.sources / truth["folder"]
        found, discover_seconds = run("discover", folder)
        scanned, scan_seconds = run("scan", folder)
        print(f"{truth['app']} {truth['version']}  discover {discover_seconds:.1f} s, scan {scan_seconds:.1f} s")
        assets = show("assets", judge_assets(truth, found["assets"]), args.details)
        findings = show("weaknesses", judge_findings(truth, scanned["findings"]), args.details)
        figures[truth["app"]] = {
            "assets": assets,
            "weaknesses": findings,
            "seconds": {"discover": round(discover_seconds, 1), "scan": round(scan_seconds, 1)},
        }
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
