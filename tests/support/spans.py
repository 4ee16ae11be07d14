"""Spans that a test looks at: collected in its own process, or sent to a collector that keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app import tracing
from app.tracing.sdk import Tracing
from tests.support.receivers import Receiver


@dataclass(frozen=True)
class Told:
    """One span, however it came here. Ids are hexadecimal; without a parent it is a root."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    #: INTERNAL, SERVER, CLIENT, CONSUMER.
    kind: str
    attributes: Mapping[str, Any]
    links: tuple[str, ...]
    error: str | None


class Spans:
    """Those that have ended so far, in their order."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    @property
    def all(self) -> list[Told]:
        return [_ended(span) for span in self._exporter.get_finished_spans()]

    def named(self, name: str) -> list[Told]:
        return [span for span in self.all if span.name == name]

    def text(self) -> str:
        """All that is told of them."""
        return "\n".join(span.to_json() for span in self._exporter.get_finished_spans())


@contextmanager
def collected() -> Iterator[Spans]:
    """Collect the spans of this process meanwhile."""
    exporter = InMemorySpanExporter()
    ours = Tracing(SimpleSpanProcessor(exporter))
    before = tracing.install(ours)
    try:
        yield Spans(exporter)
    finally:
        tracing.install(before)
        ours.close()


class Collector(Receiver):
    """`with Collector() as collector:`, and `OTEL_EXPORTER_OTLP_ENDPOINT` is `collector.url`."""

    @property
    def spans(self) -> list[Told]:
        return [_sent(span) for _, span in self._all()]

    @property
    def services(self) -> set[str]:
        """What the processes call themselves."""
        return {service for service, _ in self._all()}

    def _all(self) -> list[tuple[str, Any]]:
        found = []
        for request in self.received:
            message = ExportTraceServiceRequest()
            message.ParseFromString(request.body)
            for resource in message.resource_spans:
                about = {each.key: each.value.string_value for each in resource.resource.attributes}
                found += [(about["service.name"], span) for scope in resource.scope_spans for span in scope.spans]
        return found


def _ended(span: ReadableSpan) -> Told:
    context = span.get_span_context()
    assert context is not None
    return Told(
        span.name,
        f"{context.trace_id:032x}",
        f"{context.span_id:016x}",
        f"{span.parent.span_id:016x}" if span.parent else "",
        span.kind.name,
        dict(span.attributes or {}),
        tuple(f"{link.context.trace_id:032x}" for link in span.links),
        None if span.status.is_ok or span.status.is_unset else span.status.description,
    )


def _sent(span: Any) -> Told:
    kinds = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
    return Told(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        kinds[span.kind],
        {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes},
        tuple(link.trace_id.hex() for link in span.links),
        span.status.message if span.status.code == 2 else None,
    )
