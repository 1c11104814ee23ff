"""The one Config struct, and where each value came from: default < file < environment < flag.

In: a TOML file (afterguard.toml, or [tool.afterguard] in pyproject.toml), environment variables, flags. Out: Config and an
origin for every value. An unknown key is an error that names the nearest known one and its line. It reads no other file.
"""

from __future__ import annotations

import difflib
import math
import os.path
import stat
import tomllib
from collections.abc import Callable, Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, get_origin

import msgspec

from afterguard.errors import UsageError
from afterguard.model import Severity

FILE = "afterguard.toml"
PREFIX = "AFTERGUARD_"
MAX_BYTES = 1 << 20
OUTREACHING = ("store.url", "evidence.", "guard.", "limits.")
"""Settings that run commands, send or write results elsewhere, or lift caps."""


class StoreConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where runs, assets, findings and incidents are kept."""

    url: str = ""
    """Path of an SQLite file, or postgresql://... Empty: afterguard/store.db in the user's data folder."""
    enabled: bool = True
    """Whether commands record their runs at all."""


class EvidenceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Encrypted originals, kept only when asked for."""

    keep: bool = False
    """Keep the original text of suspected incidents, encrypted."""
    folder: str = ""
    """Where the encrypted blobs lie. Empty: evidence/ beside the store."""
    key_file: str = ""
    """File with the key that wraps the per-application keys; a mounted secret is a file too."""
    key_command: str = ""
    """Command that prints that key, run without a shell."""
    retention_days: dict[str, int] = {}
    """Days to keep, per data class; "default" for the rest."""


class ScanConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which findings are shown and which decide the exit code."""

    persona: str = "regular"
    """regular, or auditor: also shows what is right to ask about but often fine."""
    min_severity: Severity = Severity.info
    """Leave out findings below this."""
    fail_on: str = ""
    """Exit with 10 when a finding is at or above this severity. Empty: never."""
    disable: list[str] = []
    """Rule ids that do not run."""


class DetectConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The learned judge of text in look-back."""

    judge: str = "two"
    """off, one (tier one alone: fastest) or two (also asks the second tier where the first is not sure)."""
    point: str = "quiet"
    """Operating point: quiet, balanced or strict."""


class GuardConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The guard: the reverse proxy between applications and models."""

    listen: str = "127.0.0.1:8765"
    """HOST:PORT the guard listens on. An address that others can reach needs guard.token, or TLS with client certificates."""
    door: list[str] = []
    """Further doors on addresses of their own: ext_proc=HOST:PORT for Envoy, icap=HOST:PORT for Squid and its like. An address that others can reach needs what guard.listen needs there."""
    taps: str = ""
    """Folder in memory into which an Envoy on this machine taps what passes, as `afterguard guard envoy-config --taps` has it: for Envoy and guard alone. Needs the extra envoy."""
    upstream: list[str] = []
    """Mounts: openai=URL, or NAME:KIND=URL, or mcp/NAME=URL."""
    gateway: list[str] = []
    """Gateways that may ask the guard on its own address what becomes of an exchange: litellm, agentgateway."""
    endpoint: list[str] = []
    """For the guard inside an application (ASGI, WSGI): which of its paths are chats: NAME=/path, NAME:KIND=/path, with /* at the end for all below."""
    mapping: list[str] = []
    """NAME=FILE: how a mount of kind plain or scoring is read, as `afterguard guard learn` writes it."""
    schema: list[str] = []
    """MOUNT=FILE or MOUNT/MODEL=FILE: what the features of a predictive model may be. A schema of one's own, an MLmodel file, or what GET /v2/models/NAME answers."""
    grpc: list[str] = []
    """Ports for KServe v2 over gRPC: MOUNT@HOST:PORT=grpc://TARGET (grpcs:// with TLS), beside a mount of kind kserve. TLS, client certificates and private authorities are those of the HTTP door. Needs the extra grpc."""
    mode: str = ""
    """observe, shadow, share or enforce, for every mount. Empty: what the policy says for each route; observe where it says nothing."""
    share: float = -1.0
    """Share of conversations in which mode share enforces, 0 to 1. Negative: what the policy says."""
    policy: str = "starter"
    """starter, strict, none, the path of a policy file, which is read again when it changes, or a bundle that is pulled: https://... or a file."""
    policy_every: float = 60.0
    """Seconds between two looks at where a bundle is pulled from."""
    policy_stale: float = 900.0
    """Seconds without a good answer from there after which the policy in force counts as stale. It stays in force."""
    policy_hosts: list[str] = []
    """HOST or HOST:PORT that bundles and measures may be pulled from; empty: the host that guard.policy, or guard.measures, names."""
    policy_first: str = ""
    """starter, strict, none or a file: what holds until the first bundle was pulled. Empty: the guard does not start without one."""
    site: str = ""
    """Name of this site: which of a bundle's settings for sites hold here."""
    require_promotion: bool = False
    """Whether a policy acts only where PATH.promoted.json says that two people promoted exactly this revision; otherwise it stays in shadow."""
    trusted_keys: list[str] = []
    """Public keys (hexadecimal) whose signatures count; empty: any."""
    measures: str = ""
    """The signed measures of responders (afterguard respond): a file that is looked at, or https://... or file:... that is pulled. Empty: measures.json in the guard's folder."""
    measures_every: float = 5.0
    """Seconds between two looks at where measures are pulled from."""
    measures_stale: float = 60.0
    """Seconds without a good answer from there after which the measures in force count as stale. They stay in force."""
    responder_keys: list[str] = []
    """Public keys (hexadecimal) of those whose measures count; whoever can read the guard's own key counts without."""
    on_error: str = ""
    """open or closed: what happens when the guard cannot judge. Empty: what the policy says; open where it says nothing."""
    budget_ms: float = 0.0
    """Milliseconds that judging may add to one exchange; large texts get more, in proportion. 0: what the policy says, or 250."""
    environment: str = ""
    """Name of the environment, for policies: production, staging..."""
    judge: str = "two"
    """off, one (tier one alone) or two."""
    point: str = "balanced"
    """Operating point of the judge: quiet, balanced or strict."""
    detectors: bool = True
    """Whether anything is looked at; without, the guard parses and writes down only."""
    log: str = ""
    """The decision log. Empty: guard/decisions.jsonl beside the store."""
    log_bytes: int = 100 << 20
    """A log file is rotated at this size; ten are kept."""
    folder: str = ""
    """Where the guard keeps its key, its switches and what persons approved. Empty: guard/ beside the store."""
    token: str = ""
    """Secret that clients must send as x-afterguard-token where the guard listens beyond loopback."""
    tls_certificate: str = ""
    """PEM file of the guard's own certificate."""
    tls_key: str = ""
    """PEM file of its key."""
    client_ca: str = ""
    """PEM file of the authority whose certificates clients must show."""
    upstream_ca: str = ""
    """PEM file of a private authority that upstreams are checked against, beside the system's."""
    upstream_certificate: str = ""
    """PEM file with certificate and key the guard shows to upstreams."""
    proxy: str = ""
    """CONNECT proxy on the way to upstreams: http://HOST:PORT"""
    redis: str = ""
    """redis:// address of shared state (limits, approvals, the watches over time), for several workers or replicas."""
    workers: int = 1
    """Processes that serve requests. More than one needs guard.redis for limits that are shared."""
    watch: bool = False
    """Whether callers are watched over time (budgets, abuse, fraud, theft, drift); alarms stand in the decision log. It needs days to learn what is usual, and costs a tenth of a millisecond an exchange."""
    user_header: str = ""
    """Header in which your own gateway or application names its user; it is believed, so clients must not be able to set it. Empty: users are not told apart."""
    address_header: str = ""
    """Header in which the proxy before the guard names the client's address (x-forwarded-for: the last one counts). Empty: the connection's own address."""
    device_header: str = ""
    """Header in which your application names the device or session of its user."""
    region_header: str = ""
    """Header in which your content network names the client's country."""
    price: list[str] = []
    """What a model costs: MODEL=INPUT/OUTPUT in US dollars a million tokens; the longest beginning of a model's name counts. Models without a price cost nothing."""
    watch_budget: list[str] = []
    """Budgets that the watch over time holds callers against, with a forecast: SCOPE:MEASURE/PER=AMOUNT or SCOPE=WHO:MEASURE/PER=AMOUNT (user:tokens/day=2000000, tenant=acme:cost/month=500). An alarm, no refusal: those stand in the policy's limits."""
    hang: float = 5.0
    """Seconds a worker may stand still before it is replaced; computing counts a quarter, waiting for a CPU nothing. 0: never."""
    helpers: int = 1
    """Processes that judge large texts and ask the judge's second tier; 0: the serving process does it itself."""


class LimitsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Caps on what is read, in bytes or counts; beyond them a coverage row says so."""

    source_bytes: int = 4 << 20
    """A source or configuration file is read up to this."""
    line_bytes: int = 32 << 20
    """A log line above this is skipped and counted."""
    archive_bytes: int = 1 << 30
    """Unpacked bytes of one archive."""
    files: int = 500_000
    """Files in one run."""


class RiskConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The simulation."""

    seed: int = 20261101
    """Same seed, same figures."""
    years: int = 100_000
    """Simulated years."""


