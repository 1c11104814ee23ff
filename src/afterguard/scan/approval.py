"""Signs that a person approves what an agent does.

In: source lines. Out: yes or no, for one function's text and for a whole file. Words are evidence of an approval step, not proof
that it holds.
"""

from __future__ import annotations

import re

from afterguard.scan.source_text import code_of

_STEP = re.compile(
    r"approv|confirm|human_?in_?the|human_?input|interrupt\s*\(|ask_?(?:user|human|operator|permission)|\binput\s*\(|require_?review|two_?person|needs?_?consent"
    r"|request_?permission|elicit|needsApproval|dry_?run\s*=\s*True|\bprompt\.(?:yesno|confirm)|readline",
    re.IGNORECASE,
)
_WIDE = re.compile(
    r"interrupt_(?:before|after|on)\s*[=:]|interruptBefore|HumanInTheLoop|HumanApproval|needs_?approval\s*[=:]\s*(?!False|false)|require_?approval\s*[=:]\s*(?!False|false|[\"']never)"
    r"|human_input_mode\s*=\s*[\"'](?:ALWAYS|TERMINATE)|require_?confirmation\s*[=:]\s*(?!False|false)|tool_?approval|ToolConfirmation|approval_(?:func|handler|callback|policy|required)"
    r"|human_input\s*=\s*True|can_?use_?tool\s*=|ask_?before",
    re.IGNORECASE,
)


def has_step(lines: list[str]) -> bool:
    """Whether these lines ask a person before they act."""
    return any(_STEP.search(code_of(text)) for text in lines)


def is_app_wide(lines: list[str]) -> bool:
    """Whether agents made in this file have their tool calls approved."""
    if not _WIDE.search("\n".join(lines)):
        return False
    return any(_WIDE.search(code_of(text)) for text in lines)
