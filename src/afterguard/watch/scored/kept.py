"""What the watch over predictive models knows -> bytes, and back.

In: a Predictive, or bytes. Out: bytes (msgpack, packed by zstd) with a version, or the Predictive filled. Bounded as its parts are. Bytes are data only: no name in them makes anything but the classes listed here, and what does not fit raises AfterguardError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import zstandard

from afterguard.errors import AfterguardError
from afterguard.watch.event import Event
from afterguard.watch.predictions import Row
from afterguard.watch.scored.block import Reservoir, Scales
from afterguard.watch.scored.corners import Corners
from afterguard.watch.scored.counts import Everybody
from afterguard.watch.scored.crowds import Crowds
from afterguard.watch.scored.model import Model
from afterguard.watch.scored.ones import Ones
from afterguard.watch.scored.recent import Recent
from afterguard.watch.scored.records import Records
from afterguard.watch.scored.swapped import Swapped
from afterguard.watch.seasons import Seasons, Window

if TYPE_CHECKING:
    from afterguard.watch.predictive import Predictive

FORMAT = "afterguard.scored/1"
LARGEST = 1 << 30
PARTS = (Ones, Scales, Everybody, Crowds, Corners, Swapped, Seasons, Recent, Records, Reservoir)
LATER = frozenset({"records"})
"""Parts that came with a later version: a state from before begins without them."""
NUMBERS = frozenset("iufb")


def state_of(watch: Predictive) -> bytes:
    """Everything that is known."""
    state = {
        "format": FORMAT,
        "second": watch.second,
        "counts": [watch.refused, watch.late, watch.ahead],
        "open": [[list(key), events] for key, events in watch.open.items()],
        "models": [[list(key), model.scales.width, _packed(model)] for key, model in watch.models.items()],
    }
    return zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(state))


def fill(watch: Predictive, data: bytes) -> None:
    """Put what was kept into a fresh Predictive. Other data raise AfterguardError."""
    try:
        state = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(data, max_output_size=LARGEST))
        if state["format"] != FORMAT:
            raise ValueError(f"its format is {state['format']}, not {FORMAT}")
        watch.second = float(state["second"])
        watch.refused, watch.late, watch.ahead = state["counts"]
        for key, events in state["open"]:
            watch.open[_key(key)] = msgspec.convert(events, list[Event])
        for key, width, packed in state["models"]:
            model = Model(_key(key)[2], int(width))
            _fill(model, packed)
            model.seasons._scales = model.scales  # type: ignore[assignment]
            watch.models[_key(key)] = model
    except Exception as error:  # whatever bytes that are no state lead to
        raise AfterguardError(
            f"the kept state of the watch over predictive models cannot be read: {str(error)[:200]}",
            hint="remove it; the watch then learns from the start",
            slug="watch-state-unreadable",
        ) from error


def _key(key: list[str]) -> tuple[str, str, str]:
    app, route, name = key
    return str(app), str(route), str(name)


def _packed(value: Any) -> Any:
    """A value as plain data, with a letter for what it was."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in NUMBERS:
            return ["o", value.tolist()]
        return ["a", value.dtype.str, list(value.shape), np.ascontiguousarray(value).tobytes()]
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        return value.item()
    if isinstance(value, Row):
        return ["r", list(value)]
    if isinstance(value, Window):
        return ["w", [_packed(row) for row in value.rows], value.seen]
    if isinstance(value, dict):
        return ["d", [[_packed(key), _packed(one)] for key, one in value.items()]]
    if isinstance(value, (list, tuple)):
        return ["l" if isinstance(value, list) else "t", [_packed(one) for one in value]]
    kept = {name: _packed(one) for name, one in vars(value).items() if name != "_scales"}
    return ["p", kept]


def _value(data: Any, like: Any) -> Any:
    """The value again; `like` is what stands in its place in a fresh object."""
    if not isinstance(data, list):
        return data
    kind, rest = data[0], data[1:]
    if kind == "a":
        return np.frombuffer(rest[2], dtype=np.dtype(rest[0])).reshape(rest[1]).copy()
    if kind == "o":
        out = np.empty(len(rest[0]), dtype=object)
        out[:] = [str(one) for one in rest[0]]
        return out
    if kind == "r":
        number, time, caller, values, decision, score = rest[0]
        return Row(str(number), time, str(caller), tuple(values), str(decision), score)
    if kind == "w":
        return Window([_value(row, None) for row in rest[0]], int(rest[1]))
    if kind == "d":
        found = like if isinstance(like, dict) else {}
        return {_value(key, None): _value(one, found.get(_hashable(key))) for key, one in rest[0]}
    if kind in "lt":
        some = [_value(one, None) for one in rest[0]]
        return some if kind == "l" else tuple(some)
    if kind == "p" and isinstance(like, PARTS):
        _fill(like, data)
        return like
    raise ValueError("a part that nobody knows")


def _hashable(key: Any) -> Any:
    return key if isinstance(key, (str, int, float)) else None


def _fill(part: Any, data: Any) -> None:
    """Put attributes into a fresh object: those it has, of the kind they have."""
    kept = data[1]
    for name, before in list(vars(part).items()):
        if name == "_scales" or (name in LATER and name not in kept):
            continue
        after = _value(kept[name], before)
        if isinstance(before, np.ndarray):
            is_same = isinstance(after, np.ndarray) and after.dtype == before.dtype and after.ndim == before.ndim
        else:
            is_same = isinstance(after, type(before)) or (
                isinstance(before, (int, float)) and isinstance(after, (int, float))
            )
        if not is_same:
            raise ValueError(f"{name} is of another kind")
        setattr(part, name, after)
