"""`python -m afterguard` and the console script."""

from __future__ import annotations

import sys

from afterguard.cli.run import run


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
