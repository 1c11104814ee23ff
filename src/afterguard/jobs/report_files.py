"""An onboarding result -> the files of the report folder, each replaced whole.

In: OnboardResult and a folder. Out: the same result with the files named, and the files. It decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from afterguard.errors import UsageError
from afterguard.jobs.change_request import change_request
from afterguard.model import AppResult, AssetKind, OnboardResult
from afterguard.policy.draft import draft
from afterguard.report import cyclonedx, data_protection, html, markdown, sarif
from afterguard.report import json as report_json
from afterguard.risk import business

PURPOSE = {
    "report.html": "for people; one file, prints, fetches nothing",
    "report.md": "for a ticket",
    "report.json": "for machines",
    "bom.cdx.json": "AI bill of materials, CycloneDX",
    "findings.sarif": "for code scanning",
    "policy.yaml": "draft of a policy; nothing enforces it",
    "data-protection.md": "what was read and what is kept",
    "business.yaml": "questions that would sharpen the money",
    "logging-change.md": "the change that would log prompts",
}
Write = Callable[[IO[str]], object]


def write(result: OnboardResult, folder: Path, *, ask_business: bool) -> OnboardResult:
    """Write every file below `folder`. Raises UsageError where it cannot be written."""
    plan: dict[str, Write] = {}
    apps = []
    for one in result.apps:
        prefix = "" if len(result.apps) == 1 else f"{slug(one.survey.app.name)}/"
        plan |= _of_app(one, prefix, result.created_at)
        apps.append(msgspec.structs.replace(one, policy_path=f"{prefix}policy.yaml"))
    if ask_business:
        plan["business.yaml"] = lambda out: out.write(business.template())
    top = ("report.html", "report.md", "report.json", "data-protection.md")
    named = {name: PURPOSE[name.rsplit("/", 1)[-1]] for name in (*top, *plan)}
    full = msgspec.structs.replace(result, apps=tuple(apps), files=named)
    plan["report.json"] = lambda out: report_json.render(full, out)
    plan["report.md"] = lambda out: markdown.render(full, out)
    plan["report.html"] = lambda out: html.render(full, out)
    plan["data-protection.md"] = lambda out: data_protection.render(full, out)
    for name, job in plan.items():
        replace(folder / name, job)
    return full


def _of_app(one: AppResult, prefix: str, created_at: float) -> dict[str, Write]:
    plan: dict[str, Write] = {
        f"{prefix}bom.cdx.json": lambda out: cyclonedx.render(one.survey, out, created_at=created_at),
        f"{prefix}findings.sarif": lambda out: sarif.render(one.survey, out, created_at=created_at),
        f"{prefix}policy.yaml": lambda out: out.write(draft(one.survey, one.lookback)),
    }
    text = logging_change(one)
    if text:
        plan[f"{prefix}logging-change.md"] = lambda out: out.write(text)
    return plan


def logging_change(one: AppResult) -> str:
    """The change that would log prompts, where none were recorded or given; "" where they were, or where there is no model."""
    if one.lookback is not None:
        return one.lookback.change_request
    models = [asset.name for asset in one.survey.assets if asset.kind is AssetKind.model]
    return change_request(one.survey.app.name, seen=0, blind=0, days=0.0, models=models) if models else ""


def slug(name: str) -> str:
    """A folder name for an application; names that differ only in odd characters stay apart by their order of letters."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60]
    return plain or "application"


def replace(path: Path, job: Write) -> None:
    """Write a file beside its place and move it there, so that a reader never sees half of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        try:
            with part.open("w", encoding="utf-8", newline="\n") as out:
                job(out)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", hint="choose another --out", slug="cannot-write"
        ) from None
