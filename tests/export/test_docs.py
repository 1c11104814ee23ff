"""Every example event of the docs is valid in the format it stands for, and the limits stated are those in force."""

from __future__ import annotations

import json
import re
import sys
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from afterguard.export.fit import LIMITS


def beside(name: str) -> Any:
    """A test file of this folder as a module."""
    key = f"export_{name}"
    if key not in sys.modules:
        spec = util.spec_from_file_location(key, Path(__file__).with_name(f"{name}.py"))
        assert spec and spec.loader
        sys.modules[key] = util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[key])
    return sys.modules[key]


DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = ("how-to/soc.md", "reference/soc-formats.md", "reference/guard.md")


def examples() -> list[tuple[str, Any]]:
    """(kind, event) of every fenced event."""
    out: list[tuple[str, Any]] = []
    for page in PAGES:
        for kind, text in re.findall(
            r"^```(json|text)\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S
        ):
            if kind == "text" and text.startswith(("CEF:", "LEEF:")):
                out.append((text.partition(":")[0].lower(), text.rstrip("\n")))
            elif kind == "json":
                event = json.loads(text)
                marks = {
                    "class_uid": "ocsf",
                    "ecs": "ecs",
                    "resourceLogs": "otlp",
                    "vendor_product": "cim",
                    "objects": "stix",
                }
                out += [(name, event) for mark, name in marks.items() if mark in event]
    return out


def test_every_format_has_an_example() -> None:
    assert {kind for kind, _ in examples()} == {"ocsf", "ecs", "cim", "cef", "leef", "otlp", "stix"}


@pytest.mark.parametrize(("kind", "event"), examples())
def test_example_is_valid(kind: str, event: Any) -> None:
    formats = beside("test_formats")
    if kind == "ocsf":
        assert beside("test_ocsf").errors(event) == []
    elif kind == "ecs":
        assert formats.ecs_errors(event) == []
    elif kind == "stix":
        assert formats.stix_errors(json.dumps(event).encode()) == []
    elif kind == "otlp":
        assert formats.Parse(json.dumps(event), formats.ExportLogsServiceRequest()).resource_logs
    elif kind == "cef":
        assert formats.by_the_letter(event)["externalId"] and formats.cef_parsed(event)
    elif kind == "leef":
        assert formats.leef_parsed(event)["id"]
    else:
        assert {"signature", "severity", "type", "user"} <= event.keys()


def test_limits_are_those_in_force() -> None:
    page = (DOCS / "reference/soc-formats.md").read_text(encoding="utf-8").partition("## Limits")[2]
    stated = {}
    for names, size in re.findall(r"^\| (`.*?`) \| ([\d,]+) \|", page, re.M):
        stated |= {name: int(size.replace(",", "")) for name in re.findall(r"`([^`]+)`", names)}
    assert stated == {name: one.total for name, one in LIMITS.items()}
