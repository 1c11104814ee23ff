"""Files of rows against a schema: what is otherwise than agreed, row by row, in every format; and what is no row at all."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterguard.guard.schema import load
from afterguard.jobs.feature_rows import Result, check
from afterguard.model import Coverage

SCHEMA = """format: afterguard.feature-schema/1
features:
  age: {kind: number, low: 18, high: 120}
  channel: {kind: text, values: [shop, web, "007"]}
  income: {kind: number, low: 0, required: false}
"""
GOOD = [{"age": 20 + n % 50, "channel": ("shop", "web", "007")[n % 3], "income": 1000.5 + n} for n in range(1_200)]


def looked(path: Path, **more: Any) -> tuple[Result, list[Coverage], list[dict[str, Any]]]:
    notes: list[Coverage] = []
    kept: list[dict[str, Any]] = []
    return check([path], load(SCHEMA), notes.append, write=kept.append, **more), notes, kept


def csv_of(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0])
    return "\n".join([",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)]) + "\n"


def written(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"rows.{kind}"
    if kind == "csv":
        path.write_text(csv_of(rows))
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(csv_of(rows).encode()))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        arrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(arrow.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "parquet"])
def test_what_is_as_agreed_passes_and_what_is_not_is_named(tmp_path: Path, kind: str) -> None:
    result, notes, kept = looked(written(tmp_path, kind, GOOD))
    assert (result.rows, result.good, result.findings, notes) == (1_200, 1_200, [], []) and len(kept) == 1_200
    rows = [dict(row) for row in GOOD]
    rows[700]["age"] = 300
    rows[701]["age"] = -1
    rows[900]["channel"] = "fax"
    result, _, kept = looked(written(tmp_path, kind, rows))
    assert (result.good, len(kept)) == (1_197, 1_197)
    line = 702 if "csv" in kind else 701
    found = {one.kind: (one.feature, one.rows, one.first.rpartition(":")[2]) for one in result.findings}
    assert found == {
        "feature_range": ("age", 2, str(line)),
        "feature_category": ("channel", 1, str(line + 200)),
    }
    assert all(row["age"] not in (300, -1) and row["channel"] != "fax" for row in kept)


def test_missing_extra_wrong_and_ignored(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows: list[Any] = [
        {"age": 30, "channel": "web"},
        {"age": "thirty", "channel": "web"},
        {"channel": "web"},
        {"age": 30, "channel": "web", "id": 7},
        {"age": float("nan"), "channel": "web"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result, _, kept = looked(path)
    assert {one.kind for one in result.findings} >= {"feature_type", "feature_missing", "feature_extra"}
    assert kept == rows[:1]
    _, _, kept = looked(path, ignore=["id"])
    assert kept == [rows[0], rows[3]]


def test_what_is_no_row_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"age": 30, "channel": "web"}\nnot json\n[1, 2\n5\n{}\n')
    result, _, kept = looked(path)
    assert (result.rows, result.good, result.unread, result.first_unread[-2:]) == (5, 1, 4, ":2") and len(kept) == 1
    path = tmp_path / "wide.csv"
    path.write_text("age,channel\n30,web\n30,web,more,and,more\n")
    result, _, _ = looked(path)
    assert (result.good, result.unread) == (1, 1)
    for name, data in {"empty": b"", "image.csv": b"\x89PNG\0\0\0"}.items():
        (tmp_path / name).write_bytes(data)
        result, notes, _ = looked(tmp_path / name)
        assert result.rows == 0 and notes


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_no_bytes_raise(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "noise"
    path.write_bytes(data)
    result, _, kept = looked(path)
    assert result.rows >= result.good + result.unread and len(kept) == result.good


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text(SCHEMA)
    path = written(tmp_path, "csv", [*GOOD[:10], {"age": 7, "channel": "web", "income": 1}])
    command = [
        sys.executable,
        "-m",
        "afterguard",
        "guard",
        "rows",
        str(path),
        "--schema",
        str(tmp_path / "schema.yaml"),
    ]
    done = subprocess.run(
        [*command, "--good", str(tmp_path / "good.jsonl"), "-f", "json"], capture_output=True, text=True
    )
    assert done.returncode == 10, done.stderr
    told = json.loads(done.stdout)
    assert (told["format"], told["rows"], told["good"]) == ("afterguard.rows/1", 11, 10)
    assert len((tmp_path / "good.jsonl").read_text().splitlines()) == 10
    done = subprocess.run(command, capture_output=True, text=True)
    assert "outside 18 to 120" in done.stdout and "rows.csv:12" in done.stdout
    done = subprocess.run([*command[:-1], str(tmp_path / "none.yaml")], capture_output=True, text=True)
    assert done.returncode == 2 and "cannot read the schema" in done.stderr
