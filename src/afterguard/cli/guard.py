"""`afterguard guard`: the reverse proxy between applications and models, and what belongs to it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import App, Parameter

from afterguard.cli.options import DEFAULT, Common, Progress, Session, open_session, writing
from afterguard.cli.recording import beside
from afterguard.errors import UsageError

if TYPE_CHECKING:
    from afterguard.jobs.approvals import Approver

guard = App(
    name="guard", help="Stand between application and model: observe, shadow, enforce.", help_format="plaintext"
)
Mode = Literal["observe", "shadow", "share", "enforce"]


@guard.default
def run(
    *,
    upstream: Annotated[list[str] | None, Parameter(negative=())] = None,
    door: Annotated[list[str] | None, Parameter(negative=())] = None,
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
        "upstream": upstream, "door": door, "gateway": gateway, "mapping": mapping, "schema": schema, "grpc": grpc, "listen": listen, "mode": mode, "share": share, "policy": policy, "on_error": on_error,
        "budget_ms": budget_ms, "judge": judge, "point": point, "detectors": detectors, "log": log, "folder": folder,
        "redis": redis, "workers": workers, "helpers": helpers,
    }  # fmt: skip
    session = _open(common, flags)
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

    plan = job.plan(session.config, _folder(session), _log(session))

    def ready(ports: list[int]) -> None:
        listen = f"{settings.listen.rpartition(':')[0]}:{ports[0]}"
        for text in plan.told(listen):
            session.say("guard: " + text)
        session.next(f"afterguard guard env --listen {listen}   (in the application's shell)")

    return job.run(plan, ready, takeover=takeover)


@guard.command
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


@guard.command(name="envoy-config")
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
    session = _open(common, {"upstream": upstream, "policy": policy, "on_error": on_error, "budget_ms": budget_ms})
    mode = "observe" if observe else "enforce" if enforce else ""
    plan = job.plan(session.config, brain or [], mode, listen=listen, admin=admin, brain_ca=brain_ca)
    with writing(common.output) as out:
        out.write(written.filters(plan) if filter_only else written.bootstrap(plan))
    file = "envoy.yaml" if common.output == "-" else common.output
    session.next(f"envoy --mode validate -c {file}; afterguard guard --door ext_proc={plan.brains[0]} --upstream ...")
    return 0


VARIABLES = (
    ("OPENAI_BASE_URL", "/openai/v1"),
    ("AZURE_OPENAI_ENDPOINT", "/azure"),
    ("ANTHROPIC_BASE_URL", "/anthropic"),
    ("GOOGLE_GEMINI_BASE_URL", "/gemini"),
    ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "/bedrock"),
    ("OLLAMA_HOST", "/ollama"),
)
"""What the providers' own SDKs read."""


@guard.command(name="litellm-config")
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
    session = _open(common, {"listen": listen, "on_error": on_error})
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


@guard.command
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

    session = _open(common, {"upstream": upstream, "policy": policy, "on_error": on_error})
    with writing(common.output) as out:
        out.write(job.squid_lines(session.config, door))
    session.next("squid -k parse, then squid -k reconfigure; take the lines out and reconfigure to be rid of it")
    return 0


@guard.command
def prove(
    *,
    listen: str | None = None,
    door: Annotated[list[str] | None, Parameter(negative=())] = None,
    tls: bool = False,
    folder: str | None = None,
    through: str = "",
    common: Common = DEFAULT,
) -> int:
    """Send harmless probes through the running guard and say which cells were seen guarded. Exits with 10 where there is a gap.

    Parameters
    ----------
    listen
        Where the guard listens.
    door
        A further door to prove, as the guard was started with it: ext_proc=HOST:PORT, icap=HOST:PORT. Repeatable.
    tls
        Whether it speaks TLS.
    folder
        The guard's folder, whose key signs the probes.
    through
        URL of what stands in front of one of the guard's doors, to send the probes there: http://127.0.0.1:10000 for an Envoy.
    """
    from afterguard.jobs import judging
    from afterguard.jobs import prove as proving

    session = _open(common, {"folder": folder, "listen": listen, "door": door})
    settings = session.config.guard
    doors = proving.doors(settings.door, settings.token, tls)
    headers = {"x-afterguard-token": settings.token} if settings.token else {}
    address = f"{'https' if tls else 'http'}://{settings.listen}"
    running = proving.Guard(address, judging.key(_folder(session)), headers, through)
    progress = Progress(session, "guard prove: probing")
    try:
        rows = list(proving.proofs(running, lambda count: progress(count, "cells"), doors))
    finally:
        progress.close()
    policy = running.mounts()[1]
    with writing(common.output) as out:
        if common.format == "json":
            found = {"format": "afterguard.proof/1", "policy": policy, "cells": rows}
            out.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
        else:
            out.write(proving.table(rows, policy))
    session.next("afterguard policy backtest --logs FILE   (what enforcing would have done)")
    return 10 if any(row.gap for row in rows) and not common.no_fail else 0