class Suppression(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dated exception. After `expires` the finding is back."""

    rule: str
    """Rule id, or * for all."""
    reason: str
    """Why; required."""
    expires: date
    """Last day it holds, as a TOML date."""
    path: str = "*"
    """Glob over the path of the finding."""
    by: str = ""
    """Who decided."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set."""

    tenant: str = "default"
    """Whose data this is; every stored row carries it."""
    app: str = ""
    """Name of the application. Empty: the name of the folder."""
    store: StoreConfig = StoreConfig()
    evidence: EvidenceConfig = EvidenceConfig()
    scan: ScanConfig = ScanConfig()
    detect: DetectConfig = DetectConfig()
    guard: GuardConfig = GuardConfig()
    limits: LimitsConfig = LimitsConfig()
    risk: RiskConfig = RiskConfig()
    suppress: list[Suppression] = []
    """Dated exceptions, [[suppress]]."""


class Loaded(msgspec.Struct, frozen=True):
    """A Config with, per dotted key, where its value came from."""

    config: Config
    origins: dict[str, str]
    file: str = ""


@cache
def settings(kind: type[msgspec.Struct] = Config, prefix: str = "") -> dict[str, Any]:
    """Every dotted key, in order, with its type: tenant, app, store.url..."""
    out: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        name = f"{prefix}{field.name}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            out |= settings(field.type, f"{name}.")
        else:
            out[name] = field.type
    return out


def find(start: Path) -> Path | None:
    """The configuration file for a folder: searched upwards to the repository root and no further."""
    for folder in [start, *start.parents]:
        if os.path.isfile(folder / FILE):
            return folder / FILE
        project = folder / "pyproject.toml"
        if os.path.isfile(project) and _mentions(project):
            return project
        if os.path.exists(folder / ".git"):
            return None
    return None


def _mentions(project: Path) -> bool:
    try:
        return b"[tool.afterguard" in _bytes(project, MAX_BYTES)
    except OSError:
        return False


def load(
    file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any] | None = None, *, is_named: bool = True
) -> Loaded:
    """Merge the layers. `flags` maps dotted keys to values that were given on the command line. Raises UsageError.

    A file that was found beside what is examined (`is_named` False) may be written by whoever is examined: it must not run
    a command, choose where results go, or lift a cap.
    """
    origins = dict.fromkeys(settings(), "default")
    values: dict[str, Any] = {}
    if file is not None:
        values = _from_file(file)
        for key in _dotted(values):
            origins[key] = f"{file}:{_line(file, key)}"
            if not is_named and key.startswith(OUTREACHING):
                raise UsageError(
                    f"{origins[key]}: {key} is not taken from a file that was only found beside what is examined",
                    hint=f"name the file if you trust it: --config {file}"
                    + (f"; or set {variable(key)}" if variable(key) else ""),
                    slug="untrusted-setting",
                )
    for key, text in _from_environment(environment).items():
        _put(values, key, text)
        origins[key] = f"environment {variable(key)}"
    for key, value in (flags or {}).items():
        if value is not None:
            _put(values, key, value)
            origins[key] = "flag"
    try:
        config = msgspec.convert(values, Config, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"configuration: {error}",
            hint="see `afterguard config schema` for names and types",
            slug="bad-configuration",
        ) from None
    _check(config, origins)
    return Loaded(config, origins, str(file or ""))


def variable(key: str) -> str:
    """The environment variable of a dotted key: scan.fail_on -> AFTERGUARD_SCAN_FAIL_ON; "" of lists and tables, which no variable holds."""
    return "" if get_origin(settings().get(key, dict[str, Any])) in (list, dict) else _spelled(key)


def _spelled(key: str) -> str:
    return PREFIX + key.replace(".", "_").upper()


def schema() -> dict[str, Any]:
    """JSON Schema of the configuration file."""
    return msgspec.json.schema(Config)


def _from_file(file: Path) -> dict[str, Any]:
    try:
        data = _bytes(file, MAX_BYTES)
        if len(data) > MAX_BYTES:
            raise UsageError(
                f"{file}: larger than {MAX_BYTES} bytes", hint="is this the right file?", slug="bad-configuration"
            )
        values = tomllib.loads(data.decode("utf-8"))
    except FileNotFoundError:
        raise UsageError(f"no such configuration file: {file}", hint="check --config", slug="no-such-path") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(
            f"{file}: {error}", hint="mend the TOML, or pass --no-config", slug="bad-configuration"
        ) from None
    if file.name == "pyproject.toml":
        values = values.get("tool", {}).get("afterguard", {})
    known = settings()
    for key in _dotted(values):
        if key not in known:
            raise UsageError(
                f"{file}:{_line(file, key)}: unknown setting {key!r}",
                hint=nearest(key, list(known)),
                slug="unknown-setting",
            )
    return values


