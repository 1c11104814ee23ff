"""Trees to measure on, built from what every machine has: the standard library's own source, and the example applications.

In: a folder and a number of files. Out: a tree of exactly that many files, the same for the same Python.
"""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def build(folder: Path, count: int) -> Path:
    """A tree of `count` files: one in fifty from the examples, the rest real code that mostly has nothing to do with AI."""
    shutil.rmtree(folder, ignore_errors=True)
    plain, special = _endless(_standard()), _endless(_examples())
    for number in range(count):
        source = next(special if number % 50 == 0 else plain)
        target = folder / f"part{number // 500:03d}" / f"{number:06d}" / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return folder


def _standard() -> list[Path]:
    root = Path(sysconfig.get_paths()["stdlib"])
    return sorted(
        p for p in root.rglob("*.py") if "site-packages" not in p.parts and "test" not in p.parts and p.is_file()
    )


def _examples() -> list[Path]:
    return sorted(p for p in EXAMPLES.rglob("*") if p.is_file())


def _endless(paths: list[Path]) -> Iterator[Path]:
    while True:
        yield from paths
