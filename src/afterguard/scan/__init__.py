"""Asset, Source -> Finding: the posture of an application, one file a check.

In: parsed files and joined assets. Out: findings with path, line, taxonomy ids and fix, and what each check answered. Pure: reads
no file, opens no socket, runs nothing it looks at. To add a check: one file here, one line in checks.py, one folder of samples.
"""

from __future__ import annotations

from afterguard.scan.check import Check, Context
from afterguard.scan.checks import CHECKS
from afterguard.scan.examination import Examined, Scan, context_of, examine, gather, run
from afterguard.scan.summary import Summary, summarise

__all__ = [
    "CHECKS", "Check", "Context", "Examined", "Scan", "Summary", "context_of", "examine", "gather", "run", "summarise",
]  # fmt: skip
