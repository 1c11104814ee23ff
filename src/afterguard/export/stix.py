"""STIX 2.1 bundles for sharing: who says it, what was seen, by which technique, what to look for, what was done.

In: nouns. Out: a bundle as a map. Ids are UUIDs (version 5, in a namespace of our own) of what a thing is, so that the same alert told
again updates the same object. Only names that are keyed hashes or public (domains, addresses, tools, models) leave the house: no text
of a conversation is ever in a bundle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID, uuid5

import msgspec

from afterguard.export import row
from afterguard.export.ecs import stamp
from afterguard.model import Alert, Case, Deed, Entity, Entry, Found
from afterguard.names import describe

NAMESPACE = UUID("4b0e4f1e-0d7c-5f0a-9a51-2f8f3f6c1b7d")
SCO_NAMESPACE = UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
"""The standard's own, for ids of cyber-observable objects (STIX 2.1, section 2.9)."""
BEGAN = "2026-01-01T00:00:00.000Z"
"""`created` of what is always the same: the identity and the techniques."""
CONFIDENCES = {"low": 15, "medium": 50, "high": 85}
"""The None / Low / Med / High scale of the standard's appendix A."""
PRODUCT = "identity--" + str(uuid5(NAMESPACE, "identity:afterguard"))
HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+", re.I)
Object = dict[str, Any]


def bundle(objects: Iterable[Object]) -> Object:
    """A bundle of distinct objects, Afterguard's identity first."""
    rows = {one["id"]: one for one in (_identity(), *objects)}
    name = str(uuid5(NAMESPACE, " ".join(f"{key} {one.get('modified', '')}" for key, one in rows.items())))
    return {"type": "bundle", "id": f"bundle--{name}", "objects": list(rows.values())}


def alert(one: Alert) -> Object:
    """An alert: what was seen (observed data, sighting), an indicator where there is something to look for, an incident."""
    seen = stamp(one.first_seen), stamp(max(one.last_seen, one.first_seen))
    techniques = [_technique(name) for name in one.taxonomies if name.startswith("AML.T")]
    observables = _observables(one.entities)
    incident = _sdo(
        "incident", one.id, seen[0], stamp(one.observed or one.last_seen),
        name=one.title or one.kind, description=_said(one), confidence=CONFIDENCES[one.confidence],
        labels=sorted({one.kind.replace("_", "-"), f"severity-{one.severity}", *(["suppressed"] if one.suppressed else [])}),
        external_references=[{"source_name": "afterguard", "external_id": one.id}],
    )  # fmt: skip
    out: list[Object] = [incident, *techniques, *observables]
    out += [_link(incident, "related-to", other, seen[0]) for other in techniques]
    indicator = _indicator(one, seen[0])
    target = indicator or (techniques[0] if techniques else None)
    if indicator:
        out += [indicator, *(_link(indicator, "indicates", other, seen[0]) for other in techniques)]
    if observables:
        observed = _sdo(
            "observed-data", one.id, seen[0], seen[1], first_observed=seen[0], last_observed=seen[1],
            number_observed=max(1, min(one.count, 999_999_999)), object_refs=[other["id"] for other in observables],
        )  # fmt: skip
        out.append(observed)
        if target:
            out.append(_sighting(one, target, observed, seen))
    return bundle(out)


def _said(one: Alert) -> str:
    return f"{one.rule or one.title}. {one.count} exchanges of {one.app}, {one.held_off} of them held off."


def _sighting(one: Alert, target: Object, observed: Object, seen: tuple[str, str]) -> Object:
    return _sdo(
        "sighting", one.id, seen[0], seen[1], first_seen=seen[0], last_seen=seen[1], count=max(1, min(one.count, 999_999_999)),
        sighting_of_ref=target["id"], observed_data_refs=[observed["id"]], where_sighted_refs=[PRODUCT],
    )  # fmt: skip


def _indicator(one: Alert, since: str) -> Object | None:
    tests = [found for e in one.entities if (found := _pattern(e))]
    if not tests:
        return None
    return _sdo(
        "indicator", one.fingerprint or one.id, since, since, name=one.title or one.kind, description=_said(one), indicator_types=["malicious-activity"],
        pattern_type="stix", pattern_version="2.1", pattern=" OR ".join(f"[{test}]" for test in tests[:20]), valid_from=since,
    )  # fmt: skip


def _pattern(one: Entity) -> str:
    """What to look for elsewhere: only what means the same to another house."""
    if one.kind == "address" and row.address((one,)):
        return f"ipv{6 if ':' in one.name else 4}-addr:value = '{_quoted(one.name)}'"
    if one.kind == "domain" and HOST.fullmatch(one.name):
        return f"domain-name:value = '{_quoted(one.name)}'"
    if one.kind == "document" and one.role in ("means", "source"):
        return f"file:name = '{_quoted(one.name)}'"
    return ""


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _observables(entities: Sequence[Entity]) -> list[Object]:
    return list({one["id"]: one for e in entities if (one := _observable(e))}.values())


