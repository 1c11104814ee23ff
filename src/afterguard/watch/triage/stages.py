"""How far an attack has come, by what was seen of it.

In: a kind of hit. Out: its stage. An attack that goes from one stage to a later one in the same conversation, or by the same identity, is news even where each hit alone is noise.
"""

from __future__ import annotations

PROBE, BYPASS, ACT, LOSS = 1, 2, 3, 4
STAGE = {
    **dict.fromkeys(("jailbreak", "prompt_extraction", "encoded_payload", "invisible_text", "injection_ignored", "key_probing", "parameter_probing", "escalation", "repeated_attacks", "membership_probing", "evasion_walk"), PROBE),
    **dict.fromkeys(("injection_followed", "system_prompt_leak", "foreign_order", "order_in_name", "tool_poisoned", "tool_changed", "account_takeover", "credential_shared", "key_misuse", "model_swap", "poisoning_suspected"), BYPASS),
    **dict.fromkeys(("unexplained_tool_call", "tool_not_allowed", "bad_arguments", "unsafe_output", "new_payees", "payment_velocity", "lethal_combination", "label_harvesting", "model_extraction", "chat_extraction", "scraping"), ACT),
    **dict.fromkeys(("exfil_link", "secret_in_output", "pii_of_another", "canary_leak", "identifier_to_two", "payment_amount", "amounts_under_limit", "refund_pattern", "payee_of_many", "denial_of_wallet"), LOSS),
}  # fmt: skip


def stage(kind: str) -> int:
    """1 probing, 2 got past something, 3 acts, 4 does harm; 0 says nothing of it."""
    return STAGE.get(kind, 0)


def is_progress(seen: frozenset[int] | set[int]) -> bool:
    """Whether somebody came further than probing, by more than one step."""
    reached = seen - {0}
    return len(reached) >= 2 and max(reached) >= ACT
