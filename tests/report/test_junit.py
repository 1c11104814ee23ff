"""JUnit XML and CSV: well-formed with hostile text, counts that add up, no formulas."""

from __future__ import annotations

import csv as reader
import io
import xml.etree.ElementTree as Tree
from types import ModuleType
from typing import Any

from afterguard.model import Severity
from afterguard.report import csv, junit


def xml(survey: Any, **more: Any) -> Tree.Element:
    out = io.StringIO()
    junit.render(survey, out, **more)
    return Tree.fromstring(out.getvalue().encode())


def test_counts_add_up(sample: ModuleType) -> None:
    suite = xml(sample.assistant().survey)[0]
    assert suite.get("tests") == str(len(suite)) == "14"
    assert suite.get("failures") == str(len(suite.findall("*/failure"))) == "9"
    assert suite.get("errors") == str(len(suite.findall("*/error"))) == "1"
    assert suite.get("skipped") == str(len(suite.findall("*/skipped"))) == "2"
    assert xml(sample.assistant().survey, fail_on=Severity.critical)[0].get("failures") == "2"


def test_hostile_text_stays_text(sample: ModuleType) -> None:
    root = xml(sample.hostile().apps[0].survey)
    assert {element.tag for element in root.iter()} <= {
        "testsuites",
        "testsuite",
        "testcase",
        "failure",
        "error",
        "skipped",
    }


def test_csv_cells_are_no_formulas(sample: ModuleType) -> None:
    app = sample.hostile().apps[0]
    for result, what in ((app.survey, ""), (app.survey, "scan"), (app.lookback, "")):
        out = io.StringIO()
        csv.render(result, out, what=what)
        rows = list(reader.reader(io.StringIO(out.getvalue())))
        assert len({len(row) for row in rows}) == 1 and len(rows) > 1
        assert not any(value.startswith(("=", "+", "-", "@", "\t")) for row in rows for value in row)


def test_csv_holds_every_row(sample: ModuleType) -> None:
    out = io.StringIO()
    csv.render(sample.assistant().survey, out, what="scan")
    rows = list(reader.DictReader(io.StringIO(out.getvalue())))
    assert len(rows) == 10 and rows[0]["path"] == ".env.production" and rows[0]["line"] == "3"
