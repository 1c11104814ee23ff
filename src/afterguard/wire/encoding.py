"""Content encodings, read as a stream and never beyond a cap: gzip, deflate, br, zstd.

In: the value of Content-Encoding and encoded bytes. Out: decoded bytes, or `BadEncoding` with a word that says why. The size that
a frame declares is never believed. Stacked encodings, a second member behind the first and a stream that ends early are refused: what
one reader takes for the whole another takes for the beginning. Nothing at all is a whole body in any encoding.
"""

from __future__ import annotations

import gzip
import zlib
from functools import cache
from typing import Any, Protocol

STEP = 64 << 10
"""Encoded bytes read at once; what they may unpack to is bounded before they are read."""
ALIASES = {"x-gzip": "gzip", "zlib": "deflate"}
ZSTD_STEP = 128
WINDOW = 8 << 20
"""Largest window of a zstd frame."""


class BadEncoding(ValueError):
    """Why a body cannot be read: unsupported stacked too_long corrupt truncated trailing."""


class Decoder(Protocol):
    """One body."""

    def feed(self, data: bytes) -> bytes:
        """Decoded bytes. Raises BadEncoding."""

    def finish(self) -> bytes:
        """What was still inside. Raises BadEncoding where the stream is not whole."""


class _Zlib:
    """gzip and deflate; servers send deflate with and without zlib's header."""

    def __init__(self, is_gzip: bool, cap: int) -> None:
        self.is_gzip = is_gzip
        self.left = cap
        self.seen = b""
        self.is_begun = False
        self.inner: Any = zlib.decompressobj(31) if is_gzip else None

    def feed(self, data: bytes) -> bytes:
        if self.inner is None:
            data = self.seen + data
            if len(data) < 2:
                self.seen = data
                return b""
            has_header = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self.seen = b""
            self.inner = zlib.decompressobj(15 if has_header else -15)
        self.is_begun = self.is_begun or bool(data)
        if self.inner.eof and data:
            raise BadEncoding("trailing")
        try:
            out: bytes = self.inner.decompress(data, self.left + 1)
        except zlib.error:
            raise BadEncoding("corrupt") from None
        self.left -= len(out)
        if self.left < 0 or self.inner.unconsumed_tail:
            raise BadEncoding("too_long")
        if self.inner.unused_data:
            raise BadEncoding("trailing")
        return out

    def finish(self) -> bytes:
        if self.seen or (self.is_begun and not self.inner.eof):
            raise BadEncoding("truncated")
        return b""


class _Brotli:
    def __init__(self, brotli: Any, cap: int) -> None:
        self.inner = brotli.Decompressor()
        self.error = brotli.error
        self.left = cap
        self.is_begun = False

    def feed(self, data: bytes) -> bytes:
        if self.inner.is_finished() and data:
            raise BadEncoding("trailing")
        self.is_begun = self.is_begun or bool(data)
        out: list[bytes] = []
        while True:
            try:
                piece: bytes = self.inner.process(data, output_buffer_limit=min(self.left + 1, 1 << 20))
            except self.error:
                raise BadEncoding("corrupt") from None
            self.left -= len(piece)
            if self.left < 0:
                raise BadEncoding("too_long")
            out.append(piece)
            data = b""
            if self.inner.can_accept_more_data() or self.inner.is_finished() or not piece:
                return b"".join(out)

    def finish(self) -> bytes:
        if self.is_begun and not self.inner.is_finished():
            raise BadEncoding("truncated")
        return b""


class _Zstd:
    def __init__(self, cap: int) -> None:
        import zstandard

        self.error = zstandard.ZstdError
        self.inner = zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj(read_across_frames=False)
        self.left = cap
        self.is_begun = False

    def feed(self, data: bytes) -> bytes:
        out: list[bytes] = []
        self.is_begun = self.is_begun or bool(data)
        # Little by little: the library unpacks whatever it is given, and a block of four bytes may stand for 128 KiB.
        for at in range(0, len(data), ZSTD_STEP):
            if self.inner.eof:
                raise BadEncoding("trailing")
            try:
                piece = self.inner.decompress(data[at : at + ZSTD_STEP])
            except self.error:
                raise BadEncoding("corrupt") from None
            self.left -= len(piece)
            if self.left < 0:
                raise BadEncoding("too_long")
            out.append(piece)
        if self.inner.unused_data:
            raise BadEncoding("trailing")
        return b"".join(out)

    def finish(self) -> bytes:
        if self.is_begun and not self.inner.eof:
            raise BadEncoding("truncated")
        return b""


@cache
def _brotli() -> Any:
    """The package, None where it is missing or too old to stop at a limit (before 1.2)."""
    try:
        import brotli
    except ImportError:
        return None
    return brotli if hasattr(brotli.Decompressor, "can_accept_more_data") else None


def decoder(content_encoding: str, cap: int) -> Decoder | None:
    """A decoder of at most `cap` bytes, None where nothing is encoded. Raises BadEncoding for what nobody here reads."""
    names = [part.strip().lower() for part in content_encoding.split(",") if part.strip()]
    names = [ALIASES.get(name, name) for name in names if name != "identity"]
    if not names:
        return None
    if len(names) > 1:
        raise BadEncoding("stacked")
    if names[0] in ("gzip", "deflate"):
        return _Zlib(names[0] == "gzip", cap)
    if names[0] == "br" and _brotli() is not None:
        return _Brotli(_brotli(), cap)
    if names[0] == "zstd":
        return _Zstd(cap)
    raise BadEncoding("unsupported")


def decoded(body: bytes, content_encoding: str, cap: int) -> bytes:
    """A whole body. Raises BadEncoding."""
    inner = decoder(content_encoding, cap)
    if inner is None:
        return body
    out = [inner.feed(body[at : at + STEP]) for at in range(0, len(body), STEP)]
    return b"".join((*out, inner.finish()))


def encoded(body: bytes, content_encoding: str) -> bytes:
    """A body in an encoding again. Raises BadEncoding."""
    name = ALIASES.get(content_encoding.strip().lower(), content_encoding.strip().lower())
    if name in ("", "identity"):
        return body
    if name == "gzip":
        return gzip.compress(body, 6, mtime=0)
    if name == "deflate":
        return zlib.compress(body)
    if name == "zstd":
        import zstandard

        return zstandard.ZstdCompressor().compress(body)
    if name == "br" and _brotli() is not None:
        packed: bytes = _brotli().compress(body, quality=4)
        return packed
    raise BadEncoding("unsupported")
