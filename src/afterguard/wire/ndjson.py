"""Newline-delimited JSON from chunks of bytes, cut anywhere.

In: chunks as they arrive. Out: complete lines. It does not decode them. A line above the cap is dropped and counted.
"""

from __future__ import annotations


class Lines:
    """State of one stream; `cut` counts the bytes of over-long lines."""

    __slots__ = ("cap", "cut", "rest", "skipping")

    def __init__(self, cap: int = 8 << 20) -> None:
        self.cap = cap
        self.cut = 0
        self.rest = b""
        self.skipping = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completed, without their line ends, empty ones left out."""
        *lines, last = (self.rest + chunk).split(b"\n")
        if lines and self.skipping:
            self.cut += len(lines.pop(0))
            self.skipping = False
        if len(last) > self.cap or self.skipping:
            self.cut += len(last)
            last = b""
            self.skipping = True
        self.rest = last
        out = []
        for line in lines:
            if len(line) > self.cap:
                self.cut += len(line)
            elif line.strip():
                out.append(line.rstrip(b"\r"))
        return out

    def close(self) -> list[bytes]:
        """The line that the end of the stream left open, if any."""
        last, self.rest = self.rest, b""
        return [last] if last.strip() else []
