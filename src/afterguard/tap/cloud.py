"""What clouds write by themselves: Bedrock's model invocation log and SageMaker's data capture.

In: one decoded record. Out: its Exchange, or None where it is neither. A body that Bedrock put into S3 is not in the log; it is
counted as unjudged under the name of the pointer.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from afterguard.model import Exchange, Prediction
from afterguard.tap import bodies
from afterguard.tap.meta import columns
from afterguard.tap.record import Place, build, unknown
from afterguard.tap.when import when
from afterguard.wire import predict
from afterguard.wire.parts import Parts, count_of, text_of


def shape(record: dict[str, Any], place: Place) -> list[Exchange] | None:
    """The exchange of a cloud's own record, None for any other record."""
    if record.get("schemaType") == "ModelInvocationLog" or (
        "modelId" in record and isinstance(record.get("input"), dict) and "operation" in record
    ):
        return [bedrock(record, place)]
    if isinstance(record.get("captureData"), dict):
        return [sagemaker(record, place)]
    return None


def bedrock(record: dict[str, Any], place: Place) -> Exchange:
    """One entry of the model invocation log."""
    parts = Parts()
    given, made = _side(record, "input", parts), _side(record, "output", parts)
    asked = bodies.ask(given, parts, "input.inputBodyJson") if given is not None else ""
    parts.turn += 1
    replied = bodies.reply(made, parts, "output.outputBodyJson") if made is not None else ""
    for side, found, value in (("input", asked, given), ("output", replied, made)):
        if not found and value is not None:
            parts.skip("unknown_shape", side)
        elif not found and not any(row.where.startswith(side) for row in parts.unjudged):
            parts.skip("prompt_not_logged" if side == "input" else "response_not_logged", side)
    known = columns(
        {key: value for key, value in record.items() if not isinstance(value, dict) or key == "requestMetadata"}
    )
    known.update(_counts(record))
    known["id"] = text_of(record.get("requestId")) or known.get("id") or place.id
    who = record.get("identity")
    if isinstance(who, dict) and text_of(who.get("arn")):
        known["identity"] = who["arn"][:300]
    known["provider"] = "bedrock"
    known["model"] = text_of(record.get("modelId"))[:200]
    parts.model = ""
    return build(parts, known, "bedrock", place)


def _counts(record: dict[str, Any]) -> dict[str, int]:
    out = {}
    for side, name, field in (
        ("input", "inputTokenCount", "input_tokens"),
        ("output", "outputTokenCount", "output_tokens"),
    ):
        inner = record.get(side)
        count = count_of(inner.get(name)) if isinstance(inner, dict) else None
        if count is not None:
            out[field] = count
    return out


def _side(record: dict[str, Any], side: str, parts: Parts) -> Any:
    inner = record.get(side)
    if not isinstance(inner, dict):
        return None
    body = inner.get(f"{side}BodyJson")
    if body is None and inner.get(f"{side}BodyS3Path"):
        parts.skip("too_long", f"{side}.{text_of(inner[f'{side}BodyS3Path'])[:200]}")
    return body


def sagemaker(record: dict[str, Any], place: Place) -> Exchange:
    """One line of data capture: CSV or JSON features in, decision or score out."""
    capture = record["captureData"]
    meta = record.get("eventMetadata")
    meta = meta if isinstance(meta, dict) else {}
    known: dict[str, Any] = {"id": text_of(meta.get("inferenceId")) or text_of(meta.get("eventId")) or place.id}
    moment = when(meta.get("inferenceTime"))
    if moment:
        known["time"], known["time_zone_known"] = moment
    given, made = (_captured(capture.get(side)) for side in ("endpointInput", "endpointOutput"))
    row = _row(given, made)
    if row is not None:
        return Exchange(
            source=place.source, line=place.line, protocol="predictive", prediction=row, bytes=place.size, **known
        )
    parts = Parts()
    asked, replied = bodies.ask(given, parts, "endpointInput"), bodies.reply(made, parts, "endpointOutput")
    if asked or replied:
        return build(parts, known, "bedrock", place)
    return unknown(place, "unknown_shape" if given is not None else "prompt_not_logged", **known)


def _captured(side: Any) -> Any:
    if not isinstance(side, dict):
        return None
    data = side.get("data")
    if side.get("encoding") == "BASE64" and isinstance(data, str):
        try:
            data = base64.b64decode(data).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return None
    if side.get("encoding") == "CSV" and isinstance(data, str):
        return [predict.feature(cell) for cell in data.strip().split("\n")[0].split(",")[: predict.FEATURES_CAP]]
    return bodies.unwrap(data)


def _row(given: Any, made: Any) -> Prediction | None:
    if (isinstance(given, dict) and given.keys() & {"messages", "prompt"}) or given is None:
        return None
    if isinstance(given, dict) and isinstance(given.get("inputs"), str):
        return None
    features: Any = given if not isinstance(given, str) else None
    if isinstance(features, dict) and len(features) == 1:
        features = next(iter(features.values()))
    out = made if isinstance(made, dict) else {"output": made[0] if isinstance(made, list) and len(made) == 1 else made}
    row = predict.prediction({"features": features, **{key: value for key, value in out.items() if key != "features"}})
    if row is not None and row.score is None and predict.score(row.decision) is not None and "." in row.decision:
        return Prediction(row.features, "", predict.score(row.decision))
    return row
