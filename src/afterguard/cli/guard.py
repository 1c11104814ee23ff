"""`afterguard guard`: the reverse proxy between applications and models, and what belongs to it."""

from __future__ import annotations

from cyclopts import App

from afterguard.cli.guard_learn import learn, rows, schema
from afterguard.cli.guard_operate import approvals, approve, deny, kill, prove, resume
from afterguard.cli.guard_run import estimate, run, stdio
from afterguard.cli.guard_setup import env, envoy_config, litellm_config, squid_config

guard = App(
    name="guard", help="Stand between application and model: observe, shadow, enforce.", help_format="plaintext"
)
guard.default(run)
for command in (
    env, envoy_config, litellm_config, squid_config, prove, kill, resume, approvals, approve, deny, estimate, learn, schema, rows, stdio,
):  # fmt: skip
    guard.command(command)
