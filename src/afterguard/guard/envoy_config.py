"""The configuration of an Envoy that asks this guard: a whole bootstrap, or what is put into one that is there.

In: mounts with how strict each is, addresses. Out: YAML with comments on what to change. Pure: it reads nothing and asks nobody.

Two filters stand in the chain, and each route uses one: `afterguard.observe`, which only shows the guard what passes and waits for nothing, and `afterguard.enforce`, which waits. Where there is a folder for taps, observed
routes have no filter: the connections of their clusters are tapped into it. Time-outs are ordered, so that the
innermost ends first: the guard's budget, then Envoy's wait for one message, then the idle time of a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import msgspec

from afterguard.guard.passage import REPLY_CAP
from afterguard.guard.route import Route

BRAINS = "afterguard_brains"
TOKEN_VARIABLE = "AFTERGUARD_GUARD_TOKEN"
WAIT = 2.0
"""Seconds that Envoy waits for one message at least."""
IDLE = 900
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
TYPE = "type.googleapis.com/envoy.extensions"
TAPPED = 16 << 10
"""Bytes of a connection that Envoy gathers before it writes them into the folder."""
SILENT, LIVES = 60, 600
"""Seconds after which a tapped connection that is silent, or old, is closed: then the rest of it is written, and one that could not be written any more is followed by one that can."""


class Mount(NamedTuple):
    """A route as Envoy should treat it."""

    route: Route
    is_observed: bool
    is_open: bool
    """Whether it fails open."""
    budget: float
    """Seconds."""


class Plan(NamedTuple):
    """What Envoy is to be."""

    mounts: list[Mount]
    brains: list[str]
    """HOST:PORT of each guard's door ext_proc."""
    listen: str = "127.0.0.1:10000"
    admin: str = "127.0.0.1:9901"
    has_token: bool = False
    brain_ca: str = ""
    """PEM file of the authority of the guards' certificates; "" for plain text."""
    taps: str = ""
    """Folder into which observed routes are tapped; "" where they are shown over ext_proc."""

    def is_tapped(self, mount: Mount) -> bool:
        """Whether its connections are tapped."""
        return bool(self.taps) and mount.is_observed

    @property
    def filtered(self) -> list[Mount]:
        """Those that need a filter."""
        return [mount for mount in self.mounts if not self.is_tapped(mount)]


def bootstrap(plan: Plan) -> str:
    """A complete configuration that works as it is."""
    return "".join(
        (
            "# envoy -c THIS-FILE\n",
            "# Change: the listener's address and TLS",
            f", and with several guards the endpoints of the cluster `{BRAINS}`.\n" if plan.filtered else ".\n",
            "admin:  # never anywhere but on loopback: who reaches it controls Envoy\n",
            f"  address: {_socket(plan.admin)}\n",
            "static_resources:\n  listeners:\n",
            _indented(2, _listener(plan)),
            "  clusters:\n",
            _indented(2, _brains(plan)) if plan.filtered else "",
            *(
                _indented(2, _upstream(mount.route, plan.taps if plan.is_tapped(mount) else ""))
                for mount in plan.mounts
            ),
        )
    )


def filters(plan: Plan) -> str:
    """What is put into an Envoy that is there."""
    parts = []
    if plan.filtered:
        parts += [
            "# Into `http_filters` of the connection manager, before `envoy.filters.http.router`:\n",
            "http_filters:\n", _filters(plan),
        ]  # fmt: skip
    parts.append("# Into `clusters`:\nclusters:\n")
    if plan.filtered:
        parts.append(_brains(plan))
    for mount in plan.mounts:
        if plan.is_tapped(mount):
            parts.append(
                f"# Into the cluster that leads to {mount.route.upstream}, around the `transport_socket` that is there:\n"
            )
            parts.append(f"- name: {_cluster(mount.route)}\n" + _lasting() + _socketed(mount.route, plan.taps))
    if plan.filtered:
        parts += [
            "# Into each route (or virtual host) that leads to a model, as `typed_per_filter_config`. Routes that lead elsewhere: `disabled: true` for each filter named here.\n",
            "# In the listener: `per_connection_buffer_limit_bytes`, so that whole bodies fit while they are judged.\n",
            "routes:\n",
        ]
        for mount in plan.mounts:
            parts.append(f"- name: {_text(mount.route.name)}  # to {mount.route.upstream}\n")
            parts.append(_indented(2, _per_route(plan, mount, prefix="")))
    return "".join(parts)


