"""Settings -> what an Envoy in front of this guard is to be.

In: the merged configuration and what was asked for. Out: a plan for guard/envoy_config.py. It starts nothing.
"""

from __future__ import annotations

from afterguard.config import Config
from afterguard.detect import Context
from afterguard.errors import UsageError
from afterguard.guard.brain import Brain
from afterguard.guard.envoy_config import Mount, Plan
from afterguard.jobs.guard import routes
from afterguard.jobs.judging import policy_of

BRAIN = "127.0.0.1:8766"
"""Where the door is expected when nobody says it."""


def plan(
    config: Config, brains: list[str], mode: str, *, listen: str, admin: str, brain_ca: str = "", taps: str = ""
) -> Plan:
    """What Envoy is to be. `mode` is observe, enforce, or "" for what each route says. Raises UsageError."""
    brain = Brain(Context(str), policy_of(config.guard.policy))
    mounts = []
    for route in routes(config):
        ruling = brain.ruling(route)
        is_observed = mode == "observe" or (not mode and not ruling.is_inline)
        mounts.append(Mount(route, is_observed, ruling.is_open, ruling.budget))
    doors = [row.partition("=")[2] for row in config.guard.door if row.startswith("ext_proc=")]
    found = [_address(one) for one in brains or doors or [BRAIN]]
    if config.guard.tls_certificate and not brain_ca:
        raise UsageError(
            "the guards have certificates (guard.tls_certificate), so Envoy must know their authority",
            hint="--brain-ca FILE, a path on Envoy's machine",
            slug="bad-usage",
        )
    _loopback(admin)
    if taps and not any(mount.is_observed for mount in mounts):
        raise UsageError("--taps is for routes that are observed, and none is", hint="add --observe", slug="bad-usage")
    if taps and (not taps.startswith("/") or not taps.isprintable()):
        raise UsageError(
            f"--taps {taps!r} is no absolute path", hint="for instance /run/afterguard/taps", slug="bad-usage"
        )
    return Plan(mounts, found, _address(listen), _address(admin), bool(config.guard.token), brain_ca, taps)


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise UsageError(f"{text!r} is no HOST:PORT", hint="for instance 127.0.0.1:8766", slug="bad-usage")
    return text


def _loopback(admin: str) -> None:
    host = admin.rpartition(":")[0].strip("[]")
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise UsageError(
            f"{admin} is not on loopback, and who reaches Envoy's admin address controls Envoy",
            hint="--admin 127.0.0.1:9901",
            slug="bad-usage",
        )
