"""Encodings: what goes in comes out, cut anywhere; bombs stop at the cap; half and double streams are refused."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.wire.encoding import BadEncoding, decoded, decoder, encoded

brotli = pytest.importorskip("brotli")
NAMES = ["gzip", "deflate", "br", "zstd", "x-gzip"]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(NAMES), st.integers(1, 40))
def test_round_trip_cut_anywhere(body: bytes, name: str, size: int) -> None:
    packed = encoded(body, name)
    assert decoded(packed, name, 1000) == body and encoded(body, name) == packed
    inner = decoder(name, len(body))
    assert inner is not None
    out = [inner.feed(packed[at : at + size]) for at in range(0, len(packed), size)]
    assert b"".join((*out, inner.finish())) == body


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([*NAMES, "", "identity", "gzip, br", "nonsense", "é,"]))
def test_never_raises_anything_else(data: bytes, name: str) -> None:
    try:
        assert len(decoded(data, name, 1000)) <= 1000
    except BadEncoding as bad:
        assert str(bad) in {"unsupported", "stacked", "too_long", "corrupt", "truncated", "trailing"}


def why(data: bytes, name: str, cap: int = 10_000) -> str:
    with pytest.raises(BadEncoding) as caught:
        decoded(data, name, cap)
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_half_and_double_streams(name: str) -> None:
    packed = encoded(b"some text " * 20, name)
    assert why(packed[:-1], name) == "truncated"
    assert why(packed + packed, name) in ("trailing", "corrupt")
    assert why(packed + b"x", name) in ("trailing", "corrupt")
    assert why(packed, name, 199) == "too_long" and len(decoded(packed, name, 200)) == 200
    assert decoded(b"", name, 10) == b""


def test_names() -> None:
    assert decoder("", 1) is None and decoder("identity", 1) is None
    assert decoded(gzip.compress(b"x"), " GZIP , identity", 1) == b"x"
    assert why(b"", "gzip, br") == "stacked" and why(b"", "compress") == "unsupported"
    raw = zlib.compressobj(wbits=-15)
    assert decoded(raw.compress(b"text") + raw.flush(), "deflate", 9) == b"text"


def rle(size: int) -> bytes:
    """A zstd frame of run-length blocks, four bytes for 128 KiB each: the densest there is."""
    blocks = size // 131_072
    block = (131_072 << 3 | 1 << 1).to_bytes(3, "little") + b"x"
    last = (131_072 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"x"
    return b"\x28\xb5\x2f\xfd" + b"\x00\x58" + block * (blocks - 1) + last


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd", "rle"])
def test_bombs_stop_at_the_cap(name: str) -> None:
    """200 MB from little: at most the cap and some blocks are ever in memory."""
    size, cap = 200 << 20, 1 << 20
    zeros = bytes(1 << 20)
    if name == "rle":
        name, bomb = "zstd", rle(size)
        with zstandard.ZstdDecompressor().stream_reader(bomb) as check:
            assert check.read(10) == b"x" * 10
    elif name == "zstd":
        packer = zstandard.ZstdCompressor(level=1).compressobj()
        bomb = b"".join(packer.compress(zeros) for _ in range(200)) + packer.flush()
    elif name == "br":
        made = brotli.Compressor(quality=1)
        bomb = b"".join(made.process(zeros) for _ in range(200)) + made.finish()
    else:
        zipped = zlib.compressobj(1, wbits=31 if name == "gzip" else 15)
        bomb = b"".join(zipped.compress(zeros) for _ in range(200)) + zipped.flush()
    assert len(bomb) < 2 << 20
    tracemalloc.start()
    try:
        assert why(bomb, name, cap) == "too_long"
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_window_beyond_all_measure_is_refused() -> None:
    frame = b"\x28\xb5\x2f\xfd" + b"\x00\xf8" + b"\x01\x00\x00"
    assert why(frame, "zstd") == "corrupt"
