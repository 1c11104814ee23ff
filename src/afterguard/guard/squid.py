"""The lines of squid.conf that lead a Squid's AI traffic through the guard's ICAP door.

In: routes by how they fail, the door's address. Out: text for squid.conf. It opens nothing, and it knows nothing of the rest of that file: how TLS is inspected is the company's own matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from afterguard.guard.hosts import expression
from afterguard.guard.icap_exchange import LINK
from afterguard.guard.route import Route

HEAD = """\
# Afterguard's ICAP door: only what goes to the hosts below is shown to it.
# Requests are seen in plain text only where ssl_bump already opens their TLS.
icap_enable on
icap_persistent_connections on
# The guard offers a preview of 0: what it does not want to read is not sent to it.
icap_preview_enable on
# Carries the decision from the request to its reply.
adaptation_masterx_shared_names {link}
# A guard that is away is asked again with every request, not left alone for minutes.
icap_service_failure_limit -1
icap_service_revival_delay 30
icap_connect_timeout 2 seconds
# A model may think; nothing moves on the connection while it does.
icap_io_timeout 10 minutes
"""


def lines(routes: Iterable[tuple[Route, bool]], address: str, token: str = "") -> str:
    """The lines. Each route comes with whether it fails open. Where a host stands in both groups it fails closed: Squid knows hosts, no paths."""
    groups: dict[str, dict[str, None]] = {"open": {}, "closed": {}}
    for route, is_open in routes:
        groups["open" if is_open else "closed"][urlsplit(route.upstream).hostname or ""] = None
    for host in groups["closed"]:
        groups["open"].pop(host, None)
    out = [HEAD.format(link=LINK.decode())]
    if token:
        out.append(f'adaptation_meta X-Afterguard-Token "{_quoted(token)}" all\n')
    for name, hosts in groups.items():
        if hosts:
            out += _group(name, list(hosts), address)
    return "".join(out)


def _group(name: str, hosts: list[str], address: str) -> Iterator[str]:
    is_open = name == "open"
    said = "goes on unseen" if is_open else "is refused by Squid (ERR_ICAP_FAILURE, status 500)"
    yield f"\n# Where the guard is away, what goes to these hosts {said}.\n"
    kinds: dict[str, list[str]] = {}
    for host in hosts:
        kind, value = _acl(host)
        kinds.setdefault(kind, []).append(value)
    for kind, values in kinds.items():
        for value in values:
            if any(value.endswith(other) for other in values if other[0] == "." and other != value):
                continue  # Squid warns of a host that another line covers
            yield f"acl afterguard_{name}_{kind} {kind} -n {value}\n"
    yield f"acl afterguard_{name} any-of {' '.join(f'afterguard_{name}_{kind}' for kind in kinds)}\n"
    for side in ("reqmod", "respmod"):
        service = f"afterguard_{side}_{name}"
        how = "bypass=on on-overload=bypass" if is_open else "bypass=off on-overload=wait"
        yield f"icap_service {service} {side}_precache icap://{address}/{side} {how}\n"
        yield f"adaptation_access {service} allow afterguard_{name}\n"
        yield f"adaptation_access {service} deny all\n"


def _acl(host: str) -> tuple[str, str]:
    """(kind of list, value). A host and all below it begin with a dot."""
    if host.startswith("*.") and "*" not in host[1:]:
        return "dstdomain", host[1:]
    return ("dstdom_regex", f"^{expression(host)}$") if "*" in host else ("dstdomain", host)


def _quoted(value: str) -> str:
    return re.sub(r'([\\"])', r"\\\1", value)
