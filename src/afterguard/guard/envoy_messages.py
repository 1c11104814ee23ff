"""The messages of Envoy's external processing and of its taps, exactly those that the doors read and write.

In: nothing. Out: message classes of protobuf (`ProcessingRequest`, `ProcessingResponse`, `TraceWrapper` and what is in them), made when this is imported.

The published stubs are no choice here: `xds-protos` puts an old copy of `opentelemetry/proto` and an `opentelemetry/__init__.py` into the environment it is installed in, which breaks OpenTelemetry
there (grpc/grpc#42926), and `envoy-data-plane` reads messages in Python. What is left out below, protobuf skips when it reads. Names and values of headers are bytes here, because what a peer
sends need not be UTF-8; on the wire that is the same. The numbers are those of envoy/service/ext_proc/v3/external_processor.proto and envoy/data/tap/v3/{wrapper,transport,common}.proto (Envoy 1.40); tests hold them against a real Envoy.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "afterguard.envoy"
SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"
SIMPLE = {
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "string": FieldDescriptorProto.TYPE_STRING,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int": FieldDescriptorProto.TYPE_INT64,
    "enum": FieldDescriptorProto.TYPE_INT32,
}
"""An enumeration is read as a number: on the wire it is one."""

MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "HeaderValue": {"key": (1, "bytes"), "value": (2, "bytes"), "raw_value": (3, "bytes")},
    "HeaderMap": {"headers": (1, "*HeaderValue")},
    "HttpHeaders": {"headers": (1, "HeaderMap"), "end_of_stream": (3, "bool")},
    "HttpBody": {"body": (1, "bytes"), "end_of_stream": (2, "bool")},
    "HttpTrailers": {"trailers": (1, "HeaderMap")},
    "ProcessingRequest": {
        "request_headers": (2, "?HttpHeaders"), "response_headers": (3, "?HttpHeaders"), "request_body": (4, "?HttpBody"),
        "response_body": (5, "?HttpBody"), "request_trailers": (6, "?HttpTrailers"), "response_trailers": (7, "?HttpTrailers"),
        "observability_mode": (10, "bool"),
    },
    "HeaderValueOption": {"header": (1, "HeaderValue"), "append_action": (3, "enum")},
    "HeaderMutation": {"set_headers": (1, "*HeaderValueOption"), "remove_headers": (2, "*bytes")},
    "BodyMutation": {"body": (1, "?bytes"), "clear_body": (2, "?bool")},
    "CommonResponse": {"header_mutation": (2, "HeaderMutation"), "body_mutation": (3, "BodyMutation")},
    "HeadersResponse": {"response": (1, "CommonResponse")},
    "BodyResponse": {"response": (1, "CommonResponse")},
    "TrailersResponse": {"header_mutation": (1, "HeaderMutation")},
    "HttpStatus": {"code": (1, "enum")},
    "ImmediateResponse": {"status": (1, "HttpStatus"), "headers": (2, "HeaderMutation"), "body": (3, "bytes"), "details": (5, "string")},
    "ProcessingMode": {
        "request_header_mode": (1, "enum"), "response_header_mode": (2, "enum"), "request_body_mode": (3, "enum"),
        "response_body_mode": (4, "enum"), "request_trailer_mode": (5, "enum"), "response_trailer_mode": (6, "enum"),
    },
    "Duration": {"seconds": (1, "int"), "nanos": (2, "enum")},
    "ProcessingResponse": {
        "request_headers": (1, "?HeadersResponse"), "response_headers": (2, "?HeadersResponse"), "request_body": (3, "?BodyResponse"),
        "response_body": (4, "?BodyResponse"), "request_trailers": (5, "?TrailersResponse"), "response_trailers": (6, "?TrailersResponse"),
        "immediate_response": (7, "?ImmediateResponse"), "mode_override": (9, "ProcessingMode"), "override_message_timeout": (10, "Duration"),
    },
    "Timestamp": {"seconds": (1, "int"), "nanos": (2, "enum")},
    "Body": {"as_bytes": (1, "bytes"), "truncated": (3, "bool")},
    "SocketData": {"data": (1, "Body")},
    "SocketClosed": {},
    "SocketEvent": {
        "timestamp": (1, "Timestamp"), "read": (2, "?SocketData"), "write": (3, "?SocketData"), "closed": (4, "?SocketClosed"), "seq_num": (6, "int"),
    },
    "SocketEvents": {"events": (1, "*SocketEvent")},
    "SocketTrace": {"event": (3, "?SocketEvent"), "events": (4, "?SocketEvents")},
    "TraceWrapper": {"socket_streamed_trace_segment": (4, "SocketTrace")},
}  # fmt: skip
"""Message -> field -> (number, type). `*` repeated, `?` one of the message's alternatives, of which at most one is set."""


def _message(name: str, fields: dict[str, tuple[int, str]]) -> DescriptorProto:
    made = DescriptorProto(name=name)
    if any(kind[0] == "?" for _, kind in fields.values()):
        made.oneof_decl.add(name="one")
    for field, (number, kind) in fields.items():
        one = made.field.add(name=field, number=number)
        one.label = FieldDescriptorProto.LABEL_REPEATED if kind[0] == "*" else FieldDescriptorProto.LABEL_OPTIONAL
        if kind[0] == "?":
            one.oneof_index = 0
        plain = kind.lstrip("*?")
        one.type = SIMPLE.get(plain, FieldDescriptorProto.TYPE_MESSAGE)
        if plain not in SIMPLE:
            one.type_name = f".{PACKAGE}.{plain}"
    return made


def _classes() -> dict[str, Any]:
    file = FileDescriptorProto(name="afterguard/envoy.proto", package=PACKAGE, syntax="proto3")
    file.message_type.extend(_message(name, fields) for name, fields in MESSAGES.items())
    pool = DescriptorPool()  # of our own: what else is loaded in this process may know messages of these names
    pool.AddSerializedFile(file.SerializeToString())
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}


_MADE = _classes()
ProcessingRequest: Any = _MADE["ProcessingRequest"]
ProcessingResponse: Any = _MADE["ProcessingResponse"]
TraceWrapper: Any = _MADE["TraceWrapper"]
KINDS = (
    "request_headers", "request_body", "request_trailers", "response_headers", "response_body", "response_trailers",
)  # fmt: skip
NONE, STREAMED, BUFFERED, BUFFERED_PARTIAL = 0, 1, 2, 3
"""How a body is sent here."""
SEND, SKIP = 1, 2
"""Whether headers or trailers are."""
OVERWRITE = 2
"""Of `append_action`: take the place of what is there."""