def _bytes(file: Path, cap: int) -> bytes:
    """The file up to a byte above the cap. OSError where it is a device or pipe, which might never end."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError("not a regular file")
    with file.open("rb") as handle:
        return handle.read(cap + 1)


def nearest(word: str, known: list[str]) -> str:
    """A sentence that names the closest known word."""
    close = difflib.get_close_matches(word, known, 1, 0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known[:20])}"


def _dotted(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    out: list[str] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in ("evidence.retention_days",):
            out += _dotted(value, f"{name}.")
        else:
            out.append(name)
    return out


def _line(file: Path, key: str) -> int:
    last = key.rsplit(".", 1)[-1]
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        word = line.strip().lstrip("[").strip()
        if word.startswith(last) and word[len(last) :].lstrip()[:1] in ("=", "]"):
            return number
    return 1


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {variable(key): key for key in settings() if variable(key)}
    out: dict[str, Any] = {}
    for name, text in environment.items():
        if not name.startswith(PREFIX) or name in (f"{PREFIX}CONFIG", f"{PREFIX}POSTGRES_TEST_URL"):
            continue
        if name not in known:
            many = next((key for key in settings() if _spelled(key) == name), "")
            hint = (
                f"{many} is a list or a table: set it in a file, or with a flag" if many else nearest(name, list(known))
            )
            raise UsageError(f"unknown environment variable {name}", hint=hint, slug="unknown-setting")
        out[known[name]] = text
    return out


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UsageError(
                f"configuration: {part!r} must be a table",
                hint="see `afterguard config schema`",
                slug="bad-configuration",
            )
        values = inner
    values[last] = value


def _check(config: Config, origins: Mapping[str, str]) -> None:
    def wrong(key: str, why: str) -> UsageError:
        return UsageError(
            f"{key} {why} (from {origins.get(key, 'default')})",
            hint="see `afterguard config schema`",
            slug="bad-configuration",
        )

    for key in ("source_bytes", "line_bytes", "archive_bytes", "files"):
        if getattr(config.limits, key) < 1:
            raise wrong(f"limits.{key}", "must be at least 1")
    if not 1_000 <= config.risk.years <= 5_000_000 or not math.isfinite(config.risk.years):
        raise wrong("risk.years", "must be between 1000 and 5000000")
    if config.risk.seed < 0:
        raise wrong("risk.seed", "must not be negative")
    if config.scan.fail_on and config.scan.fail_on not in list(Severity):
        raise wrong("scan.fail_on", f"must be one of {', '.join(Severity)}")
    if config.scan.persona not in ("regular", "auditor"):
        raise wrong("scan.persona", "must be regular or auditor")
    if config.detect.judge not in ("off", "one", "two"):
        raise wrong("detect.judge", "must be off, one or two")
    if config.detect.point not in ("quiet", "balanced", "strict"):
        raise wrong("detect.point", "must be quiet, balanced or strict")
    _check_guard(config.guard, wrong)
    for one in config.suppress:
        if not one.reason.strip():
            raise wrong("suppress", f"for {one.rule!r} needs a reason")


def _check_guard(guard: GuardConfig, wrong: Callable[[str, str], UsageError]) -> None:
    for key, allowed in (
        ("mode", ("", "observe", "shadow", "share", "enforce")),
        ("on_error", ("", "open", "closed")),
        ("judge", ("off", "one", "two")),
        ("point", ("quiet", "balanced", "strict")),
    ):
        if getattr(guard, key) not in allowed:
            raise wrong(f"guard.{key}", f"must be one of {', '.join(filter(None, allowed))}")
    if guard.share > 1.0:
        raise wrong("guard.share", "must be between 0 and 1")
    if not 0.0 <= guard.budget_ms <= 60_000.0:
        raise wrong("guard.budget_ms", "must be between 1 and 60000")
    if not 1 <= guard.workers <= 64 or not 0 <= guard.helpers <= 64:
        raise wrong("guard.workers", "and guard.helpers must be between 1 and 64 (helpers may be 0)")
    if not 0.2 <= guard.policy_every <= 86_400:
        raise wrong("guard.policy_every", "must be between 0.2 seconds and a day")
    if not guard.policy_every < guard.policy_stale:
        raise wrong("guard.policy_stale", "must be more than guard.policy_every")
    if not 0.2 <= guard.measures_every <= 3_600:
        raise wrong("guard.measures_every", "must be between 0.2 seconds and an hour")
    if not guard.measures_every < guard.measures_stale:
        raise wrong("guard.measures_stale", "must be more than guard.measures_every")
    if guard.log_bytes < 1 << 20:
        raise wrong("guard.log_bytes", "must be at least 1 MiB")
