"""Acts that a person carries out: the engine asks and waits, this only says that it can be asked."""

from __future__ import annotations

from typing import Any

from afterguard.respond.act import Act
from afterguard.respond.engine import State


class People:
    """See engine.Adapter."""

    def objections(self, act: Act) -> list[str]:
        """See Adapter."""
        return []

    def before(self, act: Act) -> dict[str, Any]:
        """See Adapter."""
        return {}

    def do(self, act: Act, until: float) -> dict[str, Any]:
        """See Adapter."""
        return {}

    def undo(self, act: Act, before: dict[str, Any]) -> dict[str, Any]:
        """See Adapter."""
        return {}

    def state(self, act: Act) -> State:
        """See Adapter."""
        return State("unknown", "a person's word is all there is")

    def is_repeatable(self, act: Act) -> bool:
        """See Adapter."""
        return True

    def is_provable(self, act: Act) -> bool:
        """See Adapter."""
        return False
