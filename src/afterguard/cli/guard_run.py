"""`afterguard guard`, `guard stdio` and `guard estimate`: to stand between application and model.

In: flags. Out: a guard that runs until it is stopped, and beforehand how much it will write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from afterguard.cli.guard_places import folder_of, log_of, opened
from afterguard.cli.options import DEFAULT, Common, open_session
from afterguard.errors import UsageError

Mode = Literal["observe", "shadow", "share", "enforce"]


def run(
    *,
    upstream: Annotated[list[str] | None, Parameter(negative=())] = None,
    door: Annotated[list[str] | None, Parameter(negative=())] = None,
    taps: str | None = None,
    gateway: Annotated[list[str] | None, Parameter(negative=())] = None,
    mapping: Annotated[list[str] | None, Parameter(negative=())] = None,
    schema: Annotated[list[str] | None, Parameter(negative=())] = None,
    grpc: Annotated[list[str] | None, Parameter(negative=())] = None,
    listen: str | None = None,
    mode: Mode | None = None,
    share: float | None = None,
    policy: str | None = None,
    on_error: Literal["open", "closed"] | None = None,
    budget_ms: float | None = None,
    judge: Literal["off", "one", "two"] | None = None,
    point: Literal["quiet", "balanced", "strict"] | None = None,
    detectors: bool | None = None,
    log: str | None = None,
    folder: str | None = None,
    redis: str | None = None,
    workers: int | None = None,
    helpers: int | None = None,
    takeover: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> int:
    """Run the guard until it is stopped. Every setting of [guard] in afterguard.toml can be given here or there.

    Parameters
    ----------
    upstream
        Where a mount leads: openai=https://api.openai.com, support:openai=URL, mcp/tickets=URL, fraud:kserve=URL. Repeatable.
    door
        A further door on an address of its own: ext_proc=HOST:PORT for Envoy, icap=HOST:PORT for Squid and its like. Repeatable.
    taps
        Folder in memory into which an Envoy on this machine taps, as `guard envoy-config --taps` has it.
    gateway
        A gateway that may ask what becomes of an exchange: litellm or agentgateway. Repeatable.
    mapping
        How a mount of kind plain or scoring is read, as `guard learn` writes it: support=mapping.yaml. Repeatable.
    schema
        What the features of a predictive model may be: fraud=schema.yaml for every model of the mount, fraud/MODEL=schema.yaml for one. Repeatable.
    grpc
        A port for KServe v2 over gRPC beside a mount of kind kserve: fraud@127.0.0.1:8001=grpc://triton:8001. Repeatable.
    listen
        HOST:PORT. Beyond loopback a token (guard.token) or client certificates (guard.client_ca) are needed.
    mode
        observe: bytes pass, judged afterwards. shadow: judged in line, nothing changed. share: enforced for a share of conversations. enforce.
    share
        Share of conversations for mode share, 0 to 1.
    policy
        starter, strict, none, or a file, which is read again when it changes.
    on_error
        What happens when the guard itself cannot judge: open passes, closed refuses. Both are counted.
    budget_ms
        Milliseconds that judging may add to an exchange.
    judge
        The learned judge: off, one (tier one alone) or two.
    point
        Operating point of the judge.
    detectors
        --no-detectors: parse and write down only.
    log
        File of the decision log (OCSF JSON lines, rotated).
    folder
        Where the guard keeps its key and its switches.
    redis
        redis:// address of shared state.
    workers
        Processes that serve requests.
    helpers
        Processes that judge large texts and ask the second tier.
    takeover
        Share the address with a guard that is already there, which is then told to stop (SIGTERM): an upgrade without a gap.
    """
    flags = {
        "upstream": upstream, "door": door, "taps": taps, "gateway": gateway, "mapping": mapping, "schema": schema, "grpc": grpc, "listen": listen, "mode": mode, "share": share, "policy": policy, "on_error": on_error,
        "budget_ms": budget_ms, "judge": judge, "point": point, "detectors": detectors, "log": log, "folder": folder,
        "redis": redis, "workers": workers, "helpers": helpers,
    }  # fmt: skip
    session = opened(common, flags)
    settings = session.config.guard
    from afterguard.guard.door import addresses

    for address in (settings.listen, *(where for _, where in addresses(settings.door))):
        host = address.rpartition(":")[0].strip("[]")
        if not _is_loopback(host) and not settings.token and not settings.client_ca:
            raise UsageError(
                f"{address} can be reached by others, and the guard passes keys",
                hint="set AFTERGUARD_GUARD_TOKEN, or guard.client_ca, or listen on 127.0.0.1",
                slug="unprotected-listener",
            )
    from afterguard.jobs import guard as job

    plan = job.plan(session.config, folder_of(session), log_of(session))

    def ready(ports: list[int]) -> None:
        listen = f"{settings.listen.rpartition(':')[0]}:{ports[0]}"
        for text in plan.told(listen):
            session.say("guard: " + text)
        session.next(f"afterguard guard env --listen {listen}   (in the application's shell)")

    return job.run(plan, ready, takeover=takeover)


def stdio(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    name: str,
    pins: Path | None = None,
    mode: Mode | None = None,
    policy: str | None = None,
    on_error: Literal["open", "closed"] | None = None,
    budget_ms: float | None = None,
    judge: Literal["off", "one", "two"] | None = None,
    log: str | None = None,
    folder: str | None = None,
    metrics: Path | None = None,
    common: Common = DEFAULT,
) -> int:
    """Start an MCP server that speaks over standard streams, and guard what it says: write this command where the client's configuration names the server's.

    Parameters
    ----------
    command
        The server's command and its arguments, behind --.
    name
        What the server is called in policies and in the decision log: mcp/NAME.
    pins
        JSON file of tool descriptions as they were first seen; made when missing. What differs later is a hit.
    mode
        observe, shadow, share or enforce.
    policy
        starter, strict, none, or a file, which is read again when it changes.
    on_error
        What happens when the guard itself cannot judge: open passes, closed refuses.
    budget_ms
        Milliseconds that judging may add to a message; large ones get more, in proportion.
    judge
        The learned judge: off, one (tier one alone) or two.
    log
        File of the decision log; several servers may share one.
    folder
        Where the guard keeps its key and its switches.
    metrics
        File for the counts in the text format of Prometheus, written every minute and at the end: NAME.prom in the folder of node_exporter's textfile collector. One for each server.
    """
    from afterguard.jobs import stdio as job

    flags = {
        "mode": mode,
        "policy": policy,
        "on_error": on_error,
        "budget_ms": budget_ms,
        "judge": judge,
        "log": log,
        "folder": folder,
    }
    session = opened(common, flags)
    return job.run(session.config, name, command, folder_of(session), log_of(session), pins, metrics)


def estimate(requests_a_day: float, /, *, common: Common = DEFAULT) -> int:
    """How much the decision log will take, before a forwarder is pointed at it.

    Parameters
    ----------
    requests_a_day
        Model calls of a day.
    """
    from afterguard.guard.journal import estimate as bytes_a_day

    session = open_session(common)
    day = bytes_a_day(requests_a_day)
    print(
        f"{requests_a_day:,.0f} requests a day: {day / 1e9:.2f} GB a day, {day / 86_400 / 1e3:.1f} kB/s, {day * 30 / 1e9:.1f} GB a month"
    )
    session.next("afterguard guard --upstream openai=URL --log FILE")
    return 0


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
