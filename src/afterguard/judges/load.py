"""A folder of weights -> a Judge: the one that ships, or one a person names.

In: a folder with judge.json, see docs/reference/judge.md. Out: a `Judge`. Tables are memory-mapped, every file is held against its checksum, what does
not fit is refused in words. Nothing is fetched.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterguard.detect import judge as judging
from afterguard.detect.judge import Calibration, Judge
from afterguard.detect.judge.tier_one import CHANNELS, CLASSES, ORIGINS, TierOne
from afterguard.detect.judge.tier_two import Failed, TierTwo
from afterguard.detect.judge.tokens import FOLDED, ROWS_PAIR, ROWS_SIDE, ROWS_TRIGRAM, ROWS_WORD
from afterguard.detect.judge.wordpiece import END, START, UNKNOWN
from afterguard.errors import UsageError
from afterguard.judges.tensors import HEADER_CAP, tensors

FORMAT = "afterguard.judge/1"
UNFIT = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError, OSError)
"""What reading a folder that is no judge can raise."""
TABLES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "fold": (np.uint16, (FOLDED,)),
    "kind": (np.uint8, (0x10000,)),
    "word": (np.int8, (ROWS_WORD, CHANNELS)),
    "before": (np.int8, (ROWS_SIDE, CHANNELS)),
    "after": (np.int8, (ROWS_SIDE, CHANNELS)),
    "pair": (np.int8, (ROWS_PAIR, CHANNELS)),
    "trigram": (np.int8, (ROWS_TRIGRAM, CHANNELS)),
    "bias": (np.float32, (CHANNELS,)),
    "scale": (np.float32, (1,)),
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
    try:
        return _loaded(folder, place)
    except UNFIT as error:
        raise _unfit(folder, f"{type(error).__name__}: {error}") from None


def _loaded(folder: Path, place: Path | None) -> Judge:
    sheet = _sheet(folder)
    if place is not None and place.suffix == ".onnx" and place.name not in (sheet.get("tier_two"), sheet.get("glance")):
        # A network of its own takes ids; only the one the sheet names goes on from the glance.
        sheet = {**sheet, "tier_two": place.name, "glance": None}
    # A judge without a first tier of its own stands behind the one that ships.
    one = _tier_one(folder / _inside(sheet["tier_one"])) if sheet.get("tier_one") else load().one
    checksum = _checksum(folder, sheet)
    two = _tier_two(folder, sheet, at_once=place is not None) if sheet.get("tier_two") else None
    numbers = sheet["calibration"]
    both = [_finite(value) for value in numbers["both"]]
    glance = [_finite(value) for value in numbers.get("glance", (1, 0, 0))]
    doubt = numbers.get("doubt", {})
    calibration = Calibration(
        low={origin: _finite(numbers["low"][origin]) for origin in ORIGINS},
        longer=_finite(numbers["longer"]),
        high=_finite(numbers["high"]),
        one=(_finite(numbers["one"][0]), _finite(numbers["one"][1])),
        glance=(glance[0], glance[1], glance[2]),
        doubt={origin: _finite(doubt.get(origin, 0)) for origin in ORIGINS},
        both=(both[0], both[1], both[2]),
    )
    return Judge(
        f"{sheet['version']}+{checksum[:12]}",
        one,
        two,
        calibration,
        _points(sheet["points"]),
        _points(sheet["tier_one_points"]),
    )


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no finite number")
    return number


def _points(rows: Any) -> dict[str, float]:
    found = {name: _finite(rows[name]) for name in judging.POINTS}
    if not all(0 < value <= 1 for value in found.values()):
        raise ValueError("points are probabilities above 0 and up to 1")
    return found


def _unfit(folder: Path, why: str) -> UsageError:
    return UsageError(
        f"no judge in {folder}: {why[:200]}",
        hint="see docs/reference/judge.md for the files and the contract of a judge",
        slug="bad-judge",
    )


def _sheet(folder: Path) -> dict[str, Any]:
    with (folder / "judge.json").open("rb") as file:
        sheet = json.loads(file.read(HEADER_CAP))
    if not isinstance(sheet, dict) or sheet.get("format") != FORMAT:
        raise ValueError(f"judge.json does not say {FORMAT}")
    if sheet.get("classes") != list(CLASSES):
        raise ValueError(f"classes must be {', '.join(CLASSES)}")
    return sheet


def _inside(name: object) -> str:
    """A file name without folders: a judge does not reach outside its own."""
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise ValueError(f"{name!r} is no file name")
    return name


def _checksum(folder: Path, sheet: dict[str, Any]) -> str:
    """SHA-256 over the sheet and the files it names; each must be what the sheet says it is, where it says so."""
    whole = hashlib.sha256(json.dumps(sheet, sort_keys=True).encode())
    for name in ("tier_one", "glance", "tier_two", "vocabulary"):
        if sheet.get(name):
            file = _inside(sheet[name])
            with (folder / file).open("rb") as data:
                digest = hashlib.file_digest(data, "sha256").hexdigest()
            promised = sheet.get("sha256", {}).get(file)
            if promised and promised != digest:
                raise ValueError(f"{file} is damaged: its checksum is not the one in judge.json")
            whole.update(digest.encode())
    return whole.hexdigest()


def _tier_one(path: Path) -> TierOne:
    found = tensors(path)
    units = found["hidden_bias"].size
    head = {
        "hidden": (np.float32, (3 * CHANNELS + len(ORIGINS), units)),
        "hidden_bias": (np.float32, (units,)),
        "out": (np.float32, (units, len(CLASSES))),
        "out_bias": (np.float32, (len(CLASSES),)),
    }
    for name, (kind, shape) in {**TABLES, **head}.items():
        if found[name].shape != shape or found[name].dtype != kind:
            raise ValueError(f"{path.name}: {name} is {found[name].dtype} {found[name].shape}")
        if kind is np.float32 and not np.isfinite(found[name]).all():
            raise ValueError(f"{path.name}: {name} holds what is no number")
    names = [name for name in TierOne._fields if name != "scale"]
    return TierOne(**{name: found[name] for name in names}, scale=float(found["scale"][0]))


def _tier_two(folder: Path, sheet: dict[str, Any], at_once: bool) -> TierTwo | None:
    """The second tier; None where onnxruntime is not installed."""
    if find_spec("onnxruntime") is None:
        return None
    words = (folder / _inside(sheet["vocabulary"])).read_text(encoding="utf-8").split("\n")
    vocabulary = {word: at for at, word in enumerate(words) if word}
    missing = [word for word in (UNKNOWN, START, END) if word not in vocabulary]
    if missing:
        raise ValueError(f"the vocabulary lacks {', '.join(missing)}")
    length = int(sheet.get("length", 128))
    if not 16 <= length <= 512:
        raise ValueError("length must be between 16 and 512")
    rest = folder / _inside(sheet["tier_two"])
    if not sheet.get("glance"):
        whole = _Network(rest, ("ids", "mask"), ("logits",), at_once)
        return TierTwo(lambda ids, mask: _logits(whole(ids, mask)[0], len(ids)), vocabulary, length)
    short = int(sheet.get("glance_length", length))
    if not 16 <= short <= 512:
        raise ValueError("glance_length must be between 16 and 512")
    first = _Network(folder / _inside(sheet["glance"]), ("ids", "mask"), ("state", "glance"), at_once)
    last = _Network(rest, ("state", "mask"), ("logits",), at_once)

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        return _logits(last(first(ids, mask)[0], mask)[0], len(ids))

    def glance(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        return _finished(first(ids, mask)[1], (len(ids),), "the glance")

    return TierTwo(run, vocabulary, length, glance, short)


def _logits(found: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    return _finished(found, (count, len(CLASSES)), "logits")


def _finished(found: NDArray[np.float32], shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
    """The same, or Failed where it is not what was promised."""
    if found.shape != shape or not np.isfinite(found).all():
        raise Failed(f"{what} of shape {found.shape}")
    return found


class _Network:
    """An ONNX file as a function. What ships is opened at its first use: most texts never need it."""

    def __init__(self, path: Path, takes: tuple[str, ...], gives: tuple[str, ...], at_once: bool) -> None:
        self.path, self.takes, self.gives = path, takes, gives
        self._lock = threading.Lock()
        self._session = _session(path, takes, gives) if at_once else None

    def __call__(self, *inputs: NDArray[Any]) -> list[NDArray[np.float32]]:
        with self._lock:
            if self._session is None:
                self._session = _session(self.path, self.takes, self.gives)
        try:
            found = self._session.run(list(self.gives), dict(zip(self.takes, inputs)))
            return [np.asarray(one, np.float32) for one in found]
        except Exception as error:
            raise Failed(str(error).split("\n")[0][:200]) from None


def _session(path: Path, takes: tuple[str, ...], gives: tuple[str, ...]) -> Any:
    # When it is imported, onnxruntime (1.32 on Linux) makes an id of the device under ~/.cache and begins to report to its maker. Only this variable, set before, keeps it from both.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # where the application imported it before us
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _unfit(path.parent, f"{path.name}: {str(error).splitlines()[0] if str(error) else error}") from None
    inputs, outputs = {one.name for one in session.get_inputs()}, {one.name for one in session.get_outputs()}
    if not set(takes) <= inputs or not set(gives) <= outputs:
        raise _unfit(path.parent, f"{path.name} must take {' and '.join(takes)} and give {' and '.join(gives)}")
    return session
