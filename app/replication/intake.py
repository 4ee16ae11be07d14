"""The intake: envelopes that come at the same time are written in one transaction, and each is answered after it.

A commit waits for the disk, and so did everybody behind it. Nothing is answered before it is written, and nobody waits
for company: who finds nobody writing writes at once, and what comes meanwhile is written together after that.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from peewee import InterfaceError, OperationalError

from app import correlation
from app.database import DatabaseUnavailable
from app.notifications import Quarantined, RegistryEvent
from app.replication import event_log
from app.replication.event_log import Origin, Stored

#: Events of an envelope that is written in company; a larger one would keep the others waiting.
SMALL = 20

#: Events in one transaction at most.
TOGETHER = 100

#: What says something of the database, and not of what is to be written: all of them would meet it again.
_AWAY = (DatabaseUnavailable, OperationalError, InterfaceError)


@dataclass(eq=False, slots=True)
class _Envelope:
    events: Sequence[RegistryEvent]
    #: The occasion of whoever brought it.
    correlation: str | None
    #: Held until it was seen to, or is to see to the others.
    told: threading.Lock = field(default_factory=threading.Lock)
    stored: Stored | None = None
    error: Exception | None = None
    leads: bool = False


class Intake:
    """Of one process; shared by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Envelope] = []
        self._writing = False

    def store(self, events: Sequence[RegistryEvent], unreadable: Sequence[Quarantined], origin: Origin) -> Stored:
        """Write an envelope, each event once, and return when it is written.

        Raises:
            DatabaseUnavailable, peewee.PeeweeException: when it could not be; the registry has to send it again.
        """
        if unreadable or not 0 < len(events) <= SMALL:
            return event_log.store(events, unreadable, origin)
        envelope = _Envelope(events, correlation.current())
        envelope.told.acquire()
        with self._lock:
            self._waiting.append(envelope)
            envelope.leads, self._writing = not self._writing, True
        if not envelope.leads:
            envelope.told.acquire()
        if envelope.leads:
            self._write(envelope)
        if envelope.error is not None:
            raise envelope.error
        # Something was wrong with one of them: each finds out by itself with which.
        return envelope.stored or event_log.store(events, unreadable, origin)

    def _write(self, own: _Envelope) -> None:
        """Write what waits, our own with it, and have the next see to what has come meanwhile."""
        with self._lock:
            together = self._take(own)
        try:
            _store(together)
        except _AWAY as error:
            for envelope in together:
                envelope.error = error
        except Exception as error:  # noqa: BLE001 - it is raised where it belongs
            if len(together) == 1:
                own.error = error
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._writing = following is not None
            for envelope in together:
                if envelope is not own:
                    envelope.told.release()
            if following is not None:
                following.leads = True
                following.told.release()

    def _take(self, own: _Envelope) -> list[_Envelope]:
        taken, count = [own], len(own.events)
        for envelope in self._waiting:
            if envelope is not own and count + len(envelope.events) <= TOGETHER:
                taken.append(envelope)
                count += len(envelope.events)
        self._waiting = [envelope for envelope in self._waiting if envelope not in taken]
        return taken


def _store(envelopes: Sequence[_Envelope]) -> None:
    occasions: dict[str, str | None] = {}
    for envelope in envelopes:
        for event in envelope.events:
            occasions.setdefault(event.id, envelope.correlation)
    new = event_log.store_together([event for each in envelopes for event in each.events], occasions)
    for envelope in envelopes:
        # The same event in two of them is new in the first.
        mine = {event.id for event in envelope.events} & new
        new -= mine
        envelope.stored = Stored(len(mine), len(envelope.events) - len(mine))
