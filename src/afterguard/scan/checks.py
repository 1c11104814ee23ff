"""The list of checks, in the order of the documentation. Adding a check is one line here.

In: nothing. Out: `CHECKS` for those who describe checks, `PLUGINS` for those who run them.
"""

from __future__ import annotations

from typing import NamedTuple

from afterguard.scan import (
    model_output_to_eval,
    model_output_to_shell,
    model_output_to_sql,
    trust_remote_code,
    unsafe_deserialization,
)
from afterguard.scan.check import Check, Look


class Plugin(NamedTuple):
    """A check with the function that looks."""

    check: Check
    look: Look


PLUGINS: tuple[Plugin, ...] = tuple(
    Plugin(module.CHECK, module.check)
    for module in (
        model_output_to_eval,
        model_output_to_shell,
        model_output_to_sql,
        trust_remote_code,
        unsafe_deserialization,
    )
)
CHECKS: tuple[Check, ...] = tuple(plugin.check for plugin in PLUGINS)
