"""Correlation: one id for all that an occasion leads to: request, events, their copies, what registries are asked.

It travels with the context of the code that runs (and so into threads that work is handed to), with a row where the
database lies between, and with a message where only the queue does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

#: The header that brings the id, and hands it on. GitLab, nginx, Heroku and Envoy call it so.
HEADER = "X-Request-ID"

#: What we take from others: any usual form of an id, and nothing that could be more than that in a log or a header.
_ACCEPTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")

#: The header of W3C Trace Context, of which version the first four fields stand for ever.
TRACE_HEADER = "traceparent"
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")

_correlation: ContextVar[str | None] = ContextVar("correlation_id", default=None)
_job: ContextVar[str | None] = ContextVar("job_id", default=None)

Bound = tuple[Token[str | None], Token[str | None]]


def new() -> str:
    """A fresh id: 32 hexadecimal digits."""
    return os.urandom(16).hex()


def accepted(text: object) -> str | None:
    """The id that somebody else has given, if it is one; None otherwise."""
    return text if isinstance(text, str) and _ACCEPTED.fullmatch(text) else None


def traced(text: object) -> str | None:
    """The id of the trace that somebody else's `traceparent` names, if it is one: a caller who gives no other id has
    that with all that he led to, and spans of it are in his trace (app.tracing)."""
    found = _TRACEPARENT.fullmatch(text) if isinstance(text, str) else None
    return found[1] if found else None


def current() -> str | None:
    """The id of the occasion that this code runs for; None where there is none."""
    return _correlation.get()


def job() -> str | None:
    """The id of the queue's message that this code runs for; None outside a worker."""
    return _job.get()


def bind(correlation_id: str | None, job_id: str | None = None) -> Bound:
    """Run for this occasion from now on, until `release`."""
    return _correlation.set(correlation_id), _job.set(job_id)


def release(bound: Bound) -> None:
    """Run for what was the occasion before."""
    _correlation.reset(bound[0])
    _job.reset(bound[1])


@contextmanager
def bound(correlation_id: str | None) -> Iterator[None]:
    """Run for this occasion meanwhile; None keeps the one there is."""
    if correlation_id is None:
        yield
        return
    token = _correlation.set(correlation_id)
    try:
        yield
    finally:
        _correlation.reset(token)
