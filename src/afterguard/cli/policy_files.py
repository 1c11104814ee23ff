"""Files that commands about policies read, and the judge they are tried with.

In: names and paths as given, a Session. Out: what stands in them. Raises UsageError, and says what to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from afterguard.cli.options import Session
from afterguard.errors import UsageError

if TYPE_CHECKING:
    from afterguard.detect.detector import Opinion, Passage
    from afterguard.policy import Policy

Judge = Literal["off", "one", "two"]
FILE_CAP = 8 << 20


def policy_of(name: str) -> Policy:
    """A policy by the name of one that is shipped, or by its file. Raises UsageError."""
    from afterguard.policy import SHIPPED, load_policy, shipped

    return shipped(name) if name in SHIPPED and not Path(name).is_file() else load_policy(text_of(Path(name)), name)


def text_of(path: Path) -> str:
    try:
        return bytes_of(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text", hint="save it as UTF-8", slug="bad-policy") from None


def bytes_of(path: Path, cap: int = FILE_CAP) -> bytes:
    from afterguard.files import open_file

    try:
        with open_file(path) as handle:
            data: bytes = handle.read(cap + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="check the path", slug="no-such-path") from None
    if len(data) > cap:
        raise UsageError(f"{path} is larger than {cap >> 20} MiB", hint="is it the right file?", slug="bad-usage")
    return data


def passage_of(session: Session, judge: Judge | None) -> Passage | None:
    """The judge's network on one sentence, as the guard's helpers ask it; None where it is not to be had."""
    if (judge or session.config.guard.judge) != "two":
        return None
    from afterguard import judges
    from afterguard.detect.judge import passage

    by = judges.load()
    return None if by.two is None else lambda text, origin: passage(text, origin, by)


def opinion_of(session: Session, judge: Judge | None) -> Opinion | None:
    """The judge as the guard uses it: its tier and operating point."""
    chosen = session.config.guard
    tier = judge or chosen.judge
    if tier == "off":
        return None
    from afterguard import judges
    from afterguard.detect.judge import judge as ask

    by = judges.load()
    return lambda text, origin: ask(text, origin, by, chosen.point, "one" if tier == "one" else "")
