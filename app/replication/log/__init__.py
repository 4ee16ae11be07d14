"""The event log as its readers see it: one interface, and a reader for each place where the log can be.

`local` reads the tables of this deployment, `feed` asks the primary's deployment over HTTP, `replica` reads a standby
of the primary's PostgreSQL. A position of one means the same to the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.models import Event
from app.registry.listing import CatalogPage
from app.settings import Deletion, VerificationLevel


@dataclass(frozen=True, slots=True)
class Terms:
    """What the primary's deployment says of the site that reads: its name, its scope, and what is asked of it."""

    name: str
    #: Allow and deny patterns; what they do not cover is not told.
    repositories: tuple[str, ...] = ()
    paused: bool = False
    #: When the primary last asked for a reconcile, to be compared only, and why.
    reconcile: str | None = None
    reconcile_reason: str | None = None
    #: Allow and deny patterns of tags; likewise.
    tags: tuple[str, ...] = ()
    #: Repositories that the site syncs at once at most; None: the primary does not limit it.
    capacity: int | None = None
    #: The most that the site may delete, and patterns of tags that it may not; None: that is left to it.
    deletion: Deletion | None = None
    protected_tags: tuple[str, ...] = ()
    #: As far as what it copies is verified at least; None: that is left to it.
    verification: VerificationLevel | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """The position leads nowhere: events may have been missed, and a backfill has to find what they told of."""

    #: `pruned`, `another_log`, `rewritten` or `unreadable`.
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at a log gave. Events carry their `container_repository`, which need not be a row of ours."""

    events: Sequence[Event]
    #: To be handed back for what follows.
    position: str
    #: The last id up to which the log is read now, and the newest that there is.
    last_event_id: int
    newest_event_id: int
    terms: Terms | None = None
    reset: Reset | None = None
    #: Seconds to wait before asking again, where the log could not wait for us.
    retry_after: float = 0.0


class EventLog(Protocol):
    """A log that can be read from any position on, by as many as like. Shared by threads."""

    def read(self, position: str | None, *, limit: int, wait: float = 0.0) -> Reading:
        """The next events, at most `limit`; without a position none, and where the log ends now.

        While there are none it waits, for `wait` seconds at most.

        Raises:
            LogUnavailable: when the log cannot be read now.
        """
        ...


class Catalog(Protocol):
    """Whatever lists the primary's repositories, page by page: its registry, or its deployment."""

    def catalog(self, page_size: int = 0, after: str | None = None) -> Iterator[CatalogPage]:
        """From the beginning, or from where an earlier page said that it goes on. `page_size` is a wish.

        Raises:
            RegistryError: when it breaks off.
        """
        ...


class LogUnavailable(Exception):
    """The log could not be read. The message says what a person can check; trying again may help."""

    def __init__(self, message: str, reason: str = "unavailable", retry_after: float | None = None) -> None:
        super().__init__(message)
        #: Bounded, for metrics.
        self.reason = reason
        self.retry_after = retry_after
