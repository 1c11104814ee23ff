"""Results of attacks as they lie about: the JSON of a run, or its journal.

In: the bytes of either. Out: `Assessment`. Raises UsageError. It sends nothing. A journal does not know why the techniques without a trial were not tried.
"""

from __future__ import annotations

from pathlib import Path

from afterguard.attack.assessment import Assessment, Known, families
from afterguard.attack.left import left
from afterguard.attack.scoring.techniques import BY_ID as SCORED
from afterguard.attack.techniques import BY_ID
from afterguard.attack.trial import Verdict
from afterguard.errors import UsageError
from afterguard.files import open_file
from afterguard.jobs import attack
from afterguard.report.attack import json

CAP = 512 << 20


def read(data: bytes, name: str) -> Assessment:
    """A result or a journal. Raises UsageError."""
    is_journal = attack.FORMAT.encode() in data[: data.find(b"\n")]
    return of_journal(*attack.parse(data, name)[:2]) if is_journal else json.read(data, name)


def of_journal(head: attack.Head, rows: list[attack.Row]) -> Assessment:
    """What a journal says of its run."""
    ends = [row for row in rows if row.kind == "end" and row.result is not None]
    every: dict[str, Known] = {**BY_ID, **SCORED}
    techniques = [every[one] for one in head.techniques if one in every]
    replies = [row.reply for row in rows if row.reply is not None]
    hits = tuple(attack.hit_of(rows, row) for row in ends if row.result and row.result.verdict is Verdict.succeeded)
    return Assessment(
        head.target, head.run, families(techniques, [(row.trial, row.result) for row in ends if row.result], {}), hits,
        sum(one.requests for one in replies), sum(one.seconds for one in replies), 0.0,
        left=left((row.trial, row.prompt, row.reply) for row in rows if row.prompt), host=head.host, through=head.through, seed=head.seed,
    )  # fmt: skip


def baseline(path: Path) -> Assessment:
    """A result on disk. Raises UsageError."""
    try:
        with open_file(path) as handle:
            return read(handle.read(CAP), str(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="check the path", slug="no-such-path") from None
