"""Every technique, one file each.

In: nothing. Out: TECHNIQUES. A new one: a file here, a line in the list, a habit of the stand-ins in tests/attack that it finds. A file names its variants with the strongest first: a run with few requests tries those alone.
"""

from __future__ import annotations

from afterguard.attack.contract import Technique
from afterguard.attack.techniques import (
    canary_question,
    claimed_authority,
    context_building,
    developer_mode,
    diluted_order,
    disguised_letters,
    emotional_appeal,
    encoded_order,
    encoded_request,
    fake_configuration,
    fiction_frame,
    order_in_code,
    order_in_document,
    order_in_file_name,
    order_in_image_text,
    order_in_mail,
    order_in_page,
    order_in_tool_description,
    order_in_tool_result,
    other_languages,
    pretended_examples,
    prompt_recital,
    refusal_suppression,
    role_play,
    split_order,
    split_question,
    started_answer,
    stepwise_escalation,
    tool_from_document,
    translation_task,
)

TECHNIQUES: tuple[Technique, ...] = (
    order_in_document.TECHNIQUE,
    tool_from_document.TECHNIQUE,
    prompt_recital.TECHNIQUE,
    canary_question.TECHNIQUE,
    # words of outsiders, and of users
    order_in_mail.TECHNIQUE,
    order_in_page.TECHNIQUE,
    order_in_tool_result.TECHNIQUE,
    order_in_file_name.TECHNIQUE,
    order_in_image_text.TECHNIQUE,
    order_in_tool_description.TECHNIQUE,
    order_in_code.TECHNIQUE,
    encoded_order.TECHNIQUE,
    diluted_order.TECHNIQUE,
    split_order.TECHNIQUE,
    role_play.TECHNIQUE,
    claimed_authority.TECHNIQUE,
    developer_mode.TECHNIQUE,
    fiction_frame.TECHNIQUE,
    fake_configuration.TECHNIQUE,
    refusal_suppression.TECHNIQUE,
    pretended_examples.TECHNIQUE,
    translation_task.TECHNIQUE,
    started_answer.TECHNIQUE,
    emotional_appeal.TECHNIQUE,
    stepwise_escalation.TECHNIQUE,
    context_building.TECHNIQUE,
    split_question.TECHNIQUE,
    encoded_request.TECHNIQUE,
    disguised_letters.TECHNIQUE,
    other_languages.TECHNIQUE,
)
BY_ID = {technique.id: technique for technique in TECHNIQUES}
