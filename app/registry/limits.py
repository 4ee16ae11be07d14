"""Limits: the seam where whoever owns a client decides how many requests a registry gets at once, and how fast."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from app.registry.connections import Deadline

#: Told of the bytes of blobs as they come or go; it returns when so many more may follow, or raises `Stopped`.
Meter = Callable[[int], None]

#: The longest that the reset of a quota is believed to be away, in seconds.
RESET_LIMIT = 3600.0

#: Above this a reset is an instant and not a span: seconds since 1970, as of 2001.
_INSTANT = 1_000_000_000.0

_NUMBER = re.compile(r"\s*([0-9]{1,15})(?:\.[0-9]*)?\s*(?:[;,].*)?", re.DOTALL)


class Permit(Protocol):
    """The right to one exchange with a registry: request, answer and the answer's body."""

    @property
    def waited(self) -> float:
        """Seconds that it took to get it."""

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Say what the registry (or who acts for it) answered: once for each answer, after the release too."""

    def release(self) -> None:
        """Give it back; a second time does nothing."""


class Limiter(Protocol):
    """Gives permits. Shared by threads."""

    @property
    def resends(self) -> int:
        """How often a request that was answered with 429 may be sent again, each with a permit of its own."""

    def enter(self, size: int | None, deadline: Deadline | None = None, waited: float = 0.0) -> Permit:
        """Return a permit, waiting for it within bounds.

        `size` is how many bytes of a blob the exchange carries, None if nobody knows. `waited` are the seconds that
        the same request has waited already. Raises `RateLimited` when it takes too long, `Stopped` when told to stop.
        """

    def roomy(self) -> bool:
        """Tell whether exchanges that could be done without are welcome now."""


class NoLimit:
    """Lets everything through at once. A limiter and its own permit."""

    resends = 0
    waited = 0.0

    def enter(self, size: int | None, deadline: Deadline | None = None, waited: float = 0.0) -> NoLimit:  # noqa: ARG002
        """Return at once."""
        return self

    def roomy(self) -> bool:
        """Return True."""
        return True

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What a registry says is left of a number of requests in some span of time."""

    remaining: int
    #: Seconds until it is renewed, None if the registry does not say.
    reset: float | None = None

    @classmethod
    def read(cls, headers: Mapping[str, str], now: float | None = None) -> Quota | None:
        """Read the headers of an answer; None if they say nothing, or nothing that can be read.

        `RateLimit-Remaining: 76;w=21600` (Docker Hub), `RateLimit-Remaining` with `RateLimit-Reset` in seconds (IETF
        draft-ietf-httpapi-ratelimit-headers, to 05), and both with `X-` before them, where the reset is often an
        instant in seconds since 1970. `now` is that instant of the answer.
        """
        for prefix in ("RateLimit-", "X-RateLimit-"):
            remaining = _number(headers.get(prefix + "Remaining"))
            if remaining is None:
                continue
            reset = _number(headers.get(prefix + "Reset"))
            if reset is not None and reset >= _INSTANT:
                reset -= time.time() if now is None else now
            return cls(int(remaining), None if reset is None else min(max(reset, 0.0), RESET_LIMIT))
        return None


_bulk: ContextVar[bool] = ContextVar("bulk", default=False)


@contextlib.contextmanager
def bulk() -> Iterator[None]:
    """Let what this thread asks of registries meanwhile come after what somebody waits for, where there is a queue.

    It does not reach other threads that work is handed to (`always_bulk` is for those).
    """
    token = _bulk.set(True)
    try:
        yield
    finally:
        _bulk.reset(token)


def always_bulk() -> None:
    """Be in `bulk` from now on: the initializer of a pool's threads."""
    _bulk.set(True)


def is_bulk() -> bool:
    """Tell whether this thread is in `bulk`."""
    return _bulk.get()


def metered(chunks: Iterable[bytes], meter: Meter | None) -> Iterable[bytes]:
    """Hand the chunks on as fast as the meter lets them pass."""
    if meter is None:
        return chunks
    return _metered(chunks, meter)


def _metered(chunks: Iterable[bytes], meter: Meter) -> Iterator[bytes]:
    for chunk in chunks:
        meter(len(chunk))
        yield chunk


def _number(value: str | None) -> float | None:
    match = _NUMBER.fullmatch(value) if value else None
    return None if match is None else float(match[1])
