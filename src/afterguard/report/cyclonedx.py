"""The AI bill of materials: CycloneDX 1.6 JSON (ECMA-424), or 1.7.

In: a Survey. Out: one BOM. A field is written only where it is known, and the BOM says how complete it is: counts a kind, which
fields are unknown for how many, what was not read. Nothing is declared complete. The serial number comes from the content.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import IO, Any
from urllib.parse import quote

from afterguard import __version__
from afterguard.model import Asset, AssetKind, Survey
from afterguard.report import words
from afterguard.report.json import dumps, ordered_assets
from afterguard.safe import encodable, visible

Json = dict[str, Any]
NAMESPACE = uuid.UUID("6f1d7f1e-3b0a-5c62-9d3e-2a5f0f6f0c11")
VERSIONS = ("1.6", "1.7")
COMPONENTS = {
    AssetKind.model: "machine-learning-model",
    AssetKind.embedding_model: "machine-learning-model",
    AssetKind.model_artifact: "machine-learning-model",
    AssetKind.framework: "library",
    AssetKind.agent: "application",
    AssetKind.tool: "application",
    AssetKind.mcp_server: "application",
    AssetKind.dataset: "data",
    AssetKind.prompt: "data",
    AssetKind.secret_reference: "cryptographic-asset",
}
"""Kinds that are components; every other kind is a service."""
ECOSYSTEMS = (
    (re.compile(r"(requirements|constraints)[^/]*(/[^/]+)?\.(txt|in)$|pyproject\.toml$|Pipfile|poetry\.lock$|uv\.lock$|setup\.(py|cfg)$"), "pypi"),
    (re.compile(r"package(-lock)?\.json$|yarn\.lock$|pnpm-lock\.yaml$|bun\.lock$"), "npm"),
    (re.compile(r"go\.(mod|sum)$"), "golang"),
    (re.compile(r"pom\.xml$|build\.gradle(\.kts)?$|gradle\.lockfile$|libs\.versions\.toml$"), "maven"),
)  # fmt: skip
EXACT = re.compile(r"v?\d[0-9A-Za-z.+!_-]*\Z")
HEX256 = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})\Z")
EXPECTED = {
    AssetKind.model: ("version", "provider", "task"),
    AssetKind.embedding_model: ("version", "provider"),
    AssetKind.model_artifact: ("digest", "version", "task"),
    AssetKind.framework: ("version",),
    AssetKind.mcp_server: ("version", "transport"),
    AssetKind.provider: ("host", "region"),
    AssetKind.vector_store: ("version", "authenticated"),
    AssetKind.inference_server: ("version", "authenticated"),
    AssetKind.ai_endpoint: ("authenticated",),
}
"""Fields a reader would look for, by kind; the share that is unknown is stated."""


def document(survey: Survey, *, created_at: float | None = None, spec: str = "1.6") -> Json:
    """The BOM of one application. `spec` is 1.6 or 1.7; `created_at` becomes the time stamp and does not move the serial."""
    if spec not in VERSIONS:
        raise ValueError(f"CycloneDX {spec} is not written here; one of {', '.join(VERSIONS)}")
    assets = ordered_assets(survey.assets)
    refs = {(item.kind, item.name): reference(item.kind, item.name) for item in assets}
    root = _root(survey)
    bom: Json = {
        "metadata": {
            "lifecycles": [{"phase": "discovery"}],
            "tools": {"components": [{"type": "application", "name": "afterguard", "version": __version__}]},
            "component": root,
            "properties": _completeness(survey, assets),
        },
        "components": [_component(item, refs) for item in assets if not is_service(item)],
        "services": [_service(item) for item in assets if is_service(item)],
        "dependencies": _dependencies(root["bom-ref"], assets, refs),
        "compositions": _compositions(survey, root["bom-ref"], assets, refs),
    }
    serial = uuid.uuid5(NAMESPACE, sha256(dumps(bom, indent=0).encode()).hexdigest())
    head = {"bomFormat": "CycloneDX", "specVersion": spec, "serialNumber": f"urn:uuid:{serial}", "version": 1}
    if words.iso(created_at):
        bom["metadata"] = {"timestamp": words.iso(created_at), **bom["metadata"]}
    return {"$schema": f"http://cyclonedx.org/schema/bom-{spec}.schema.json", **head, **bom}


def render(survey: Survey, out: IO[str], *, created_at: float | None = None, spec: str = "1.6") -> None:
    """Write the BOM, indented."""
    out.write(dumps(document(survey, created_at=created_at, spec=spec)))


def reference(kind: str, name: str) -> str:
    """The bom-ref of an asset: readable, unique, stable from run to run."""
    return f"{kind}:{quote(encodable(name), safe='@/.-_ ')}"


def is_service(item: Asset) -> bool:
    """Whether something answers on the other end: providers, stores, servers, endpoints, MCP servers with an address."""
    if item.kind == AssetKind.mcp_server:
        return bool(_address(item))
    return item.kind not in COMPONENTS


def _root(survey: Survey) -> Json:
    name = visible(survey.app.name) or "application"
    root: Json = {"type": "application", "bom-ref": f"app:{quote(encodable(survey.app.name), safe='')}", "name": name}
    if survey.app.owner:
        root["properties"] = [_property("owner", survey.app.owner)]
    return root


def _component(item: Asset, refs: dict[tuple[AssetKind, str], str]) -> Json:
    out: Json = {
        "type": COMPONENTS[item.kind],
        "bom-ref": refs[item.kind, item.name],
        "name": visible(item.name) or "unnamed",
        "properties": _properties(item),
    }
    version = item.attributes.get("version", "")
    if version:
        out["version"] = visible(version)
    digest = HEX256.match(item.attributes.get("digest", ""))
    if digest:
        out["hashes"] = [{"alg": "SHA-256", "content": digest[1].lower()}]
    if item.evidence:
        out["evidence"] = {"occurrences": _occurrences(item)}
    shape = SHAPES.get(item.kind)
    if shape:
        out.update(shape(item, refs))
    return out


def _model(item: Asset, refs: dict[tuple[AssetKind, str], str]) -> Json:
    facts = item.attributes
    known = {
        "task": facts.get("task"),
        "architectureFamily": facts.get("architecture_family"),
        "modelArchitecture": facts.get("architecture"),
    }
    parameters: Json = {key: visible(value) for key, value in known.items() if value}
    trained = [refs[edge.kind, edge.name] for edge in item.edges if _is_data(edge.relation, edge.kind, edge.name, refs)]
    if trained:
        parameters["datasets"] = [{"ref": ref} for ref in sorted(set(trained))]
    return {"modelCard": {"modelParameters": parameters}} if parameters else {}


def _is_data(relation: str, kind: AssetKind, name: str, refs: dict[tuple[AssetKind, str], str]) -> bool:
    return relation == "trained_on" and kind == AssetKind.dataset and (kind, name) in refs


def _library(item: Asset, refs: dict[tuple[AssetKind, str], str]) -> Json:
    found = purl(item)
    return {"purl": found} if found else {}


def _data(item: Asset, refs: dict[tuple[AssetKind, str], str]) -> Json:
    kind = "dataset" if item.kind == AssetKind.dataset else "other"
    return {"data": [{"type": kind, "name": visible(item.name) or "unnamed"}]}


def _secret(item: Asset, refs: dict[tuple[AssetKind, str], str]) -> Json:
    material = {"type": "credential"}
    return {
        "cryptoProperties": {
            "assetType": "related-crypto-material",
            "relatedCryptoMaterialProperties": material,
        }
    }


SHAPES: dict[AssetKind, Callable[[Asset, dict[tuple[AssetKind, str], str]], Json]] = {
    AssetKind.model: _model,
    AssetKind.embedding_model: _model,
    AssetKind.model_artifact: _model,
    AssetKind.framework: _library,
    AssetKind.mcp_server: _library,
    AssetKind.dataset: _data,
    AssetKind.prompt: _data,
    AssetKind.secret_reference: _secret,
}


def purl(item: Asset) -> str:
    """A package URL where name and ecosystem are known, with the version only where it is exact; else ""."""
    kind = item.attributes.get("ecosystem", "") or next(
        (name for seen in item.evidence for pattern, name in ECOSYSTEMS if pattern.search(seen.path)), ""
    )
    kind = {"go": "golang", "python": "pypi", "javascript": "npm", "java": "maven"}.get(kind, kind)
    own = item.name if item.kind == AssetKind.framework else ""
    name = encodable(item.attributes.get("package") or own)
    if kind not in ("pypi", "npm", "golang", "maven") or not name:
        return ""
    if kind == "pypi":
        name = re.sub(r"[-_.]+", "-", name).lower()
    if kind == "maven":
        name = name.replace(":", "/", 1)
    path = "/".join(quote(part, safe="-._~") for part in name.split("/") if part)
    version = item.attributes.get("version", "")
    return f"pkg:{kind}/{path}" + (f"@{quote(version, safe='-._~')}" if EXACT.match(version) else "")


def _service(item: Asset) -> Json:
    facts = item.attributes
    out: Json = {"bom-ref": reference(item.kind, item.name), "name": visible(item.name) or "unnamed"}
    if facts.get("version"):
        out["version"] = visible(facts["version"])
    if facts.get("provider"):
        out["provider"] = {"name": visible(facts["provider"])}
    address = _address(item)
    if address:
        out["endpoints"] = [address]
    if facts.get("authenticated") in ("true", "false"):
        out["authenticated"] = facts["authenticated"] == "true"
    places = [_property("evidence", words.place(seen.path, seen.line)) for seen in item.evidence]
    out["properties"] = _properties(item) + places
    return out


def _address(item: Asset) -> str:
    """An IRI reference of where a service listens, "" when unknown. A bare host becomes a network-path reference."""
    found = item.attributes.get("url") or item.attributes.get("host") or item.attributes.get("endpoint") or ""
    if not found:
        return ""
    scheme, mark, rest = found.partition("://")
    if mark and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return f"{scheme}://" + quote(encodable(rest), safe="/:@.-_~?=&,+")
    return "//" + quote(encodable(found.lstrip("/")), safe="/:@.-_~?=&,+")


def _occurrences(item: Asset) -> list[Json]:
    rows = []
    for seen in item.evidence:
        row: Json = {"location": visible(seen.path) or "."}
        if seen.line > 0:
            row["line"] = seen.line
        row["additionalContext"] = visible(f"{seen.source}: {seen.matched}" if seen.matched else seen.source)
        rows.append(row)
    return rows


def _properties(item: Asset) -> list[Json]:
    rows = [_property("kind", item.kind), _property("confidence", item.confidence)]
    if item.owner:
        rows.append(_property("owner", item.owner))
    rows += [_property(f"attribute:{key}", value) for key, value in sorted(item.attributes.items())]
    for name, seconds in (("first-seen", item.first_seen), ("last-seen", item.last_seen)):
        if words.iso(seconds):
            rows.append(_property(name, words.iso(seconds)))
    edges = sorted({f"{edge.relation} {edge.kind}:{edge.name}" for edge in item.edges})
    return rows + [_property("edge", edge) for edge in edges]


def _property(name: str, value: str) -> Json:
    return {"name": visible(f"afterguard:{name}"), "value": visible(str(value))}


def _dependencies(root: str, assets: list[Asset], refs: dict[tuple[AssetKind, str], str]) -> list[Json]:
    below = {
        refs[item.kind, item.name]: sorted({refs[e.kind, e.name] for e in item.edges if (e.kind, e.name) in refs})
        for item in assets
    }
    held = {name for key, names in below.items() for name in names if name != key}
    top = {"ref": root, "dependsOn": sorted(set(below) - held)}
    return [top] + [{"ref": ref, "dependsOn": [n for n in names if n != ref]} for ref, names in sorted(below.items())]


def _compositions(survey: Survey, root: str, assets: list[Asset], refs: dict[tuple[AssetKind, str], str]) -> list[Json]:
    """What is known to be incomplete, and what nobody can tell. Never "complete": absence of a sign is no proof."""
    gaps = any(row.reason != "excluded" for row in survey.coverage)
    rows: list[Json] = [
        {"aggregate": "incomplete" if gaps else "unknown", "assemblies": [root], "dependencies": [root]}
    ]
    unknown = sorted(refs[item.kind, item.name] for item in assets)
    if unknown:
        rows.append({"aggregate": "unknown", "assemblies": unknown, "dependencies": unknown})
    return rows


def _completeness(survey: Survey, assets: list[Asset]) -> list[Json]:
    kinds = Counter(item.kind for item in assets)
    rows = [_property("completeness", completeness(survey)), _property("files-read", str(survey.files))]
    rows += [_property(f"count:{kind}", str(kinds[kind])) for kind in sorted(AssetKind)]
    levels = Counter(item.confidence for item in assets)
    rows += [_property(f"confidence:{level}", str(number)) for level, number in sorted(levels.items())]
    rows += [_property(f"unknown:{field}", f"{missing} of {total}") for field, missing, total in unknown_fields(assets)]
    gaps: Counter[str] = Counter()
    for row in survey.coverage:
        gaps[row.reason] += row.count
    return rows + [_property(f"not-read:{reason}", str(number)) for reason, number in sorted(gaps.items())]


def unknown_fields(assets: Iterable[Asset]) -> list[tuple[str, int, int]]:
    """(kind.field, how many do not say it, how many there are) for the fields a reader looks for."""
    rows = []
    items = list(assets)
    for kind, fields in EXPECTED.items():
        same = [item for item in items if item.kind == kind]
        for field in fields:
            missing = sum(not item.attributes.get(field) for item in same)
            if same:
                rows.append((f"{kind}.{field}", missing, len(same)))
    return rows


def completeness(survey: Survey) -> str:
    """One sentence on what this inventory is and is not."""
    gaps = sum(row.count for row in survey.coverage)
    known = unknown_fields(survey.assets)
    missing, total = sum(row[1] for row in known), sum(row[2] for row in known)
    fields = f"{missing} of {total} fields a reader would look for are unknown and were left out" if total else ""
    parts = [
        f"{words.count(len(survey.assets), 'asset')} from signs in {words.count(survey.files, 'file')}",
        f"{words.count(gaps, 'path')} not read" if gaps else "every file given was read",
        fields,
        "what left no sign is not listed",
    ]
    return "; ".join(part for part in parts if part) + "."
