"""The list of checks, in the order of the documentation. Adding a check is one line here.

In: nothing. Out: `CHECKS` for those who describe checks, `PLUGINS` for those who run them.
"""

from __future__ import annotations

from typing import NamedTuple

from afterguard.scan import (
    dangerous_code_allowed,
    dangerous_tool_without_approval,
    exposed_inference_server,
    hardcoded_secret,
    missing_output_limit,
    missing_rate_limit,
    model_output_to_eval,
    model_output_to_html,
    model_output_to_path,
    model_output_to_shell,
    model_output_to_sql,
    model_output_to_template,
    permissive_cors,
    pii_in_training_data,
    prompt_logging,
    public_bucket,
    secret_in_prompt,
    tool_description_injection,
    trust_remote_code,
    unauthenticated_ai_endpoint,
    unbounded_agent_loop,
    unpinned_mcp_server,
    unpinned_model,
    unsafe_deserialization,
    user_input_in_system_prompt,
    vulnerable_dependency,
    wildcard_iam,
)
from afterguard.scan.check import Check, Look


class Plugin(NamedTuple):
    """A check with the function that looks."""

    check: Check
    look: Look


PLUGINS: tuple[Plugin, ...] = tuple(
    Plugin(module.CHECK, module.check)
    for module in (
        hardcoded_secret,
        model_output_to_eval,
        model_output_to_shell,
        model_output_to_sql,
        model_output_to_template,
        model_output_to_path,
        model_output_to_html,
        user_input_in_system_prompt,
        dangerous_tool_without_approval,
        dangerous_code_allowed,
        trust_remote_code,
        unsafe_deserialization,
        unpinned_model,
        unpinned_mcp_server,
        tool_description_injection,
        exposed_inference_server,
        unauthenticated_ai_endpoint,
        permissive_cors,
        missing_output_limit,
        missing_rate_limit,
        secret_in_prompt,
        pii_in_training_data,
        public_bucket,
        wildcard_iam,
        prompt_logging,
        vulnerable_dependency,
        unbounded_agent_loop,
    )
)
CHECKS: tuple[Check, ...] = tuple(plugin.check for plugin in PLUGINS)