@guard.command
def kill(*, folder: str | None = None, common: Common = DEFAULT) -> int:
    """Kill switch: from now on everything passes unjudged, and is counted. Takes effect within a second.

    Parameters
    ----------
    folder
        The guard's folder.
    """
    from afterguard.jobs.judging import KILL

    session = _open(common, {"folder": folder})
    place = _folder(session)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    (place / KILL).touch()
    session.say("guard: killed; nothing is judged any more")
    session.next("afterguard guard resume")
    return 0


@guard.command
def resume(*, folder: str | None = None, common: Common = DEFAULT) -> int:
    """Take the kill switch back.

    Parameters
    ----------
    folder
        The guard's folder.
    """
    from afterguard.jobs.judging import KILL

    session = _open(common, {"folder": folder})
    (_folder(session) / KILL).unlink(missing_ok=True)
    session.say("guard: judging again")
    session.next("afterguard guard prove")
    return 0


@guard.command
def approvals(
    *, folder: str | None = None, redis: str | None = None, log: str | None = None, common: Common = DEFAULT
) -> int:
    """List what the action ask has held: what waits for a person, and what became of the rest.

    Parameters
    ----------
    folder
        The guard's folder.
    redis
        The guard's Redis, where it has one.
    log
        The guard's decision log.
    """
    from afterguard.cli import approving

    session = _open(common, {"folder": folder, "redis": redis, "log": log})
    return approving.listing(session, _desk(session))


@guard.command
def approve(
    identifier: str,
    /,
    *,
    by: str,
    reason: str,
    minutes: float = 60.0,
    uses: int = 1,
    folder: str | None = None,
    redis: str | None = None,
    log: str | None = None,
    common: Common = DEFAULT,
) -> int:
    """Let exactly what was asked pass, in its conversation, once, for an hour.

    Parameters
    ----------
    identifier
        Of the approval, as the refusal and `guard approvals` say it.
    by
        Who approves it: not who asked for it.
    reason
        Why. Stands in the decision log.
    minutes
        How long it may be used.
    uses
        How often it may be used.
    folder
        The guard's folder.
    redis
        The guard's Redis, where it has one.
    log
        The guard's decision log, in which this is written down.
    """
    from afterguard.cli import approving
    from afterguard.jobs.approvals import Order

    session = _open(common, {"folder": folder, "redis": redis, "log": log})
    return approving.settled(session, _desk(session), identifier, Order("approved", by, reason, minutes, uses))


@guard.command
def deny(
    identifier: str,
    /,
    *,
    by: str,
    reason: str,
    folder: str | None = None,
    redis: str | None = None,
    log: str | None = None,
    common: Common = DEFAULT,
) -> int:
    """Refuse what was asked, or take an approval back.

    Parameters
    ----------
    identifier
        Of the approval, as the refusal and `guard approvals` say it.
    by
        Who denies it.
    reason
        Why. Stands in the decision log.
    folder
        The guard's folder.
    redis
        The guard's Redis, where it has one.
    log
        The guard's decision log, in which this is written down.
    """
    from afterguard.cli import approving
    from afterguard.jobs.approvals import Order

    session = _open(common, {"folder": folder, "redis": redis, "log": log})
    return approving.settled(session, _desk(session), identifier, Order("denied", by, reason))


