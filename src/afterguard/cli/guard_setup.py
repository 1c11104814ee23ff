"""`afterguard guard env`, `envoy-config`, `litellm-config` and `squid-config`: what applications and hosts have to be told to lead through a guard.

In: addresses and mounts. Out: text to put there. Nothing is changed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from afterguard.cli.guard_places import opened
from afterguard.cli.options import DEFAULT, Common, open_session, writing
from afterguard.errors import UsageError

VARIABLES = (
    ("OPENAI_BASE_URL", "/openai/v1"),
    ("AZURE_OPENAI_ENDPOINT", "/azure"),
    ("ANTHROPIC_BASE_URL", "/anthropic"),
    ("GOOGLE_GEMINI_BASE_URL", "/gemini"),
    ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "/bedrock"),
    ("OLLAMA_HOST", "/ollama"),
)
"""What the providers' own SDKs read."""


def env(*, listen: str = "127.0.0.1:8765", tls: bool = False, common: Common = DEFAULT) -> int:
    """Print the variables that lead an application's SDKs through the guard.

    Parameters
    ----------
    listen
        Where the guard listens.
    tls
        Whether it speaks TLS.
    """
    session = open_session(common)
    base = f"{'https' if tls else 'http'}://{listen}"
    for name, path in VARIABLES:
        print(f"export {name}={base}{path}")
    session.next("start the application from this shell, then: afterguard guard prove")
    return 0


def envoy_config(
    *,
    upstream: Annotated[list[str] | None, Parameter(negative=())] = None,
    brain: Annotated[list[str] | None, Parameter(negative=())] = None,
    observe: Annotated[bool, Parameter(negative=())] = False,
    enforce: Annotated[bool, Parameter(negative=())] = False,
    filter_only: Annotated[bool, Parameter(negative=())] = False,
    listen: str = "127.0.0.1:10000",
    admin: str = "127.0.0.1:9901",
    brain_ca: str = "",
    taps: str = "",
    policy: str | None = None,
    on_error: Literal["open", "closed"] | None = None,
    budget_ms: float | None = None,
    common: Common = DEFAULT,
) -> int:
    """Print the configuration of an Envoy that asks this guard over its door ext_proc: complete, or the parts for one that is there.

    Parameters
    ----------
    upstream
        Where a mount leads, as for `afterguard guard`. Repeatable.
    brain
        HOST:PORT of a guard's door ext_proc. Repeatable: Envoy spreads over all of them. Without it, what guard.door says.
    observe
        For every route: show the guard what passes and wait for nothing.
    enforce
        For every route: wait for the guard. Without either, as the mode of each route says.
    filter_only
        Print what is put into an Envoy that is there, instead of a whole configuration.
    listen
        Where Envoy listens.
    admin
        Where Envoy is controlled: on loopback only.
    brain_ca
        PEM file, on Envoy's machine, of the authority of the guards' own certificates, where they have any.
    taps
        Folder in memory, as Envoy's machine calls it, into which Envoy taps observed routes instead of showing them over ext_proc; the guard reads it (`guard --taps`).
    policy
        starter, strict, none, or a file: says what a route does where the guard cannot judge.
    on_error
        What happens where the guard cannot judge: open passes, closed refuses.
    budget_ms
        Milliseconds that judging may add to an exchange.
    """
    from afterguard.guard import envoy_config as written
    from afterguard.jobs import envoy as job

    if observe and enforce:
        raise UsageError("--observe and --enforce exclude each other", hint="give one", slug="bad-usage")
    session = opened(common, {"upstream": upstream, "policy": policy, "on_error": on_error, "budget_ms": budget_ms})
    mode = "observe" if observe else "enforce" if enforce else ""
    plan = job.plan(session.config, brain or [], mode, listen=listen, admin=admin, brain_ca=brain_ca, taps=taps)
    with writing(common.output) as out:
        out.write(written.filters(plan) if filter_only else written.bootstrap(plan))
    file = "envoy.yaml" if common.output == "-" else common.output
    doors = ([f"--taps {taps}"] if taps else []) + ([f"--door ext_proc={plan.brains[0]}"] if plan.filtered else [])
    session.next(f"envoy --mode validate -c {file}; afterguard guard {' '.join(doors)} --upstream ...")
    return 0


def litellm_config(
    *,
    listen: str | None = None,
    tls: bool = False,
    name: str = "",
    stream: Literal["grow", "hold"] = "hold",
    on_error: Literal["open", "closed"] | None = None,
    timeout: float = 10.0,
    common: Common = DEFAULT,
) -> int:
    """Print what to add to LiteLLM's config.yaml, so that LiteLLM asks this guard (started with --gateway litellm).

    Parameters
    ----------
    listen
        Where the guard listens, as LiteLLM reaches it.
    tls
        Whether it speaks TLS.
    name
        What the route is called in policies; litellm without it.
    stream
        hold: a streamed reply is held until it is judged whole, calls included. grow: text leaves as it grows, edited; calls in a stream leave before they are judged.
    on_error
        What LiteLLM does when the guard cannot be reached: open passes, closed refuses. Default: what the guard does for itself, open where it says nothing.
    timeout
        Seconds LiteLLM waits for the guard.
    """
    session = opened(common, {"listen": listen, "on_error": on_error})
    settings = session.config.guard
    fails = settings.on_error or "open"
    lines = [
        "guardrails:",
        "  - guardrail_name: afterguard",
        "    litellm_params:",
        "      guardrail: generic_guardrail_api",
        "      mode: [pre_call, post_call]",
        "      default_on: true",
        f"      api_base: {'https' if tls else 'http'}://{settings.listen}/litellm{'/' + name if name else ''}",
        f"      timeout: {timeout:g}",
        f"      unreachable_fallback: fail_{fails}",
        f"      fail_on_error: {'false' if fails == 'open' else 'true'}",
    ]
    if settings.token:
        lines += ["      headers:", "        x-afterguard-token: os.environ/AFTERGUARD_GUARD_TOKEN"]
    if stream == "hold":
        lines.append("      streaming_buffer_until_moderated: true")
    else:
        lines.append("      streaming_transform_mode: incremental_diff")
    with writing(common.output) as out:
        out.write("\n".join(lines) + "\n")
    session.next("afterguard guard prove   (with the guard started with --gateway litellm)")
    return 0


def squid_config(
    *,
    door: str = "127.0.0.1:1344",
    upstream: Annotated[list[str] | None, Parameter(negative=())] = None,
    policy: str | None = None,
    on_error: Literal["open", "closed"] | None = None,
    common: Common = DEFAULT,
) -> int:
    """Print the lines for squid.conf that show a Squid's AI traffic to the guard's ICAP door.

    Parameters
    ----------
    door
        HOST:PORT of the door, as in `--door icap=HOST:PORT`.
    upstream
        The guard's mounts, as it is started with them: the hosts they lead to are shown beside the known providers'.
    policy
        The guard's policy: starter, strict, none, or a file. It may say for each route what happens when the guard is away.
    on_error
        open: the traffic goes on unseen when the guard is away (bypass=on). closed: Squid refuses it.
    """
    from afterguard.jobs import guard as job

    session = opened(common, {"upstream": upstream, "policy": policy, "on_error": on_error})
    with writing(common.output) as out:
        out.write(job.squid_lines(session.config, door))
    session.next("squid -k parse, then squid -k reconfigure; take the lines out and reconfigure to be rid of it")
    return 0
