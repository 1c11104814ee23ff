"""`afterguard rules`: every check and detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cyclopts import App

from afterguard import names
from afterguard.cli.options import DEFAULT, Common, open_session, writing
from afterguard.config import nearest
from afterguard.errors import UsageError

rules = App(name="rules", help="Every check and detector.", help_format="plaintext")


@rules.command(name="list")
def list_rules(*, common: Common = DEFAULT) -> int:
    """One line for each check and detector."""
    session = open_session(common)
    rows = _rows()
    with writing(common.output) as out:
        if common.format == "json":
            out.write(json.dumps({"format": "afterguard.rules/1", "rules": rows}, indent=2) + "\n")
            return 0
        for row in rows:
            out.write(f"{row['area']:<9} {row['id']:<36} {row['severity']:<9} {row['title']}\n")
    session.next("afterguard rules show " + str(rows[0]["id"]))
    return 0


@rules.command
def show(rule: str, /, *, common: Common = DEFAULT) -> int:
    """Why one rule exists, how to mend what it finds, and its ids in the public taxonomies.

    Parameters
    ----------
    rule
        Id of a check or detector.
    """
    session = open_session(common)
    rows = {str(row["id"]): row for row in _rows()}
    if rule not in rows:
        raise UsageError(f"no rule {rule!r}", hint=nearest(rule, list(rows)), slug="no-such-rule")
    row = rows[rule]
    with writing(common.output) as out:
        if common.format == "json":
            out.write(json.dumps({"format": "afterguard.rule/1", **row}, indent=2) + "\n")
            return 0
        out.write(f"{row['id']} ({row['area']}, {row['severity']})\n{row['title']}\n\nWhy: {row['why']}\n")
        if row["fix"]:
            out.write(f"Fix: {row['fix']}\n")
        out.write("\n" + "\n".join(names.describe(one) for one in row["taxonomies"]) + "\n")
    session.next("afterguard scan PATH" if row["area"] == "scan" else "afterguard lookback FILE")
    return 0


@rules.command
def sigma(folder: Path | None = None, /, *, common: Common = DEFAULT) -> int:
    """Our detections as Sigma rules, for the SOC's own tools: printed, or written into a folder with samples and pipelines.

    Parameters
    ----------
    folder
        Folder that gets rules/, samples/ (logs that each rule hits and misses) and pipelines/ (for pySigma: splunk, elastic, sentinel).
    """
    from afterguard.export import sigma as export

    session = open_session(common)
    every = export.rules()
    if folder is None:
        with writing(common.output) as out:
            out.write("---\n".join(every.values()))
    else:
        for name, text in every.items():
            _write(folder / "rules" / f"{name}.yml", text)
            for kind, runs in export.samples(name).items():
                lines = "".join(json.dumps(event) + "\n" for run in runs for event in run)
                _write(folder / "samples" / f"{name}.{kind}.jsonl", lines)
        for name, text in export.pipelines().items():
            _write(folder / "pipelines" / f"{name}.yml", text)
        session.say(f"rules: {len(every)} Sigma rules in {folder}")
    session.next(f"sigma convert -t splunk -p {folder}/pipelines/splunk.yml {folder}/rules/" if folder else "afterguard rules sigma FOLDER")  # fmt: skip
    return 0


def _write(path: Path, text: str) -> None:
    with writing(str(path)) as out:
        out.write(text)


def _rows() -> list[dict[str, Any]]:
    from afterguard.detect import DETECTORS
    from afterguard.jobs.rules import checks as every_check

    checks = [
        {
            "area": "scan",
            "id": one.id,
            "title": one.title,
            "severity": str(one.severity),
            "persona": one.persona,
            "why": one.why,
            "fix": one.fix,
            "taxonomies": list(one.taxonomies),
        }
        for one in every_check()
    ]
    detectors = [
        {
            "area": "lookback",
            "id": one.id,
            "title": ", ".join(one.kinds),
            "severity": str(one.severity),
            "persona": "regular",
            "why": one.why,
            "fix": "",
            "taxonomies": list(one.taxonomies),
        }
        for one in DETECTORS
    ]
    return sorted(checks, key=lambda row: str(row["id"])) + sorted(detectors, key=lambda row: str(row["id"]))
