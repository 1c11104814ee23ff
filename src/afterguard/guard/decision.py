"""What is written down about each exchange: the decision as a struct, and as one line of OCSF JSON.

In: a session that is over. Out: `Decision`, and its line. OCSF 1.8.0, class 6003 API Activity with the profiles ai_operation and security_control: the guard's verdict is a
property of the call, not an alert. It holds no prompt: excerpts are redacted by the detectors, identities are keyed hashes.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from afterguard import ocsf
from afterguard.guard import touched
from afterguard.guard.hold import Note, sentence
from afterguard.model import ACTIONS, NOTHING, SEVERITIES, Action, Hit, Unjudged, Verdict
from afterguard.policy.measures import PREFIX

if TYPE_CHECKING:
    from afterguard.guard.metrics import Metrics
    from afterguard.guard.session import Session
    from afterguard.watch.alarm import Alarm

HITS = 20
"""Hits written out; more are counted."""
UNJUDGED = 20
NAME = 200
"""Characters of a name that comes from a body."""
ACTION_IDS = {
    Action.allow: ocsf.ALLOWED,
    Action.flag: ocsf.ALLOWED,
    Action.block: ocsf.DENIED,
    Action.ask: ocsf.DENIED,
    Action.throttle: ocsf.DENIED,
}
"""OCSF action_id; Modified for the rest."""
DISPOSITIONS = {
    Action.allow: ocsf.ALLOWED,
    Action.flag: ocsf.DETECTED,
    Action.block: ocsf.BLOCKED,
    Action.ask: ocsf.BLOCKED,
    Action.throttle: ocsf.BLOCKED,
}
"""OCSF disposition_id; Corrected for the rest."""
PROFILES = ("ai_operation", "security_control")


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """One exchange, as decided."""

    id: str
    time: float
    seconds: float
    """From the first byte of the request to the last of the reply."""
    judging: float
    """Seconds of that which the guard spent on judging."""
    route: str
    provider: str
    operation: str
    mode: str
    action: Action
    would: Action
    app: str = ""
    model: str = ""
    identity: str = ""
    conversation: str = ""
    rule: str = ""
    says: str = ""
    matched: tuple[str, ...] = ()
    policy: str = ""
    hits: tuple[Hit, ...] = ()
    unjudged: tuple[Unjudged, ...] = ()
    status: int = 0
    bytes: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    failed: str = ""
    """What went wrong in the guard itself, and "" otherwise."""
    late: int = 0
    """Hits in a stream whose place had already left."""
    tools: tuple[str, ...] = ()
    """Tools the model called in this reply."""
    approvals: tuple[Note, ...] = ()
    """What a person had to approve, or has approved or denied."""
    rows: int = 0
    """Rows of features that a predictive model was asked about."""
    version: str = ""
    """The version that answered, as the path or the reply names it."""
    scores: str = ""
    """What became of scores: rounded, withheld."""
    is_probe: bool = False
    """Whether it is a probe of `guard prove` or of responders, and no exchange of the application."""
    prompt: str = ""
    """Revision of the instructions it ran under: a keyed hash."""
    documents: tuple[str, ...] = ()
    """Keyed hashes of the documents and results of tools it was given."""
    sources: dict[int, str] = {}
    """Of these, those in which a hit stands, by the index of their text."""


def seen(session: Session, time: float, seconds: float, judging: float) -> Decision:
    """The decision of a session that is over."""
    first, second = session.verdict, session.replied
    strongest = first if _strength(first) >= _strength(second) else second
    would = max(first.would, second.would, key=ACTIONS.index)
    named = strongest if strongest.rule else (first if first.rule else second)
    parts = session.parts
    asked, pseudonym = parts.texts[: session.asked_texts], session.brain.context.pseudonym
    documents = touched.documents(asked, parts.calls[: session.asked_calls], pseudonym)
    return Decision(
        id=session.id,
        time=time,
        seconds=seconds,
        judging=judging,
        route=session.route.name,
        provider=session.route.kind,
        operation=session.spot.operation,
        mode=session.ruling.mode,
        action=strongest.action,
        would=would,
        app=session.route.app,
        model=parts.model[:NAME],
        identity=session.identity,
        conversation=session.conversation,
        rule=named.rule,
        says=sentence(named.says),
        matched=tuple(dict.fromkeys((*first.matched, *second.matched))),
        policy=first.policy or second.policy,
        hits=tuple(session.hits),
        unjudged=tuple(parts.unjudged),
        status=session.status,
        bytes=session.size,
        input_tokens=parts.input_tokens,
        output_tokens=parts.output_tokens,
        failed=session.failed,
        late=session.late,
        tools=tuple(call.name[:NAME] for call in parts.calls[session.asked_calls :][:50]),
        approvals=tuple(session.hold.notes.values()) if session.hold is not None else (),
        rows=session.rows,
        version=session.version[:NAME],
        scores=session.rescored,
        prompt=session.posed or touched.prompt(asked, pseudonym),
        documents=tuple(documents.values()),
        sources={hit.text: documents[hit.text] for hit in session.hits if hit.text in documents},
    )


def _strength(verdict: Verdict) -> tuple[int, int]:
    return ACTIONS.index(verdict.action), ACTIONS.index(verdict.would)


PLAIN = (
    b'{"class_uid":6003,"class_name":"API Activity","category_uid":6,"category_name":"Application Activity","activity_id":99,'
    b'"activity_name":%b,"type_uid":600399,"time":%d,"severity_id":1,"status_id":%d,"status_code":"%d","duration":%d,"action_id":1,'
    b'"disposition_id":1,"is_alert":false,"metadata":{"uid":"%b","version":"1.8.0","profiles":["ai_operation","security_control"],'
    b'"product":{"name":"Afterguard","vendor_name":"Afterguard","version":%b},"log_name":"guard"},"api":{"operation":%b,"service":'
    b'{"name":%b,"uid":%b}},"actor":{"user":{"uid":"%b"},"app_name":%b},"src_endpoint":{"uid":"%b"},"ai_model":{"name":%b,"ai_provider":%b},'
    b'"message_context":{"uid":%b,"ai_role_id":0,"application":{"name":%b},"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d},"unmapped":{"afterguard":'
    b'{"action":"allow","would":"allow","mode":"%b","judging_ms":%b,"bytes":%d%b}}%b}\n'
)
"""The line of an exchange of which nothing is to be told but that it was: most lines."""
_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=4096)
def _quoted(text: str) -> bytes:
    return msgspec.json.encode(text)


def is_quiet(session: Session) -> bool:
    """Whether nothing is to be told of an exchange but that it was."""
    if session.hits or session.failed or session.rows or session.late or session.hold is not None or session.version:
        return False
    parts = session.parts
    if parts.unjudged or len(parts.calls) > session.asked_calls:
        return False
    if touched.has_documents(parts.texts[: session.asked_texts], parts.calls[: session.asked_calls]):
        return False
    for verdict in (session.verdict, session.replied):
        if verdict is not NOTHING and (
            verdict.rule or verdict.matched or verdict.action is not Action.allow or verdict.would is not Action.allow
        ):
            return False
    return session.identity.isalnum() or not session.identity


def quiet(session: Session, time: float, seconds: float, judging: float, product: str) -> bytes:
    """The line of such an exchange: what `line` would write, in a fifth of the time."""
    parts, spot, route = session.parts, session.spot, session.route
    given, said = parts.input_tokens or 0, parts.output_tokens or 0
    who = session.identity.encode() or b"unknown"
    operation, provider = _quoted(spot.operation), _quoted(route.kind)
    revision = session.verdict.policy or session.replied.policy
    policy = _policy(revision) if revision else b""
    status = session.status
    prompt = session.posed or touched.prompt(parts.texts[: session.asked_texts], session.brain.context.pseudonym)
    ran = b',"prompt":"%b"' % prompt.encode() if prompt else b""
    return PLAIN % (
        operation, int(time * 1000), 1 if 0 < status < 400 else 2, status, int(seconds * 1000), session.id.encode(),
        _quoted(product), operation, provider, _quoted(route.name), who, _quoted(route.app), who, _quoted(parts.model[:NAME] or "unknown"),
        provider, _encode(session.conversation) if session.conversation else b'""', _quoted(route.app or route.name), given, said, given + said, session.ruling.mode.encode(),
        _encode(round(judging * 1000, 3)) if judging else b"0.0", session.size, ran, policy,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _policy(revision: str) -> bytes:
    return b',"policy":{"name":%b,"version":%b}' % (_quoted(revision.partition("@")[0]), _quoted(revision))


def count_any(metrics: Metrics, session: Session, action: Action, seconds: float, judging: float) -> None:
    """Count what every exchange has."""
    route = session.route.name
    metrics.add("afterguard_requests_total", route, session.spot.operation, action, session.ruling.mode)
    metrics.time("afterguard_exchange_seconds", seconds, route)
    metrics.time("afterguard_judging_seconds", judging, route)
    if session.brain.detectors and session.asked is not None:
        metrics.add("afterguard_cache_hits_total" if session.known else "afterguard_cache_misses_total", route)


def count(metrics: Metrics, session: Session, one: Decision) -> None:
    """Count what is to be told of an exchange."""
    add = metrics.add
    if one.would != "allow":
        add("afterguard_would_total", one.route, one.would)
    for rule in one.matched:
        if rule.startswith(PREFIX):
            add("afterguard_measured_total", one.route, one.action)
            break
    for hit in one.hits:
        add("afterguard_hits_total", one.route, hit.kind)
    for row in one.unjudged:
        add("afterguard_unjudged_total", one.route, row.reason)
    if one.rows:
        add("afterguard_rows_total", one.route, by=one.rows)
    if one.scores:
        add("afterguard_scores_changed_total", one.route, one.scores)
    if one.late:
        add("afterguard_late_total", one.route, by=one.late)
    if one.failed:
        passed = session.ruling.is_open or one.failed == "killed"
        add("afterguard_failures_total", one.route, one.failed, "yes" if passed else "no")


def line(one: Decision, product: str) -> bytes:
    """The decision as one line of OCSF JSON, newline included."""
    worst = max((SEVERITIES.index(hit.severity) for hit in one.hits), default=0)
    acted = one.action
    event: dict[str, Any] = {
        **ocsf.head(6003, ocsf.OTHER, one.time, one.operation),
        "severity_id": ocsf.SEVERITY_IDS[SEVERITIES[worst]],
        "status_id": 1 if 0 < one.status < 400 else 2,
        "status_code": str(one.status),
        "duration": int(one.seconds * 1000),
        "action_id": ACTION_IDS.get(acted, ocsf.MODIFIED),
        "disposition_id": DISPOSITIONS.get(acted, ocsf.CORRECTED),
        "is_alert": acted not in (Action.allow, Action.flag),
        "metadata": ocsf.metadata(one.id, "guard", product, PROFILES),
        "api": {"operation": one.operation, "service": {"name": one.provider, "uid": one.route}},
        "actor": {"user": {"uid": one.identity or "unknown"}, "app_name": one.app},
        "src_endpoint": {"uid": one.identity or "unknown"},
        "ai_model": {"name": one.model or "unknown", "ai_provider": one.provider},
        "message_context": {
            "uid": one.conversation,
            "ai_role_id": 0,
            "application": {"name": one.app or one.route},
            "prompt_tokens": one.input_tokens or 0,
            "completion_tokens": one.output_tokens or 0,
            "total_tokens": (one.input_tokens or 0) + (one.output_tokens or 0),
        },
        "unmapped": {
            "afterguard": {
                "action": acted,
                "would": one.would,
                "mode": one.mode,
                "judging_ms": round(one.judging * 1000, 3),
                "bytes": one.bytes,
            }
        },
    }
    own = event["unmapped"]["afterguard"]
    if one.is_probe:
        own["probe"] = True
    if one.prompt:
        own["prompt"] = one.prompt
    if one.documents:
        own["documents"] = one.documents
    if one.rule:
        event["policy"] = {
            "name": one.policy.partition("@")[0],
            "uid": one.rule,
            "version": one.policy,
            "desc": one.says,
        }
        event["firewall_rule"] = {"uid": one.rule, "desc": one.says}
        own["matched"] = one.matched
    elif one.policy:
        event["policy"] = {"name": one.policy.partition("@")[0], "version": one.policy}
    if one.rows:
        own["rows"] = one.rows
    if one.version:
        own["version"] = one.version
    if one.scores:
        own["scores"] = one.scores
    if one.hits:
        own["hits"] = [_hit(hit, one.sources.get(hit.text, "")) for hit in one.hits[:HITS]]
        own["hits_total"] = len(one.hits)
        own["taxonomies"] = sorted({name for hit in one.hits for name in hit.taxonomies})
    if one.unjudged:
        own["unjudged"] = [
            {"reason": u.reason, "where": u.where[:200], "bytes": u.bytes} for u in one.unjudged[:UNJUDGED]
        ]
        own["unjudged_total"] = len(one.unjudged)
    if one.failed:
        own["failed"] = one.failed
    if one.late:
        own["late"] = one.late
    if one.approvals:
        own["approvals"] = [_approval(note) for note in one.approvals[:HITS]]
    if one.tools:
        own["tools"] = one.tools
    return msgspec.json.encode(event) + b"\n"


def _approval(note: Note) -> dict[str, Any]:
    out: dict[str, Any] = {"id": note.id, "state": note.state}
    if note.by:
        # Whether the approver is certain to be somebody else than who asked.
        out |= {"by": note.by, "is_another": note.is_another}
    return out


def alarm(alert: Alarm, now: float, product: str) -> bytes:
    """An alarm of the watch over time as one line of OCSF JSON: class 2004, Detection Finding."""
    hit, why = alert.hit, alert.why
    told = hashlib.blake2b(f"{hit.kind} {hit.cause} {now:.0f}".encode(), digest_size=16).hexdigest()
    event: dict[str, Any] = {
        **ocsf.head(2004, 1, now),
        "severity_id": ocsf.SEVERITY_IDS[hit.severity],
        "confidence_id": ocsf.CONFIDENCE_IDS[hit.confidence],
        "confidence": hit.confidence,
        "status_id": 1,
        "is_alert": True,
        "message": hit.rule,
        "metadata": ocsf.metadata(told, "watch", product),
        "finding_info": {
            "uid": told,
            "title": f"{hit.kind.replace('_', ' ')}: {hit.cause}",
            "desc": hit.rule,
            "types": [hit.kind],
            "analytic": {"type_id": 2, "name": hit.detector},
            "attacks": ocsf.attacks(hit.taxonomies),
        },
        "unmapped": {
            "afterguard": {
                "kind": hit.kind,
                "cause": hit.cause,
                "would_change": hit.would_change,
                "taxonomies": hit.taxonomies,
                "why": why,
                "callers": hit.identifiers,
                "route": alert.route,
                "exchanges": [name for name, _ in alert.exchanges[:HITS]],
                "exchanges_total": len(alert.exchanges),
            }
        },
    }
    return msgspec.json.encode(event) + b"\n"


def _hit(hit: Hit, source: str) -> dict[str, Any]:
    return {
        **({"document": source} if source else {}),
        "kind": hit.kind,
        "detector": hit.detector,
        "severity": hit.severity,
        "confidence": hit.confidence,
        "excerpt": hit.excerpt,
        "span": hit.span,
        "text": hit.text,
        "cause": hit.cause,
        "rule": hit.rule,
    }
