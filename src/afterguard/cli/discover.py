"""`afterguard discover`: what AI runs here."""

from __future__ import annotations

from pathlib import Path

from afterguard.cli.options import DEFAULT, Common
from afterguard.cli.surveying import surveying


def discover(paths: list[Path], /, *, common: Common = DEFAULT) -> int:
    """Find the AI in code, manifests, infrastructure, agent configuration, model files, traffic logs, audit trails and bills.

    Parameters
    ----------
    paths
        Folders, archives or files to read.
    """
    return surveying(paths, common, what="discover", next_command="afterguard scan PATH")
