"""Weights on disk -> a Judge, and a place for its second tier to run: a pool beside the event loop, with a deadline.

In: a folder with judge.json (the one that ships, or one a person names). Out: a `Judge`, and `Bench`, which judges within a time. Tables are
memory-mapped, the network is loaded when first needed, every file is held against its checksum. Nothing is fetched.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import mmap
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterguard.detect import judge as judging
from afterguard.detect.judge import Calibration, Judge
from afterguard.detect.judge.tier_one import CHANNELS, CLASSES, ORIGINS, TierOne
from afterguard.detect.judge.tier_two import TierTwo
from afterguard.detect.judge.tokens import FOLDED, ROWS_PAIR, ROWS_SIDE, ROWS_TRIGRAM, ROWS_WORD
from afterguard.errors import UsageError
from afterguard.model import Judgement

FORMAT = "afterguard.judge/1"
HEADER_CAP = 1 << 20
FILE_CAP = 1 << 30
DEADLINE = 0.25
"""Seconds for the second tier, unless the caller says otherwise: a few windows on a busy core."""
WAITING = 32
"""Judgements that may wait for the second tier; what comes on top keeps tier one's opinion."""
TYPES: dict[str, Any] = {"U8": np.uint8, "I8": np.int8, "U16": np.uint16, "F32": np.float32}
SHAPES: dict[str, tuple[int, ...]] = {
    "fold": (FOLDED,),
    "kind": (0x10000,),
    "word": (ROWS_WORD, CHANNELS),
    "before": (ROWS_SIDE, CHANNELS),
    "after": (ROWS_SIDE, CHANNELS),
    "pair": (ROWS_PAIR, CHANNELS),
    "trigram": (ROWS_TRIGRAM, CHANNELS),
    "bias": (CHANNELS,),
    "scale": (1,),
}


def shipped() -> Path:
    """The folder of the judge that comes with the package."""
    return Path(str(resources.files("afterguard.catalog").joinpath("judge")))


@cache
def load(place: Path | None = None) -> Judge:
    """The judge in a folder, or named by its judge.json or .onnx file. Cached. Raises UsageError where it does not fit the contract."""
    folder = place or shipped()
    if folder.is_file():
        folder = folder.parent
    sheet = _sheet(folder)
    if place is not None and place.suffix == ".onnx":
        sheet = {**sheet, "tier_two": place.name}
    try:
        one = _tier_one(folder / _inside(folder, sheet["tier_one"])) if sheet.get("tier_one") else None
        two = _tier_two(folder, sheet) if sheet.get("tier_two") else None
        numbers = sheet["calibration"]
        calibration = Calibration(
            low={origin: float(numbers["low"][origin]) for origin in ORIGINS},
            high=float(numbers["high"]),
            one=(float(numbers["one"][0]), float(numbers["one"][1])),
            both=(float(numbers["both"][0]), float(numbers["both"][1]), float(numbers["both"][2])),
        )
        points = {name: float(sheet["points"][name]) for name in judging.POINTS}
        alone = {name: float(sheet["tier_one_points"][name]) for name in judging.POINTS}
        version = str(sheet["version"])
    except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
        raise _unfit(folder, f"{type(error).__name__}: {error}") from None
    if one is None and two is None:
        raise _unfit(folder, "it names no tier")
    return Judge(f"{version}+{_checksum(folder, sheet)[:12]}", one, two, calibration, points, alone)


def _unfit(folder: Path, why: str) -> UsageError:
    return UsageError(
        f"no judge in {folder}: {why[:200]}",
        hint="see docs/reference/judge.md for the files and the contract of a judge",
        slug="bad-judge",
    )


def _sheet(folder: Path) -> dict[str, Any]:
    try:
        raw = (folder / "judge.json").read_bytes()[:HEADER_CAP]
        sheet = json.loads(raw)
    except OSError as error:
        raise _unfit(folder, f"judge.json: {error.strerror}") from None
    except ValueError:
        raise _unfit(folder, "judge.json is no JSON") from None
    if not isinstance(sheet, dict) or sheet.get("format") != FORMAT:
        raise _unfit(folder, f"judge.json does not say {FORMAT}")
    if tuple(sheet.get("classes", ())) != CLASSES:
        raise _unfit(folder, f"classes must be {', '.join(CLASSES)}")
    return sheet


def _inside(folder: Path, name: object) -> str:
    """A file name without folders: a judge does not reach outside its own."""
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"{name!r} is no file name")
    return name


def _checksum(folder: Path, sheet: dict[str, Any]) -> str:
    """SHA-256 over the sheet and the files it names; each must be what the sheet says it is, where it says so."""
    whole = hashlib.sha256(json.dumps(sheet, sort_keys=True).encode())
    for name in ("tier_one", "tier_two", "vocabulary"):
        if sheet.get(name):
            file = _inside(folder, sheet[name])
            with (folder / file).open("rb") as data:
                digest = hashlib.file_digest(data, "sha256").hexdigest()
            promised = sheet.get("sha256", {}).get(file)
            if promised and promised != digest:
                raise _unfit(folder, f"{file} is damaged: its checksum is not the one in judge.json")
            whole.update(digest.encode())
    return whole.hexdigest()


