"""Techniques against a tool that is called directly, as those of an MCP server, one file each. There is no conversation and mostly no model: what is asked for stands in one argument.

In: nothing. Out: OF_TOOLS. They need an example with which the tool works, from the target file. What shows that one worked can neither be echoed nor be made up: a product of two numbers, a planted value.
"""

from __future__ import annotations

from afterguard.attack.contract import Technique
from afterguard.attack.tools import (
    address_inside,
    code_in_argument,
    command_in_argument,
    file_outside,
    record_of_other,
    sql_in_argument,
)

OF_TOOLS: tuple[Technique, ...] = (
    address_inside.TECHNIQUE,
    file_outside.TECHNIQUE,
    sql_in_argument.TECHNIQUE,
    command_in_argument.TECHNIQUE,
    code_in_argument.TECHNIQUE,
    record_of_other.TECHNIQUE,
)