def _listener(plan: Plan) -> str:
    return f"""\
- name: ai
  address: {_socket(plan.listen)}
  per_connection_buffer_limit_bytes: {REPLY_CAP}  # a body that is judged whole waits here; a larger request gets 413
  filter_chains:
  - filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": {TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: ai
        normalize_path: true
        server_header_transformation: PASS_THROUGH
        request_headers_timeout: 30s
        stream_idle_timeout: {IDLE}s  # models think for minutes
        http_filters:
{_indented(8, _filters(plan))}        - name: envoy.filters.http.router
          typed_config:
            "@type": {TYPE}.filters.http.router.v3.Router
            suppress_envoy_headers: true
        route_config:
          name: ai
          virtual_hosts:
          - name: ai
            domains: ["*"]
            routes:
{"".join(_indented(12, _route(plan, mount)) for mount in plan.mounts)}"""


def _route(plan: Plan, mount: Mount) -> str:
    route, origin = mount.route, urlsplit(mount.route.upstream)
    base = origin.path.rstrip("/") + "/"
    prefix = f"/{route.name}/"
    is_bare = route.kind == "mcp"
    match = f"prefix: {_text(prefix)}" if not is_bare else f"path_separated_prefix: {_text(prefix[:-1])}"
    rewrite = base if not is_bare else base[:-1] or "/"
    return f"""\
- match: {{{match}}}
  route:
    cluster: {_cluster(route)}
    prefix_rewrite: {_text(rewrite)}
    host_rewrite_literal: {_text(origin.netloc)}
    timeout: 0s  # the idle time of the stream ends what hangs
{_configured(plan, mount, prefix[:-1])}"""


def _configured(plan: Plan, mount: Mount, prefix: str) -> str:
    found = _per_route(plan, mount, prefix=prefix)
    return f"  typed_per_filter_config:\n{_indented(4, found)}" if found else ""


def _per_route(plan: Plan, mount: Mount, *, prefix: str) -> str:
    if plan.is_tapped(mount):
        return _off("enforce") if plan.filtered else ""
    own, other = ("observe", "enforce") if mount.is_observed else ("enforce", "observe")
    rows = [f"x-afterguard-mount: {mount.route.name}"] + ([f"x-afterguard-prefix: {prefix}"] if prefix else [])
    metadata = "".join(
        f"    - {{key: {key}, value: {_text(value)}}}\n" for key, _, value in (row.partition(": ") for row in rows)
    )
    metadata += _token(plan, 4)
    fails = f"    failure_mode_allow: {_bool(mount.is_open)}  # the guard's own fail setting of this route\n"
    out = f"""\
afterguard.{own}:
  "@type": {TYPE}.filters.http.ext_proc.v3.ExtProcPerRoute
  overrides:
    grpc_initial_metadata:  # only Envoy writes here, a client cannot
{metadata}{"" if mount.is_observed else fails}"""
    if len(_ways(plan)) < 2:
        return out
    return out + _off(other)


def _off(name: str) -> str:
    return f"""\
afterguard.{name}:
  "@type": {TYPE}.filters.http.ext_proc.v3.ExtProcPerRoute
  disabled: true
"""


def _ways(plan: Plan) -> list[bool]:
    """Whether each filter that is needed observes."""
    return sorted({mount.is_observed for mount in plan.filtered})


