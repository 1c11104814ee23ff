"""Every technique, one file each.

In: nothing. Out: TECHNIQUES. A new one: a file here, a line in the list, a line of tests/attack/samples.
"""

from __future__ import annotations

from afterguard.attack.contract import Technique
from afterguard.attack.techniques import (
    amount_over_limit,
    canary_question,
    document_recital,
    document_stays,
    false_limit,
    forbidden_tool,
    formula_in_cell,
    huge_answer,
    invented_package,
    markup_in_answer,
    memorised_text,
    memory_of_all,
    memory_order,
    off_purpose,
    order_in_document,
    other_customer_record,
    picture_to_listener,
    prompt_recital,
    sql_in_field,
    terminal_escapes,
    tool_as_another,
    tool_from_document,
    tool_from_result,
    tool_listing,
    tool_loop,
)

TECHNIQUES: tuple[Technique, ...] = (
    order_in_document.TECHNIQUE,
    tool_from_document.TECHNIQUE,
    prompt_recital.TECHNIQUE,
    canary_question.TECHNIQUE,
    # data of others, tools, output, money, facts, memory
    other_customer_record.TECHNIQUE,
    document_recital.TECHNIQUE,
    memorised_text.TECHNIQUE,
    forbidden_tool.TECHNIQUE,
    amount_over_limit.TECHNIQUE,
    tool_as_another.TECHNIQUE,
    tool_from_result.TECHNIQUE,
    tool_listing.TECHNIQUE,
    tool_loop.TECHNIQUE,
    markup_in_answer.TECHNIQUE,
    picture_to_listener.TECHNIQUE,
    sql_in_field.TECHNIQUE,
    terminal_escapes.TECHNIQUE,
    formula_in_cell.TECHNIQUE,
    invented_package.TECHNIQUE,
    huge_answer.TECHNIQUE,
    off_purpose.TECHNIQUE,
    false_limit.TECHNIQUE,
    memory_order.TECHNIQUE,
    memory_of_all.TECHNIQUE,
    document_stays.TECHNIQUE,
)
BY_ID = {technique.id: technique for technique in TECHNIQUES}
