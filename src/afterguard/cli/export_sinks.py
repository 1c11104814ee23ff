"""`afterguard export status|redrive|test`: the sinks of a sinks file, and what waits for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from afterguard.cli.options import DEFAULT, Common, open_session, writing
from afterguard.errors import EXIT_GATE, EXIT_OK, EXIT_UNREACHABLE, UsageError
from afterguard.safe import line as one_line

if TYPE_CHECKING:
    from afterguard.export.sink import Settings
    from afterguard.export.status import Status

SinksFile = Annotated[Path, Parameter(name="--sinks")]


def status(*, sinks: SinksFile, common: Common = DEFAULT) -> int:
    """What each sink was sent, what waits, what was lost and counted. Exits with 10 where something was lost or a sink is not up.

    Parameters
    ----------
    sinks
        The sinks file.
    """
    from afterguard.export.status import at_rest

    session = open_session(common)
    folder, chosen = _loaded(sinks)
    found = [one for settings in chosen if (one := at_rest(folder, settings)) is not None]
    with writing(common.output) as out:
        for one in found:
            out.write(_json(one) if common.format in ("json", "jsonl") else _table(one))
    absent = [one.name for one in chosen if one.name not in {status.sink for status in found}]
    for name in absent:
        session.say(f"{name}: no spool in {folder}; nothing was sent to it yet")
    is_bad = any(one.state in ("failing", "open") or one.dead or _lost(one) for one in found)
    if is_bad:
        session.next(f"afterguard export test --sinks {sinks}")
    return EXIT_GATE if is_bad and not common.no_fail else EXIT_OK


def redrive(*names: str, sinks: SinksFile, common: Common = DEFAULT) -> int:
    """Send dead letters again: at once where nothing delivers, else by the process that does, within a second.

    Parameters
    ----------
    names
        Which sinks; none: all.
    sinks
        The sinks file.
    """
    from afterguard.export.letters import ask

    session = open_session(common)
    folder, chosen = _loaded(sinks)
    for settings in _named(chosen, names):
        if not (folder / settings.name).is_dir():
            session.say(f"{settings.name}: no spool in {folder}")
            continue
        count = ask(folder, settings)
        done = "asked the delivering process" if count is None else f"{count} laid into their lanes again"
        session.say(f"{settings.name}: {done}")
    session.next(f"afterguard export status --sinks {sinks}")
    return EXIT_OK


def test(*names: str, sinks: SinksFile, within: float = 30.0, common: Common = DEFAULT) -> int:
    """Send one canary straight to each sink and look whether it arrives. Exits with 4 where one did not.

    Parameters
    ----------
    names
        Which sinks; none: all.
    sinks
        The sinks file.
    within
        Seconds that each has.
    """
    from afterguard.export.probe import tried

    session = open_session(common)
    if common.offline:
        raise UsageError("a test of sinks needs the network", hint="leave out --offline", slug="bad-usage")
    _, chosen = _loaded(sinks)
    results = [tried(one, within) for one in _named(chosen, names)]
    with writing(common.output) as out:
        for one in results:
            if common.format in ("json", "jsonl"):
                out.write(msgspec.json.encode({"format": "afterguard.sink-test/1"} | one._asdict()).decode() + "\n")
            else:
                out.write(
                    f"{one.sink:24} {one.outcome:10} {one.seconds:7.3f} s  {one_line(one.why, 200)}".rstrip() + "\n"
                )
    if any(one.outcome == "accepted" for one in results):
        session.say(
            "accepted: it was taken, and nobody can be asked whether it arrived; give the sink's canary a file or url"
        )
    return EXIT_UNREACHABLE if any(one.outcome == "failed" for one in results) else EXIT_OK


def _loaded(path: Path) -> tuple[Path, tuple[Settings, ...]]:
    """The folder of the spools, and the sinks."""
    from afterguard.export.settings import load_sinks

    loaded = load_sinks(path)
    return loaded.spools(path), loaded.sinks


def _named(chosen: tuple[Settings, ...], names: tuple[str, ...]) -> list[Settings]:
    from afterguard.config import nearest

    known = {one.name: one for one in chosen}
    for name in names:
        if name not in known:
            raise UsageError(f"no sink is called {name!r}", hint=nearest(name, list(known)), slug="bad-usage")
    return [known[name] for name in names] if names else list(chosen)


def _lost(one: Status) -> int:
    return sum(lane.shed + lane.missing + lane.refused for lane in one.lanes.values()) + one.dead_shed


def _json(one: Status) -> str:
    return msgspec.json.encode(one).decode() + "\n"


def _table(one: Status) -> str:
    lines = [
        f"{one.sink} ({one.kind})  {one.state}  oldest {one.lag:.1f} s  {one.bytes / 1e6:.1f} MB  canary: {one.canary}"
    ]
    if one.why:
        lines.append(f"  {one_line(one.why, 200)}")
    lines += [
        f"  {name:10} put {lane.put:,}  delivered {lane.delivered:,}  waiting {lane.backlog:,}  shed {lane.shed:,}  "
        f"damaged {lane.missing:,}  dead {lane.poison:,}  refused {lane.refused:,}"
        for name, lane in one.lanes.items()
        if lane.put or lane.shed or lane.refused
    ]
    if one.dead:
        lines.append(f"  {one.dead:,} dead letters wait: afterguard export redrive {one.sink}")
    return "\n".join(lines) + "\n"
