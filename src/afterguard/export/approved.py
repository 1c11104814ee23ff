"""What a person allowed or refused in a call that the guard held, out of a line of the decision log.

In: a decoded line (class 6003). Out: Deeds, one for each that was settled; none for any other line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from afterguard.export import row
from afterguard.model import Deed

SETTLED = ("approved", "denied")


def deeds(line: Mapping[str, Any]) -> Iterator[Deed]:
    """Each with an id that is always the same."""
    if line.get("class_uid") != 6003:
        return
    held = dict(line)
    own, meta, actor = row.own_of(held), row.part(held, "metadata"), row.part(held, "actor")
    exchange = row.text(meta, "uid")
    for note in row.rows(own, "approvals"):
        if note.get("state") not in SETTLED:
            continue
        yield Deed(
            id=f"{exchange}.{row.text(note, 'id')}"[:200],
            what=row.text(note, "state"),
            at=row.number(held, "time") / 1000,
            who=row.text(note, "by") or "unknown",
            app=row.text(actor, "app_name"),
            tenant=row.text(meta, "tenant_uid") or "default",
            do="call",
            title="A call that was held",
            tools=row.texts(own, "tools")[:20],
            asked=row.text(row.part(actor, "user"), "uid"),
            conversation=row.text(row.part(held, "message_context"), "uid"),
            exchange=exchange,
        )
