"""What runs where, what shows it, and what is wrong with it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from afterguard.model.scale import Certainty, Confidence, Severity


class AssetKind(StrEnum):
    """What an AI application is made of."""

    provider = "provider"
    model = "model"
    embedding_model = "embedding_model"
    framework = "framework"
    agent = "agent"
    tool = "tool"
    mcp_server = "mcp_server"
    vector_store = "vector_store"
    dataset = "dataset"
    prompt = "prompt"
    inference_server = "inference_server"
    cloud_ai_service = "cloud_ai_service"
    model_artifact = "model_artifact"
    secret_reference = "secret_reference"
    ai_endpoint = "ai_endpoint"


class App(msgspec.Struct, frozen=True, omit_defaults=True):
    """One application, the unit that is ranked, priced and reported."""

    name: str
    tenant: str = "default"
    root: str = ""
    owner: str = ""


class Source(msgspec.Struct, frozen=True):
    """One file as read: `path` relative and POSIX, `data` whole (capped by files.py), `kind` from its content and name.

    `kind` is one of code.KINDS: python notebook javascript typescript java kotlin go yaml json toml hcl dockerfile env
    ini manifest text log csv model binary.
    """

    path: str
    data: bytes
    kind: str
    size: int = 0


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where an asset was seen. `line` is 1-based and physical, 0 where lines make no sense (a binary file)."""

    path: str
    line: int
    matched: str
    source: str = "code"
    """code, manifest, config, infrastructure, traffic, audit, billing, artefact or lookback."""


class Edge(msgspec.Struct, frozen=True, omit_defaults=True):
    """A relation from the asset that holds it: uses, calls, reads, serves, authenticates_with, part_of, trained_on."""

    relation: str
    kind: AssetKind
    name: str


class Asset(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing, joined over all its evidence. Identity is (kind, name); see discover.inventory.join."""

    kind: AssetKind
    name: str
    confidence: Certainty
    evidence: tuple[Evidence, ...]
    edges: tuple[Edge, ...] = ()
    owner: str = ""
    attributes: dict[str, str] = {}
    """Small facts with fixed names: version, provider, model, host, image, region, transport, command, task, digest."""
    first_seen: float | None = None
    last_seen: float | None = None


class Coverage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was not read, or not judged, and why. `reason` is a fixed word, `detail` is for a person."""

    path: str
    reason: str
    """binary too_large unreadable vanished not_a_file symlink_loop bomb bad_encoding bad_syntax unsupported depth
    time cap excluded encrypted truncated"""
    detail: str = ""
    count: int = 1
    bytes: int = 0


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A weakness with a place. `fingerprint` survives line moves: see scan.fingerprint."""

    rule: str
    severity: Severity
    confidence: Confidence
    path: str
    line: int
    taxonomies: tuple[str, ...]
    message: str
    """What is wrong here, in one sentence that names the thing found."""
    fix: str
    title: str = ""
    end_line: int = 0
    snippet: str = ""
    """The line as read, secrets redacted, at most 200 characters."""
    asset: str = ""
    """kind:name of the asset it belongs to, where known."""
    fingerprint: str = ""
    attributes: dict[str, str] = {}