def _token(plan: Plan, depth: int) -> str:
    """What the guard wants to be shown, out of Envoy's environment."""
    if not plan.has_token:
        return ""
    return " " * depth + f'- {{key: x-afterguard-token, value: "%ENVIRONMENT({TOKEN_VARIABLE})%"}}\n'


def _filters(plan: Plan) -> str:
    return "".join(_observe() if is_observed else _enforce(plan) for is_observed in _ways(plan))


def _observe() -> str:
    return f"""\
- name: afterguard.observe
  typed_config:
    "@type": {TYPE}.filters.http.ext_proc.v3.ExternalProcessor
    stat_prefix: afterguard_observe
    grpc_service: {{envoy_grpc: {{cluster_name: {BRAINS}}}}}
    observability_mode: true  # shows everything, waits for nothing, takes no answer
    failure_mode_allow: true
    deferred_close_timeout: 1s
    processing_mode: {{request_header_mode: SEND, response_header_mode: SEND, request_body_mode: STREAMED, response_body_mode: STREAMED, response_trailer_mode: SEND}}
"""


def _enforce(plan: Plan) -> str:
    wait = max([WAIT, *(1 + 2 * mount.budget for mount in plan.mounts)])
    return f"""\
- name: afterguard.enforce
  typed_config:
    "@type": {TYPE}.filters.http.ext_proc.v3.ExternalProcessor
    stat_prefix: afterguard_enforce
    grpc_service: {{envoy_grpc: {{cluster_name: {BRAINS}}}}}
    failure_mode_allow: {_bool(all(mount.is_open for mount in plan.mounts))}  # each route says it again
    status_on_error: {{code: ServiceUnavailable}}
    message_timeout: {wait:g}s  # longer than the guard's own budget, which ends first
    max_message_timeout: 60s  # the guard may ask for more for a large body
    allow_mode_override: true  # the guard says per reply whether it comes whole or in pieces
    processing_mode: {{request_header_mode: SEND, response_header_mode: SEND, request_body_mode: BUFFERED, response_body_mode: BUFFERED, response_trailer_mode: SEND}}
"""


def _brains(plan: Plan) -> str:
    endpoints = "".join(f"      - endpoint: {{address: {_socket(one)}}}\n" for one in plan.brains)
    secured = (
        _tls(plan.brain_ca, [one.rpartition(":")[0].strip("[]") for one in plan.brains], alpn="h2")
        if plan.brain_ca
        else ""
    )
    return f"""\
- name: {BRAINS}
  type: STRICT_DNS
  connect_timeout: 1s
  lb_policy: LEAST_REQUEST
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": {TYPE}.upstreams.http.v3.HttpProtocolOptions
      explicit_http_config: {{http2_protocol_options: {{max_concurrent_streams: 1000}}}}
  # A guard that stands still or leaves is noticed within two seconds and gets nothing more; what it still had is given up, and the route's fail setting decides.
  health_checks:
  - {{grpc_health_check: {{}}, interval: 1s, no_traffic_interval: 1s, timeout: 1s, unhealthy_threshold: 2, healthy_threshold: 1}}
  close_connections_on_host_health_failure: true
  outlier_detection: {{consecutive_5xx: 5, interval: 1s, base_ejection_time: 10s, max_ejection_percent: 50}}
  common_lb_config: {{healthy_panic_threshold: {{value: 0}}}}  # where none is healthy, fail at once instead of asking one that is not
  circuit_breakers: {{thresholds: [{{max_connections: 1024, max_pending_requests: 8192, max_requests: 8192, max_retries: 8}}]}}
  per_connection_buffer_limit_bytes: {REPLY_CAP}
{secured}  load_assignment:
    cluster_name: {BRAINS}
    endpoints:
    - lb_endpoints:  # one a guard
{endpoints}"""


