"""The data-protection sheet as Markdown, for a data-protection officer.

In: OnboardResult. Out: text. The rows come from jobs/data_sheet.py; here is only their shape.
"""

from __future__ import annotations

from typing import IO

from afterguard.model import OnboardResult
from afterguard.report import words
from afterguard.safe import markdown

COLUMNS = ("what was read", "data in it", "what is kept", "where", "who can read it", "how long", "note")


def render(result: OnboardResult, out: IO[str]) -> None:
    """Write the sheet."""
    out.write(f"# Data-protection sheet\n\nRun of {words.moment(result.created_at)}, Afterguard {result.version}. ")
    out.write(f"{markdown(result.retention)} Nothing was sent anywhere.\n\n")
    out.write("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|\n")
    for row in result.data_sheet:
        cells = (row.what, row.classes, row.kept, row.where, row.who, row.how_long, row.legal_note)
        out.write("| " + " | ".join(markdown(text) for text in cells) + " |\n")
