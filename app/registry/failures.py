"""A broken exchange, read into the right error: the cause is three wrappers deep, and the message should name it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import requests
import urllib3.exceptions

from app.registry.connections import Deadline
from app.registry.errors import InvalidResponse, RegistryError, TimedOut, TLSFailed, Unreachable


def unreachable(error: BaseException, method: str, url: str, deadline: Deadline | None = None) -> RegistryError:
    """Build the error that a broken exchange stands for, with the innermost cause in its message."""
    if deadline is not None and deadline.expired:
        return TimedOut(f"no whole answer within {deadline.seconds:g} s", method=method, url=url)
    chain = list(causes(error))
    for kind, describe in _CAUSES:
        for cause in chain:
            if isinstance(cause, kind):
                failure, message, reason = describe(cause)
                return failure(message, reason=reason, method=method, url=url)
    last = chain[-1]
    message = f"the connection broke off: {type(last).__name__}: {last}"
    return Unreachable(message, reason="connection_lost", method=method, url=url)


_Description = tuple[type[RegistryError], str, str | None]

#: What is told of a broken exchange, by the first of these that is among its causes.
_CAUSES: tuple[tuple[Any, Callable[[Any], _Description]], ...] = (
    # The library's words quote what it does not like: a header would be our token.
    (requests.exceptions.InvalidHeader, lambda _: (InvalidResponse, "a header that cannot be sent", None)),
    (requests.exceptions.InvalidURL, lambda _: (InvalidResponse, "a URL that cannot be asked", None)),
    (socket.gaierror, lambda cause: (Unreachable, f"its name does not resolve: {cause.strerror}", "dns")),
    (
        ssl.SSLCertVerificationError,
        lambda cause: (TLSFailed, f"its certificate is not trusted: {cause.verify_message}", None),
    ),
    (
        (ssl.SSLEOFError, ssl.SSLZeroReturnError),
        lambda _: (Unreachable, "the connection broke off", "connection_lost"),
    ),
    (ssl.SSLError, lambda cause: (TLSFailed, f"TLS failed: {cause.reason or cause}", None)),
    (ConnectionRefusedError, lambda _: (Unreachable, "connection refused", None)),
    (
        # Not urllib3's base class for them: there, a refused connection is one.
        (TimeoutError, requests.Timeout, urllib3.exceptions.ReadTimeoutError),
        lambda _: (TimedOut, "no answer in time", None),
    ),
)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to what it wraps; requests and urllib3 hide the cause in three different places."""
    seen: set[int] = set()
    pending: list[BaseException] = [error]
    while pending:
        cause = pending.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = [getattr(cause, "reason", None), *cause.args, cause.__cause__, cause.__context__]
        pending += [each for each in inner if isinstance(each, BaseException)]