def _upstream(route: Route, taps: str) -> str:
    origin = urlsplit(route.upstream)
    secured = _lasting() + _socketed(route, taps) if taps else _secured(origin)
    return f"""\
- name: {_cluster(route)}
  type: STRICT_DNS
  dns_lookup_family: V4_PREFERRED
  connect_timeout: 10s
  per_connection_buffer_limit_bytes: {REPLY_CAP}
  circuit_breakers: {{thresholds: [{{max_connections: 8192, max_pending_requests: 8192, max_requests: 8192}}]}}
{secured}  load_assignment:
    cluster_name: {_cluster(route)}
    endpoints:
    - lb_endpoints:
      - endpoint: {{address: {_socket(_address(origin))}}}
"""


def _secured(origin: SplitResult) -> str:
    return _tls(AUTHORITIES, [str(origin.hostname)]) if origin.scheme == "https" else ""


def _lasting() -> str:
    return f"""\
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": {TYPE}.upstreams.http.v3.HttpProtocolOptions
      common_http_protocol_options: {{idle_timeout: {SILENT}s, max_connection_duration: {LIVES}s}}  # its end is when the rest of a connection is written
      explicit_http_config: {{http_protocol_options: {{}}}}  # what is tapped is read as HTTP/1.1
"""


def _socketed(route: Route, taps: str) -> str:
    """The connections to a model with a tap around them: what is written has no TLS, whatever is spoken to the model."""
    inner = (
        _secured(urlsplit(route.upstream))
        or f"""\
  transport_socket:
    name: envoy.transport_sockets.raw_buffer
    typed_config:
      "@type": {TYPE}.transport_sockets.raw_buffer.v3.RawBuffer
"""
    )
    prefix = _text(f"{taps.rstrip('/')}/{cluster(route)}")
    return f"""\
  transport_socket:
    name: envoy.transport_sockets.tap
    typed_config:
      "@type": {TYPE}.transport_sockets.tap.v3.Tap
      common_config:
        static_config:
          match: {{any_match: true}}
          output_config:
            streaming: true
            min_streamed_sent_bytes: {TAPPED}
            sinks: [{{format: PROTO_BINARY_LENGTH_DELIMITED, file_per_tap: {{path_prefix: {prefix}}}}}]  # a folder in memory, for Envoy and guard alone
{_indented(4, inner)}"""


def _tls(authority: str, names: list[str], alpn: str = "") -> str:
    """TLS to a cluster whose certificates are of this authority and for one of these names."""
    known = "".join(
        f"          - {{san_type: {'IP_ADDRESS' if _is_ip(name) else 'DNS'}, matcher: {{exact: {_text(name)}}}}}\n"
        for name in dict.fromkeys(names)
    )
    sni = "" if _is_ip(names[0]) else f"      sni: {_text(names[0])}\n"
    speaks = f"        alpn_protocols: [{alpn}]\n" if alpn else ""
    return f"""\
  transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": {TYPE}.transport_sockets.tls.v3.UpstreamTlsContext
{sni}      common_tls_context:
{speaks}        validation_context:
          trusted_ca: {{filename: {_text(authority)}}}
          match_typed_subject_alt_names:
{known}"""


def _is_ip(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()


def _address(origin: SplitResult) -> str:
    host = str(origin.hostname)
    port = origin.port or (443 if origin.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _socket(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"{{socket_address: {{address: {_text(host.strip('[]'))}, port_value: {int(port)}}}}}"


def cluster(route: Route) -> str:
    """The name of the cluster of a mount."""
    return "model_" + route.name.replace("/", "_")


def _cluster(route: Route) -> str:
    return _text(cluster(route))


def _text(value: str) -> str:
    """A scalar that no YAML reader takes for anything else."""
    return msgspec.json.encode(value).decode()


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _indented(depth: int, text: str) -> str:
    return "".join(_shifted(text.splitlines(keepends=True), depth))


def _shifted(lines: Sequence[str], depth: int) -> Iterator[str]:
    for line in lines:
        yield " " * depth + line if line.strip() else line
