"""The short status lines each tool gives, so that a sentence inserted into one stands out whatever it says.

In: tool names and plain results, in the order of the log. Out: the container of a new result: `line` when it is a known line with
something inserted, `status` otherwise. Bounded: LINES_CAP lines for each of TOOLS_CAP tools.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

LINE_CAP = 240
LINES_CAP = 48
TOOLS_CAP = 2_000
INSERTED = 24
"""Least characters that count as inserted."""
NUMBER = re.compile(r"\d[\d.,:]*")


class StatusLines:
    """Known status lines by tool, numbers masked."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[str, None]] = {}

    def learn(self, tool: str, value: str) -> None:
        """Remember a short plain result; records and long texts are ignored."""
        line = masked(value) if len(value) <= LINE_CAP else ""
        if line[:1] in "{[":  # also where nothing is left of it
            return
        known = self._lines.get(tool)
        if known is None:
            if len(self._lines) >= TOOLS_CAP:
                return
            known = self._lines[tool] = {}
        if len(known) < LINES_CAP and self._host(known, line) is None:
            known[line] = None

    def of(self, tools: Iterable[str]) -> dict[str, list[str]]:
        """What these tools gave, for who judges elsewhere."""
        return {tool: list(known) for tool in tools if (known := self._lines.get(tool))}

    def adopt(self, lines: Mapping[str, Iterable[str]]) -> None:
        """Know these lines too, in their order, as if they had been learnt here."""
        for tool, rows in lines.items():
            for line in rows:
                self.learn(tool, line)

    def knows(self, tool: str) -> bool:
        """Whether this tool has given short plain results before."""
        return bool(self._lines.get(tool))

    def container(self, tool: str, value: str) -> str:
        """ "line" when the result is a known line with text inserted, else "status"."""
        known = self._lines.get(tool, {})
        return "line" if self._host(known, masked(value)) is not None else "status"

    def _host(self, known: dict[str, None], line: str) -> str | None:
        return next((one for one in known if is_inserted(one, line)), None)


def masked(value: str) -> str:
    """Numbers as #, blanks single."""
    return " ".join(NUMBER.sub("#", value[:2_000]).split())


def is_inserted(line: str, longer: str) -> bool:
    """Whether `longer` is `line` with at least INSERTED characters put in at one place."""
    if len(line) < 6 or len(longer) < len(line) + INSERTED:
        return False
    front = 0
    while front < len(line) and line[front] == longer[front]:
        front += 1
    back = 0
    while back < len(line) and line[-1 - back] == longer[-1 - back]:
        back += 1
    return front >= 2 and back >= 2 and front + back >= len(line) - 1
