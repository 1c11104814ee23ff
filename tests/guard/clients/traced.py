"""A client with a real instrumentor that exports over OTLP/HTTP: asks a provider once and flushes.

In: which instrumentor (traceloop, openinference, spans), the provider's address, the guard's, what to say, the name of the service. Out: exit code 0 when the exporter was content; on standard output
how long the provider's answer took, in seconds.
"""

from __future__ import annotations

import sys
import time

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

which, provider_url, guard, said, service = sys.argv[1:6]
tracers = TracerProvider(resource=Resource.create({"service.name": service}))
exporter = OTLPSpanExporter(guard + "/otlp/v1/traces", compression=Compression.Gzip, timeout=2)
results: list[SpanExportResult] = []
export = exporter.export


def watched(spans):  # type: ignore[no-untyped-def]
    results.append(export(spans))
    return results[-1]


exporter.export = watched  # type: ignore[method-assign]
tracers.add_span_processor(BatchSpanProcessor(exporter))
if which == "traceloop":
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=tracers)
elif which == "openinference":
    from openinference.instrumentation.openai import OpenAIInstrumentor as Instrumentor

    Instrumentor().instrument(tracer_provider=tracers)
if which == "spans":
    with tracers.get_tracer("test").start_as_current_span("db") as span:
        span.set_attribute("db.system", "x")
else:
    import openai

    client = openai.OpenAI(base_url=provider_url, api_key="k", max_retries=0)
    began = time.perf_counter()
    client.chat.completions.create(
        model="m", messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": said}]
    )
    print(time.perf_counter() - began)
tracers.force_flush()
tracers.shutdown()
sys.exit(0 if results and all(one is SpanExportResult.SUCCESS for one in results) else 1)
