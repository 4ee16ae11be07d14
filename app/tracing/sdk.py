"""The one module that knows OpenTelemetry: makes spans by its SDK, and exports them as its variables say."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import INVALID_SPAN_CONTEXT, Link, SpanContext, SpanKind, Status, StatusCode

from app import correlation
from app.tracing import Headers, Span, Value, current_trace_id

#: Seconds that a process which ends waits for a collector: well below what is left to it before it is killed.
CLOSE_TIMEOUT = 3.0

#: What is asked of a registry, in its standard's words. Only what is below /v2/ and of such a form: other paths (an
#: upload's, a storage's) are chosen by others and may hold what gives a right.
_ASKED = re.compile(
    r"(?:/[^?#]*)?/v2/(?P<name>[a-z0-9/._-]+)/(?:"
    r"(?P<manifests>manifests)/(?P<reference>[A-Za-z0-9_][\w.+:-]{0,200})"
    r"|(?P<blobs>blobs)/(?P<digest>[a-z0-9+._-]+:[0-9a-fA-F]+)"
    r"|(?P<uploads>blobs/uploads)/(?:[^/]+)?"
    r"|(?P<tags>tags)/list"
    r"|(?P<referrers>referrers)/(?P<subject>[a-z0-9+._-]+:[0-9a-fA-F]+)"
    r")"
)
_TEMPLATES = {
    "manifests": "/v2/<name>/manifests/<reference>",
    "blobs": "/v2/<name>/blobs/<digest>",
    "uploads": "/v2/<name>/blobs/uploads/<session>",
    "tags": "/v2/<name>/tags/list",
    "referrers": "/v2/<name>/referrers/<digest>",
}


class _Ids(RandomIdGenerator):
    """A root's trace is that of its occasion."""

    def generate_trace_id(self) -> int:
        return current_trace_id() or super().generate_trace_id()

    def is_trace_id_random(self) -> bool:
        # Of an id that somebody else has given nobody knows.
        return False


class _Reading(Getter[Headers]):
    """How propagators read a request's headers."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        value = carrier.get(key)
        return None if value is None else [value]

    def keys(self, carrier: Headers) -> list[str]:  # noqa: ARG002 - of the interface
        return []


class Recording(Span):
    """A span that is collected."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self.headers: dict[str, str] = {}

    def note(self, attributes: Mapping[str, Value]) -> None:
        self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})

    def answered(self, status: int) -> None:
        self.note({"http.response.status_code": status})
        # Below that an answer is one: that something is not there, or that we should say who we are.
        if status >= 500 or status == 429:
            self.failed(str(status))

    def failed(self, reason: str) -> None:
        self.note({"error.type": reason})
        self._span.set_status(Status(StatusCode.ERROR, reason))

    def hand_on(self) -> None:
        """Have the headers tell of this span, in the forms of `OTEL_PROPAGATORS`."""
        propagate.inject(self.headers, trace.set_span_in_context(self._span, Context()))


class Tracing:
    """Makes the spans of a process. Not OpenTelemetry's global provider: what other libraries would tell of their
    requests has not been looked at for secrets."""

    def __init__(self, processor: SpanProcessor) -> None:
        # Sampler, limits and resource are read from the environment by the SDK itself.
        resource = Resource.create()
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "geo-registry"}))
        self._provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("geo-registry")

    @classmethod
    def exporting(cls) -> Tracing:
        """Export by OTLP over HTTP, as the environment of this process says.

        Raises:
            ImportError: the extra is not installed.
            ValueError: another exporter or protocol is asked for, or a setting cannot be read.
        """
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
        if exporter != "otlp":
            raise ValueError(f"OTEL_TRACES_EXPORTER is {exporter!r}; there are otlp and none")
        names = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
        protocol = next((value for name in names if (value := os.environ.get(name))), "http/protobuf")
        if protocol != "http/protobuf":
            raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; there is http/protobuf alone")
        return cls(BatchSpanProcessor(OTLPSpanExporter()))

    def close(self) -> None:
        """Export what is left, within `CLOSE_TIMEOUT`."""
        # The SDK would wait half a minute for a collector that does not answer.
        closing = threading.Thread(target=self._provider.shutdown, name="tracing", daemon=True)
        closing.start()
        closing.join(CLOSE_TIMEOUT)

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Mapping[str, Value],
        passing: tuple[type[BaseException], ...] = (),
        kind: SpanKind = SpanKind.INTERNAL,
        sender: SpanContext = INVALID_SPAN_CONTEXT,
    ) -> Iterator[Recording]:
        """A span below `sender`, or else the current one, if that is of the same occasion; else a linked root."""
        around = sender if sender.is_valid else trace.get_current_span().get_span_context()
        ours = current_trace_id()
        context, links = trace.set_span_in_context(trace.NonRecordingSpan(around), Context()), []
        if around.is_valid and ours not in (None, around.trace_id):
            context, links = Context(), [Link(around)]
        span = self._tracer.start_span(
            name, context, kind, links=links, record_exception=False, set_status_on_exception=False
        )
        recording = Recording(span)
        recording.note({"geo.correlation_id": correlation.current(), **attributes})
        # What an exception says is not told: it may quote a registry, or an address.
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield recording
            except passing:
                raise
            except BaseException as error:
                reason = getattr(error, "reason", None)
                recording.failed(reason if isinstance(reason, str) else type(error).__name__)
                raise

    @contextmanager
    def message(self, name: str) -> Iterator[Recording]:
        """The span of a message of the queue."""
        about = {"messaging.system": "dramatiq", "messaging.operation.name": name}
        with self.span(name, about, kind=SpanKind.CONSUMER) as recording:
            yield recording

    @contextmanager
    def served(self, method: str, route: str, headers: Headers) -> Iterator[Recording]:
        """The span of a request to us."""
        sender = trace.get_current_span(propagate.extract(headers, Context(), _Reading())).get_span_context()
        about = {"http.request.method": method, "http.route": route}
        with self.span(f"{method} {route}", about, kind=SpanKind.SERVER, sender=sender) as recording:
            yield recording

    @contextmanager
    def request(self, method: str, url: str, *, hand_on: bool) -> Iterator[Recording]:
        """The span of a request of ours."""
        about, asked = _address(url)
        with self.span(
            f"{method} {asked}" if asked else method, {"http.request.method": method, **about}, kind=SpanKind.CLIENT
        ) as recording:
            if hand_on:
                recording.hand_on()
            yield recording


def _address(url: str) -> tuple[dict[str, Value], str | None]:
    """What may be told of an address, and the form of what is asked of a registry there."""
    parts = urlsplit(url)
    about: dict[str, Value] = {
        "server.address": parts.hostname,
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        "url.scheme": parts.scheme,
    }
    match = _ASKED.fullmatch(parts.path)
    if match is None:
        return about, None
    found = match.groupdict()
    template = next(template for kind, template in _TEMPLATES.items() if found[kind])
    reference = found["reference"] or found["digest"] or found["subject"]
    return about | {"url.template": template, "geo.repository": found["name"], "geo.reference": reference}, template
