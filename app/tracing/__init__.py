"""Tracing: spans of what an occasion leads to, for whoever collects them by OpenTelemetry; nothing where nobody does.

One trace is one occasion (app.correlation): its trace id follows from the correlation id, which is with the event, with
what is to be done for it, with the queue's message and with the other site's copy of all that already. So the spans of
the webhook, of the cursor and of the copy, in processes that share nothing but a database, and perhaps not even that,
are in one trace, without a further column, statement or byte in a message. What can not be known that way is the
parent: where the database lies between, a span has none, and a trace has several roots. That is also what it is: the
webhook was answered long ago. A sampler by ratio goes by the trace id, so processes agree about a trace.

Here is no OpenTelemetry: `app.tracing.sdk` is, and is imported only where the environment asks for an exporter.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from app import correlation

if TYPE_CHECKING:
    from app.tracing.sdk import Tracing

log = logging.getLogger(__name__)

Value = str | int | float | bool | None

#: What asks for spans when `OTEL_TRACES_EXPORTER` does not say: a collector that is named. Without one the standard
#: means localhost, and every process that was never told of a collector would look for it there.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

#: Ids that are 128 bits in hexadecimal: ours, a trace's, a UUID.
_TRACE_ID = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}", re.IGNORECASE)


class Headers(Protocol):
    """Those of a request, whatever the case of their names."""

    def get(self, name: str, /) -> str | None: ...


class Span:
    """A span under way; this one is that of nobody who collects any."""

    #: What hands the span on to whom a request is sent.
    headers: Mapping[str, str] = {}

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Note what is known by now; what is None is not."""

    def answered(self, status: int) -> None:
        """Note the status of an answer."""

    def failed(self, reason: str) -> None:
        """Note that it failed: a bounded word, never a message, which may quote what others say."""


_NOTHING = Span()

_tracing: Tracing | None = None


def span(
    name: str, attributes: Mapping[str, Value], passing: tuple[type[BaseException], ...] = ()
) -> AbstractContextManager[Span]:
    """A span of what is done meanwhile. An exception makes it one that failed, unless it is of those in `passing`.

    It is below the span that this code runs in, if that is of the same occasion; else it is a root of its own
    occasion's trace, and linked to that span.
    """
    return _NOTHING if _tracing is None else _tracing.span(name, attributes, passing)


def message(name: str) -> AbstractContextManager[Span]:
    """The span of a message of the queue that is worked off meanwhile."""
    return _NOTHING if _tracing is None else _tracing.message(name)


def served(method: str, route: str, headers: Headers) -> AbstractContextManager[Span]:
    """The span of a request that is answered meanwhile: below its sender's (`traceparent`), if that is of the same
    occasion, else linked to it."""
    return _NOTHING if _tracing is None else _tracing.served(method, route, headers)


def request(method: str, url: str, *, hand_on: bool) -> AbstractContextManager[Span]:
    """The span of a request to somebody else until the head of its answer is there; with `hand_on` its `headers` tell
    him of it. Of the address it has the host, and of a registry what is asked for; a query is never in it, and no path
    that somebody else has chosen."""
    return _NOTHING if _tracing is None else _tracing.request(method, url, hand_on=hand_on)


def trace_id(correlation_id: str) -> int:
    """The id of the trace of an occasion: its own id where that is 128 bits in hexadecimal (a UUID's hyphens do not
    count), else the first 128 bits of its SHA-256."""
    if _TRACE_ID.fullmatch(correlation_id) and (number := int(correlation_id.replace("-", ""), 16)):
        return number
    return int.from_bytes(hashlib.sha256(correlation_id.encode()).digest()[:16])


def asked_for(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for spans, by the standard's variables: a collector or an exporter is named."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter:
        return exporter != "none"
    return any(environ.get(name) for name in _ENDPOINTS)


def configure(environ: Mapping[str, str]) -> None:
    """Collect spans in this process if the environment asks for it. Raises nothing: a span is never worth a copy.

    After the fork of a process that forks: the thread that exports does not survive one.
    """
    global _tracing
    if _tracing is not None or not asked_for(environ):
        return
    try:
        from app.tracing.sdk import Tracing

        _tracing = Tracing.exporting()
    except ImportError:
        log.warning("no spans are collected: install geo-registry[otel], or set OTEL_SDK_DISABLED=true")
    except Exception as error:  # noqa: BLE001 - whatever an exporter finds wrong with its settings
        log.warning("no spans are collected: %s", error)


def install(tracing: Tracing | None) -> Tracing | None:
    """Collect spans by `tracing` from now on, or none; return what did until now."""
    global _tracing
    before, _tracing = _tracing, tracing
    return before


def close() -> None:
    """Export what is left, for as long as a process that ends may wait; nothing is collected any more."""
    tracing = install(None)
    if tracing is not None:
        tracing.close()


def current_trace_id() -> int | None:
    """The id of the trace of the occasion that this code runs for."""
    id_ = correlation.current()
    return None if id_ is None else trace_id(id_)