def tensors(path: Path) -> dict[str, NDArray[Any]]:
    """A safetensors file as read-only memory-mapped arrays. Raises ValueError for a malformed one."""
    size = path.stat().st_size
    if not 8 < size <= FILE_CAP:
        raise ValueError(f"{path.name} has {size} bytes")
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    length = int.from_bytes(data[:8], "little")
    if length > min(HEADER_CAP, size - 8):
        raise ValueError(f"{path.name}: a header of {length} bytes")
    out: dict[str, NDArray[Any]] = {}
    try:
        header = json.loads(bytes(data[8 : 8 + length]))
        rows = {name: row for name, row in header.items() if name != "__metadata__"}
        for name, row in rows.items():
            low, high = (int(x) for x in row["data_offsets"])
            if not 0 <= low <= high <= size - 8 - length:
                raise ValueError(f"{name} lies outside the file")
            values = np.frombuffer(data[8 + length + low : 8 + length + high], TYPES[row["dtype"]])
            out[name] = values.reshape([int(x) for x in row["shape"]])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path.name}: {type(error).__name__}: {error}") from None
    return out


def _tier_one(path: Path) -> TierOne:
    try:
        found = tensors(path)
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from None
    for name, shape in SHAPES.items():
        if found[name].shape != shape:
            raise ValueError(f"{path.name}: {name} has shape {found[name].shape}, not {shape}")
    units = found["hidden_bias"].shape[0]
    head = {"hidden": (3 * CHANNELS + len(ORIGINS), units), "out": (units, len(CLASSES)), "out_bias": (len(CLASSES),)}
    for name, shape in head.items():
        if found[name].shape != shape:
            raise ValueError(f"{path.name}: {name} has shape {found[name].shape}, not {shape}")
    names = [name for name in TierOne._fields if name != "scale"]
    return TierOne(**{name: found[name] for name in names}, scale=float(found["scale"][0]))


def _tier_two(folder: Path, sheet: dict[str, Any]) -> TierTwo | None:
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return None
    words = (folder / _inside(folder, sheet["vocabulary"])).read_text(encoding="utf-8").split("\n")
    vocabulary = {word: at for at, word in enumerate(words) if word}
    path = folder / _inside(folder, sheet["tier_two"])
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    return TierTwo(_lazily(path), vocabulary, int(sheet.get("length", 128)))


def _lazily(path: Path) -> Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]:
    """The network, opened at its first use: most texts never need it."""
    session: Any = None

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        nonlocal session
        if session is None:
            session = _session(path)
        return np.asarray(session.run(["logits"], {"ids": ids, "mask": mask})[0], np.float32)

    return run


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _unfit(path.parent, f"{path.name}: {str(error).splitlines()[0] if str(error) else error}") from None
    inputs, outputs = {one.name for one in session.get_inputs()}, {one.name for one in session.get_outputs()}
    if not {"ids", "mask"} <= inputs or "logits" not in outputs:
        raise _unfit(path.parent, f"{path.name} must take ids and mask and give logits")
    return session


class Bench:
    """Where judgements are made in time: tier one at once in the caller's thread, tier two in a small pool, tier one's opinion when that is late."""

    def __init__(self, judge: Judge, *, deadline: float = DEADLINE, threads: int = 1, waiting: int = WAITING) -> None:
        self.judge = judge
        self.deadline = deadline
        self.waiting = waiting
        self.late = 0
        """Judgements that tier two did not finish in time or had no room for."""
        self._inside = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="judge")

    def close(self) -> None:
        """End the pool; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __call__(self, text: str, origin: str, point: str = "balanced") -> Judgement:
        """Judge, waiting at most `deadline` seconds for tier two. Blocks; for a thread, not for an event loop."""
        first, answer = self._first(text, origin, point)
        if answer is not None:
            return answer
        if self._inside >= self.waiting:
            return self._without(text, origin, first, point, "tier two is overloaded")
        try:
            return self._send(text, origin, first, point).result(self.deadline)
        except Late:
            return self._without(text, origin, first, point, "tier two had no time")

    async def judged(self, text: str, origin: str, point: str = "balanced") -> Judgement:
        """The same for an event loop: tier one inline, tier two off the loop."""
        first, answer = self._first(text, origin, point)
        if answer is not None:
            return answer
        if self._inside >= self.waiting:
            return self._without(text, origin, first, point, "tier two is overloaded")
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._send(text, origin, first, point)), self.deadline)
        except TimeoutError:
            return self._without(text, origin, first, point, "tier two had no time")

    def _first(self, text: str, origin: str, point: str) -> tuple[judging.First | None, Judgement | None]:
        first = judging.look(text, origin, self.judge)
        if first is None and self.judge.one is not None:
            return None, Judgement(0.0, "benign", (), "one", self.judge.name)
        if first is not None and (self.judge.two is None or judging.is_settled(first, origin, self.judge)):
            return first, judging.settled(text, origin, first, self.judge, point, alone=self.judge.two is None)
        return first, None

    def _send(self, text: str, origin: str, first: judging.First | None, point: str) -> Future[Judgement]:
        end = time.monotonic() + self.deadline
        self._inside += 1
        future = self._pool.submit(
            judging.second, text, origin, first, self.judge, point, lambda: time.monotonic() > end
        )
        future.add_done_callback(self._leave)
        return future

    def _leave(self, _: object) -> None:
        self._inside -= 1

    def _without(self, text: str, origin: str, first: judging.First | None, point: str, why: str) -> Judgement:
        self.late += 1
        return judging.unfinished(text, origin, first, self.judge, point, why)
