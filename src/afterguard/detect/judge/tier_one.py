"""Tier one: a small convolution over hashed words, word pairs and letter trigrams, in microseconds.

In: a text, where it came from, and the weights. Out: `Reading`: a logit for every class, and the window that decides. Pure; bounded work for
every character. The C kernel does the walk where it could be built, `blocks` below is the same in numpy, slower.

Theory of operation. A token adds five rows of CHANNELS int8 numbers: its own, its neighbours', its pair with the one before, with the one before that, and
the mean of its letter trigrams (so that a word never seen still says something). After a rectifier the largest value of each
channel is kept for every block of BLOCK tokens. A window is WINDOW blocks, a neighbourhood is AROUND blocks on; a small network looks at both, at the
mean of the whole text and at the origin. The window that looks most like an attack decides, and is where the attack is.
"""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from afterguard.detect.judge.tokens import tokens

try:
    from afterguard.detect.judge import _kernel  # type: ignore[attr-defined]
except ImportError:  # built without a compiler: numpy does it
    _kernel = None

F32 = NDArray[np.float32]
CHANNELS = 48
BLOCK = 16
WINDOW = 2
AROUND = 8
CLASSES = ("benign", "injection", "jailbreak", "extraction", "indirect_injection")
ORIGINS = ("system", "user", "document", "tool", "model")


class TierOne(NamedTuple):
    """Weights. int8 tables of CHANNELS columns share one scale; the head is float32."""

    fold: NDArray[np.uint16]
    kind: NDArray[np.uint8]
    word: NDArray[np.int8]
    before: NDArray[np.int8]
    after: NDArray[np.int8]
    pair: NDArray[np.int8]
    trigram: NDArray[np.int8]
    bias: F32
    scale: float
    hidden: F32
    """(3 * CHANNELS + origins, units): window, neighbourhood, mean, origin."""
    hidden_bias: F32
    out: F32
    """(units, classes)."""
    out_bias: F32


class Reading(NamedTuple):
    """What tier one saw. `logits` follow CLASSES; [start, end) are characters of the deciding window; `margins` one number a window."""

    logits: F32
    start: int
    end: int
    margins: F32
    spans: NDArray[np.int64]
    signs: tuple[int, ...]


class Blocks(NamedTuple):
    """Pooled channels: top (blocks, CHANNELS), characters [start, end) of each block, mean (CHANNELS); and signs of encoded text."""

    top: F32
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    mean: F32
    signs: tuple[int, ...]
    """Longest run that looks like base64 or hex; percent signs, numeric entities, backslashes; words of one letter; lone pairs of hex digits; marks
    inside words."""


def blocks(text: str, w: TierOne) -> Blocks:
    """Pooled channels of a text, by the kernel where there is one."""
    return reference(text, w) if _kernel is None or sys.byteorder != "little" else native(text, w)


def native(text: str, w: TierOne) -> Blocks:
    """The C kernel."""
    data = text.encode("utf-32-le", "surrogatepass")
    top, start, end, mean, signs = _kernel.pooled(
        data, w.fold, w.kind, w.word, w.before, w.after, w.pair, w.trigram, w.scale, w.bias
    )
    return Blocks(
        np.frombuffer(top, np.float32).reshape(-1, CHANNELS),
        np.frombuffer(start, np.uint32).astype(np.int64),
        np.frombuffer(end, np.uint32).astype(np.int64),
        np.frombuffer(mean, np.float32),
        signs,
    )


def reference(text: str, w: TierOne) -> Blocks:
    """The same in numpy."""
    t = tokens(text, w.fold, w.kind)
    count = len(t.word)
    if not count:
        return Blocks(
            np.zeros((0, CHANNELS), np.float32), t.start, t.end, np.zeros(CHANNELS, np.float32), _signs(text, 0)
        )
    total = np.zeros((count, CHANNELS), np.int64)
    size = np.diff(t.cut)
    some = np.flatnonzero(size)
    if len(some):
        sums = np.add.reduceat(w.trigram[t.trigram].astype(np.int64), t.cut[some], axis=0)
        # C divides towards zero.
        total[some] = np.trunc(sums * 2 / size[some, None]).astype(np.int64)
    total += w.word[t.word]
    total += w.pair[t.pair]
    total += w.pair[t.skip]
    total += w.before[np.concatenate([[0], t.side[:-1]])]
    total[:-1] += w.after[t.side[1:]]
    x = np.maximum(total.astype(np.float32) * np.float32(w.scale) + w.bias, 0)
    first = np.arange(0, count, BLOCK)
    return Blocks(
        np.maximum.reduceat(x, first, axis=0),
        t.start[first],
        t.end[np.minimum(first + BLOCK, count) - 1],
        x.sum(0) / np.float32(count),
        _signs(text, int((size == 1).sum())),
    )


CODED = re.compile(r"[A-Za-z0-9+/=_-]+")
WORD = re.compile(r"[A-Za-z0-9]+")
PAIR = re.compile(r"[0-9a-fA-F]{2}")
MARK_INSIDE = re.compile(r"(?<=[A-Za-z])[@$!|](?=[A-Za-z])")


def _signs(text: str, lone: int) -> tuple[int, ...]:
    run = max((len(one) for one in CODED.findall(text) if _is_coded(one)), default=0)
    pairs = sum(1 for one in WORD.findall(text) if PAIR.fullmatch(one))
    return run, text.count("%"), text.count("&#"), text.count("\\"), lone, pairs, len(MARK_INSIDE.findall(text))


def _is_coded(run: str) -> bool:
    """Mixed case, or a quarter digits as hex is; paths and identifiers are neither."""
    digits = sum("0" <= c <= "9" for c in run)
    lower, upper = any("a" <= c <= "z" for c in run), any("A" <= c <= "Z" for c in run)
    return (lower and upper) or digits * 4 >= len(run)


def windows(top: F32, size: int) -> F32:
    """Largest value over `size` blocks from each block on. Channels are never negative, so zeros pad."""
    out = np.concatenate([top, np.zeros((size - 1, top.shape[1]), np.float32)])
    reach = 1
    while reach < size:
        step = min(reach, size - reach)
        out = np.maximum(out[:-step], out[step:])
        reach += step
    return out


def read(text: str, origin: str, w: TierOne) -> Reading | None:
    """What tier one says about a text; None where there is nothing to read."""
    found = blocks(text, w)
    count = len(found.top)
    if not count:
        return None
    near = windows(found.top, WINDOW)
    wide = windows(found.top, AROUND)
    c = CHANNELS
    hidden = near @ w.hidden[:c] + wide @ w.hidden[c : 2 * c]
    hidden += found.mean @ w.hidden[2 * c : 3 * c] + w.hidden[3 * c + ORIGINS.index(origin)] + w.hidden_bias
    logits = np.maximum(hidden, 0) @ w.out + w.out_bias
    top = logits.max(1, keepdims=True)
    margins = np.log(np.exp(logits[:, 1:] - top).sum(1) + 1e-30) - np.log(np.exp(logits[:, :1] - top).sum(1) + 1e-30)
    best = int(margins.argmax())
    spans = np.stack([found.start, found.end[np.minimum(np.arange(count) + WINDOW - 1, count - 1)]], 1)
    return Reading(logits[best], int(spans[best, 0]), int(spans[best, 1]), margins, spans, found.signs)
