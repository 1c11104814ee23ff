"""Tier one: a small convolution over hashed words, word pairs and letter trigrams, in microseconds.

In: a text, where it came from, and the weights. Out: `Reading`: a logit for every class, and the window that decides. Pure; bounded work for
every character. The C kernel does it in one pass where it could be built, `reference` below is the same in numpy, slower.

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

from afterguard.detect.judge.tokens import Tokens, tokens

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
    """What tier one saw. `logits` of the deciding window follow CLASSES; `margins` are log odds of attack, one a window; window i begins with the
    character `start[i]`; `end[i]` closes its first block. `signs` tell of encoded text, see SIGNS."""

    logits: F32
    best: int
    margins: F32
    start: NDArray[np.uint32]
    end: NDArray[np.uint32]
    signs: tuple[int, ...]

    @property
    def margin(self) -> float:
        """Log odds of the deciding window."""
        return float(self.margins[self.best])

    def span(self, window: int) -> tuple[int, int]:
        """Characters [start, end) of a window."""
        return int(self.start[window]), int(self.end[min(window + WINDOW, len(self.end)) - 1])


def read(text: str, origin: str, w: TierOne) -> Reading | None:
    """What tier one says about a text, by the kernel where there is one; None where there is nothing to read."""
    return reference(text, origin, w) if _kernel is None or sys.byteorder != "little" else native(text, origin, w)


def native(text: str, origin: str, w: TierOne) -> Reading | None:
    """The C kernel."""
    logits, best, margins, start, end, signs = _kernel.read(
        text.encode("utf-32-le", "surrogatepass"),
        w.fold,
        w.kind,
        w.word,
        w.before,
        w.after,
        w.pair,
        w.trigram,
        w.bias,
        w.hidden,
        w.hidden_bias,
        w.out,
        w.out_bias,
        w.scale,
        ORIGINS.index(origin),
    )
    if best < 0:
        return None
    return Reading(
        np.frombuffer(logits, np.float32),
        best,
        np.frombuffer(margins, np.float32),
        np.frombuffer(start, np.uint32),
        np.frombuffer(end, np.uint32),
        signs,
    )


def reference(text: str, origin: str, w: TierOne) -> Reading | None:
    """The same in numpy."""
    t = tokens(text, w.fold, w.kind)
    count = len(t.word)
    if not count:
        return None
    x = _channels(t, w)
    first = np.arange(0, count, BLOCK)
    top = np.maximum.reduceat(x, first, axis=0)
    mean = x.sum(0) / np.float32(count)
    c = CHANNELS
    hidden = windows(top, WINDOW) @ w.hidden[:c] + windows(top, AROUND) @ w.hidden[c : 2 * c]
    hidden += mean @ w.hidden[2 * c : 3 * c] + w.hidden[3 * c + ORIGINS.index(origin)] + w.hidden_bias
    logits = np.maximum(hidden, 0) @ w.out + w.out_bias
    margins = np.logaddexp.reduce(logits[:, 1:], axis=1) - logits[:, 0]
    best = int(margins.argmax())
    start = t.start[first].astype(np.uint32)
    end = t.end[np.minimum(first + BLOCK, count) - 1].astype(np.uint32)
    return Reading(logits[best], best, margins, start, end, _signs(text, t))


def _channels(t: Tokens, w: TierOne) -> F32:
    """(tokens, CHANNELS) after the rectifier."""
    total = np.zeros((len(t.word), CHANNELS), np.int64)
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
    x: F32 = np.maximum(total.astype(np.float32) * np.float32(w.scale) + w.bias, 0)
    return x


CODED = re.compile(r"[A-Za-z0-9+/=_-]+")
ALNUM = re.compile(r"[A-Za-z0-9]+")
PAIR = re.compile(r"[0-9a-fA-F]{2}")
CHAINS = (
    re.compile(r"%(?=[0-9a-fA-F]{2})"),
    re.compile(r"&(?=#)"),
    re.compile(r"\\(?=[ux])"),
    re.compile(r"(?<=[A-Za-z])[@$!|](?=[A-Za-z])"),
)
GAP = 24
SIGNS = ("coded", "percent", "entity", "escape", "lone", "pairs", "inside")
"""Longest run that looks like base64 or hex; longest chains of percent codes, numeric entities and escapes, at most GAP characters apart; words of one
letter in a row; pairs of hex digits in a row; longest chain of marks inside words."""


def _signs(text: str, t: Tokens) -> tuple[int, ...]:
    coded = max((len(one) for one in CODED.findall(text) if _is_coded(one)), default=0)
    percent, entity, escape, inside = (_chain(shape, text) for shape in CHAINS)
    # A token has trigrams where it is a word; a number's row says nothing, like any longer word.
    letters = np.diff(t.cut)
    words = [int(n) for n, number in zip(letters, t.is_number) if n or number]
    lone = _row([n == 1 for n in words])
    pairs = _row([PAIR.fullmatch(one) is not None for one in ALNUM.findall(text)])
    return coded, percent, entity, escape, lone, pairs, inside


def _chain(shape: re.Pattern[str], text: str) -> int:
    most = count = last = 0
    for found in shape.finditer(text):
        count = count + 1 if count and found.start() - last <= GAP else 1
        last = found.start()
        most = max(most, count)
    return most


def _row(hits: list[bool]) -> int:
    """Most hits in a row."""
    most = count = 0
    for is_hit in hits:
        count = count + 1 if is_hit else 0
        most = max(most, count)
    return most


def _is_coded(run: str) -> bool:
    """Mixed case with digits, or a quarter digits as hex is; paths and identifiers are seldom either."""
    digits = sum("0" <= c <= "9" for c in run)
    lower, upper = any("a" <= c <= "z" for c in run), any("A" <= c <= "Z" for c in run)
    return (lower and upper and digits > 0) or digits * 4 >= len(run)


def windows(top: F32, size: int) -> F32:
    """Largest value over `size` blocks from each block on. Channels are never negative, so zeros pad."""
    out = np.concatenate([top, np.zeros((size - 1, top.shape[1]), np.float32)])
    reach = 1
    while reach < size:
        step = min(reach, size - reach)
        out = np.maximum(out[:-step], out[step:])
        reach += step
    return out
