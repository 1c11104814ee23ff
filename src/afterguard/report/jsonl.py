"""One JSON object a line: assets, findings or incidents, for jq and log shippers.

In: a Survey or a Lookback. Out: lines, each with `format` and `type`; the last line counts what was written.
"""

from __future__ import annotations

from typing import IO

from afterguard.model import Lookback, Survey
from afterguard.report import json as documents


def render(result: Survey | Lookback, out: IO[str], *, what: str = "") -> None:
    """Write a line for each asset (`what` "discover", the default), finding ("scan") or incident, then coverage, then counts."""
    if isinstance(result, Lookback):
        kind, area = "incident", "lookback"
        rows = [documents.incident(item) for item in documents.ordered_incidents(result.incidents)]
    elif what == "scan":
        kind, area = "finding", "scan"
        rows = [documents.finding(item) for item in documents.ordered_findings(result.findings)]
    else:
        kind, area = "asset", "discover"
        rows = [documents.asset(item) for item in documents.ordered_assets(result.assets)]
    gaps = documents.coverage(result.coverage)
    head = {"format": f"afterguard.{area}/1"}
    for row in rows:
        out.write(documents.dumps({**head, "type": kind, **row}, indent=0))
    for row in gaps:
        out.write(documents.dumps({**head, "type": "coverage", **row}, indent=0))
    out.write(documents.dumps({**head, "type": "end", f"{kind}s": len(rows), "coverage": len(gaps)}, indent=0))
