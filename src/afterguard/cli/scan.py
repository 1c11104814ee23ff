"""`afterguard scan`: what is wrong with how it is built and run."""

from __future__ import annotations

from pathlib import Path

from afterguard.cli.options import DEFAULT, Common
from afterguard.cli.surveying import surveying


def scan(paths: list[Path], /, *, common: Common = DEFAULT) -> int:
    """Check code, infrastructure and agent configuration for weaknesses of AI applications.

    Parameters
    ----------
    paths
        Folders, archives or files to read.
    """
    return surveying(paths, common, what="scan", next_command="afterguard onboard PATH --logs LOG")
