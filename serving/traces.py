"""OpenTelemetry traces, where OTEL_EXPORTER_OTLP_ENDPOINT says who takes them: a span a request, a span a batch that links to
its requests, and below it the read of the store and the model.

OTLP over HTTP with JSON (https://opentelemetry.io/docs/specs/otlp/); spans name routes, models and statuses, never users.
"""

import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import orjson
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import INVALID_SPAN, Link, NoOpTracer, Span, SpanContext, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

SERVICE_NAME = "plumbline-api"
PATH = "/v1/traces"
TIMEOUT_S = 5.0
_PROPAGATOR = TraceContextTextMapPropagator()
_NO_SPAN = nullcontext(INVALID_SPAN)


class _Silent(NoOpTracer):
    """Tells nobody: one object that does nothing is every span, where OpenTelemetry's makes three generators for each."""

    def start_as_current_span(self, *_: Any, **__: Any) -> Any:
        return _NO_SPAN


SILENT = _Silent()


def tracer_to(endpoint: str) -> Tracer:
    """A tracer whose spans are sent to endpoint/v1/traces in batches, by a thread of its own; SILENT without an endpoint."""
    if not endpoint:
        return SILENT
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE_NAME}))
    provider.add_span_processor(BatchSpanProcessor(OtlpJson(endpoint.rstrip("/") + PATH)))
    return provider.get_tracer("plumbline.serving")


def parent_of(headers: Mapping[str, str]) -> Context:
    """The caller's own span, where its request carries one (traceparent of W3C Trace Context)."""
    return _PROPAGATOR.extract(headers)


def links_to(spans: Sequence[Span]) -> list[Link]:
    """Links to the requests that were scored together."""
    return [Link(span.get_span_context()) for span in spans if span.get_span_context().is_valid]


class OtlpJson(SpanExporter):
    """Posts spans; what a receiver that is away did not take is lost, and costs no answer anything."""

    def __init__(self, url: str) -> None:
        self._url = url

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        request = urllib.request.Request(self._url, orjson.dumps(_export(spans)), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S):
                return SpanExportResult.SUCCESS
        except OSError:
            return SpanExportResult.FAILURE


def _export(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """ExportTraceServiceRequest; the spans are of one process, hence of one resource."""
    resource = {"attributes": _attributes(spans[0].resource.attributes)}
    scope = {"scope": {"name": "plumbline.serving"}, "spans": [_span(span) for span in spans]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def _span(span: ReadableSpan) -> dict[str, Any]:
    assert span.context is not None  # it was started
    parent = {"parentSpanId": f"{span.parent.span_id:016x}"} if span.parent else {}
    return {
        **_identity(span.context),
        **parent,
        "name": span.name,
        "kind": span.kind.value + 1,  # OTLP counts from 1, 0 is unspecified
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": _attributes(span.attributes or {}),
        "links": [_identity(link.context) for link in span.links],
        "status": {"code": span.status.status_code.value},
    }


def _identity(context: SpanContext) -> dict[str, str]:
    return {"traceId": f"{context.trace_id:032x}", "spanId": f"{context.span_id:016x}"}


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": str(value)}