@guard.command
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


@guard.command
def learn(
    samples: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    address: str = "",
    scores: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> int:
    """Learn how an unknown chat or scoring API is read, from a few recorded pairs of request and reply.

    Parameters
    ----------
    samples
        Files: JSON lines {"request": {...}, "response": {...}}, HAR captures, NAME.request.json beside NAME.response.json; or folders of them.
    address
        Of a HAR, take the calls whose host and path hold this; else those of the address that was called most.
    scores
        It is a scoring API: features go in, a score or a decision comes out.
    """
    from afterguard.guard import mapping
    from afterguard.jobs import learn as learning

    session = open_session(common)
    if scores:
        found = learning.scores(samples, session.note, address)
        for text in found.unsure:
            session.say(f"not sure: {text}")
        with writing(common.output) as out:
            out.write(mapping.to_json(found).decode() if common.format == "json" else mapping.dump(found))
        session.next("afterguard guard --upstream NAME:scoring=URL --mapping NAME=FILE   (after a person has read it)")
        return 0
    made = learning.learn(samples, session.note, address)
    for text in learning.told(made):
        session.say(text)
    for row in session.coverage[:20]:
        session.say(f"not read: {row.path}: {row.detail}")
    with writing(common.output) as out:
        out.write(mapping.to_json(made.mapping).decode() if common.format == "json" else mapping.dump(made.mapping))
    file = "mapping.yaml" if common.output == "-" else common.output
    session.next(f"afterguard guard --upstream NAME:plain=URL --mapping NAME={file}   (after a person has read {file})")
    return 0


@guard.command
def schema(
    samples: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    kind: Literal["kserve", "tfserving", "mlflow", "sagemaker", "torchserve", "scoring"],
    mapping: Path | None = None,
    address: str = "",
    common: Common = DEFAULT,
) -> int:
    """Learn what the features of a predictive model may be, from recorded requests: types, ranges, categories.

    Parameters
    ----------
    samples
        Files: JSON lines {"request": {...}, "response": {...}}, HAR captures, NAME.request.json beside NAME.response.json; or folders of them.
    kind
        The protocol of the requests.
    mapping
        Of kind scoring: how they are read, as `guard learn --scores` writes it.
    address
        Of a HAR, take the calls whose host and path hold this; else those of the address that was called most.
    """
    from afterguard.guard import mapping as mapping_files
    from afterguard.guard import schema as schema_files
    from afterguard.jobs import learn as learning

    session = open_session(common)
    read = None
    if mapping is not None:
        try:
            read = mapping_files.load_scoring(mapping.read_text(encoding="utf-8"), str(mapping))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"cannot read the mapping {mapping}: {error}",
                hint="afterguard guard learn --scores SAMPLE...",
                slug="bad-mapping",
            ) from None
    found, rows = learning.features(samples, session.note, kind, address, read)
    session.say(f"{len(found.features)} features from {rows} rows")
    with writing(common.output) as out:
        if common.format == "json":
            plain = {"format": schema_files.FORMAT, **msgspec.to_builtins(found)}
            out.write(msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n")
        else:
            out.write(schema_files.dump(found))
    session.next("afterguard guard --upstream NAME:KIND=URL --schema NAME=FILE   (after a person has read it)")
    return 0


@guard.command
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
    session = _open(common, flags)
    return job.run(session.config, name, command, _folder(session), _log(session), pins, metrics)


def _open(common: Common, flags: dict[str, Any]) -> Session:
    return open_session(common, also={f"guard.{name}": value for name, value in flags.items()})


def _folder(session: Session) -> Path:
    named = session.config.guard.folder
    return Path(named) if named else beside(session, "guard")


def _log(session: Session) -> Path:
    named = session.config.guard.log
    return Path(named) if named else _folder(session) / "decisions.jsonl"


def _desk(session: Session) -> Approver:
    """Where a person settles what the guard asked."""
    from afterguard.jobs.approvals import desk

    return desk(_folder(session), session.config.guard.redis, _log(session), time.time())


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
