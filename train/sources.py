"""Labelled files -> rows: the training and the development file, in the shape the generator uses.

In: paths of JSON lines (gz or plain). Out: dictionaries as read, and `Row`s. `harmful_request` is left out: it is no injection.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from afterguard.jobs.judge_eval import ORIGIN
from compose import Row


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    with opened as lines:
        return [json.loads(line) for line in lines if line.strip()]


def row(one: dict[str, Any]) -> Row:
    """A labelled row as the generator would have made it."""
    return Row(
        one["text"], ORIGIN.get(one["kind"], "user"), one["label"], one["set"], one.get("lang", "en"), one["set"]
    )


def rows(path: Path) -> list[Row]:
    """Rows that count for the detector."""
    return [row(one) for one in read(path) if one["label"] != "harmful_request"]