def _observable(one: Entity) -> Object | None:
    if one.kind in ("identity", "key", "tenant", "payee"):
        return _sco("user-account", user_id=one.name)
    if one.kind == "address" and row.address((one,)):
        return _sco("ipv6-addr" if ":" in one.name else "ipv4-addr", value=one.name)
    if one.kind == "domain" and HOST.fullmatch(one.name):
        return _sco("domain-name", value=one.name)
    if one.kind == "document":
        return _sco("file", name=one.name)
    if one.kind in ("model", "tool", "server"):
        return _sco("software", name=one.name)
    return None


def _sco(kind: str, /, **given: Any) -> Object:
    text = msgspec.json.encode(given, order="sorted").decode()
    return {"type": kind, "spec_version": "2.1", "id": f"{kind}--{uuid5(SCO_NAMESPACE, text)}", **given}


def _sdo(kind: str, name: str, created: str, modified: str, /, **given: Any) -> Object:
    kept = {key: value for key, value in given.items() if value not in ("", [], None)}
    return {
        "type": kind,
        "spec_version": "2.1",
        "id": f"{kind}--{uuid5(NAMESPACE, f'{kind}:{name}')}",
        "created_by_ref": PRODUCT,
        "created": created,
        "modified": max(created, modified),
        **kept,
    }


def _link(source: Object, how: str, target: Object, since: str) -> Object:
    name = f"{source['id']} {how} {target['id']}"
    return _sdo(
        "relationship", name, since, since, relationship_type=how, source_ref=source["id"], target_ref=target["id"]
    )


def _identity() -> Object:
    return {
        "type": "identity",
        "spec_version": "2.1",
        "id": PRODUCT,
        "created": BEGAN,
        "modified": BEGAN,
        "name": "Afterguard",
        "identity_class": "system",
    }


def _technique(name: str) -> Object:
    return _sdo(
        "attack-pattern", name, BEGAN, BEGAN, name=describe(name),
        external_references=[{"source_name": "mitre-atlas", "external_id": name}],
    )  # fmt: skip


def case(one: Case) -> Object:
    """A case: an incident, the alerts' incidents it rests on, and what was done as courses of action."""
    opened = stamp(one.opened)
    incident = _sdo(
        "incident", one.id, opened, stamp(one.updated), name=one.title or "Case",
        description=f"Case {one.status}, {len(one.alerts)} alerts, application {one.app}.",
        labels=sorted({f"status-{one.status}", f"severity-{one.severity}", *(kind.replace("_", "-") for kind in one.kinds)}),
        external_references=[{"source_name": "afterguard", "external_id": one.id}],
    )  # fmt: skip
    out: list[Object] = [incident]
    seen = _observables(one.entities)
    if seen:
        observed = _sdo(
            "observed-data", one.id, opened, stamp(one.updated), first_observed=opened, number_observed=max(1, len(one.alerts)),
            last_observed=max(opened, stamp(one.updated)), object_refs=[other["id"] for other in seen],
        )  # fmt: skip
        out += [*seen, observed, _link(incident, "related-to", observed, opened)]
    for entry in one.timeline:
        if entry.what == "action":
            done = _done(one, entry)
            out += [done, _link(done, "related-to", incident, stamp(entry.at))]
    return bundle(out)


def _done(one: Case, entry: Entry) -> Object:
    at = stamp(entry.at)
    return _sdo(
        "course-of-action",
        row.action_told(one, entry),
        at,
        at,
        name=entry.text[:250] or "action",
        description=entry.text,
    )


def deed(one: Deed) -> Object:
    """What was done, as a course of action. Who agreed to it stays in the house: of that, the identity alone."""
    if one.what in row.AGREED:
        return bundle(())
    at = stamp(one.at) or BEGAN
    return bundle([_sdo("course-of-action", one.id, at, at, name=row.said(one)[:250], description=one.title)])


def finding(found: Found) -> Object:
    """A weakness: a vulnerability with its CWE, and its fix as a course of action."""
    one, when = found.finding, stamp(found.at) or BEGAN
    cwe = [{"source_name": "cwe", "external_id": name} for name in one.taxonomies if name.startswith("CWE-")]
    weakness = _sdo(
        "vulnerability", found.id, when, when, name=one.title or one.rule, description=f"{found.app}: {one.message}",
        external_references=cwe,
    )  # fmt: skip
    out = [weakness]
    if one.fix:
        fix = _sdo("course-of-action", f"fix:{one.rule}", BEGAN, BEGAN, name=one.title or one.rule, description=one.fix)
        out += [fix, _link(fix, "mitigates", weakness, when)]
    return bundle(out)


def decision(line: dict[str, Any]) -> Object:
    """A call or an alarm of the decision log: observed data, or nothing but the identity where it names nobody."""
    one = row.of_line(line)
    names = [("identity", one.actor), ("model", one.model), *(("tool", name) for name in one.tools)]
    seen = _observables([Entity(kind, name) for kind, name in names if name and name != "unknown"])
    if not seen:
        return bundle(())
    at = stamp(one.time) or BEGAN
    refs = [other["id"] for other in seen]
    return bundle(
        [
            *seen,
            _sdo(
                "observed-data",
                one.event,
                at,
                at,
                first_observed=at,
                last_observed=at,
                number_observed=1,
                object_refs=refs,
            ),
        ]
    )
