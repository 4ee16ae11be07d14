"""A log that is read from tables: what the local one and that of a standby have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from app.models import Event, LogState
from app.replication.log import Reading, Reset, Terms
from app.replication.log.arrivals import Arrivals
from app.replication.log.position import InvalidPosition, Position, mark_of
from app.replication.log.reading import Tables, head, read
from app.replication.scope import Scope
from app.replication.tag_scope import TagScope

#: Seconds between looks at open gaps: what appears there does not make the newest id newer.
GAP_INTERVAL = 0.5

#: Batches read in a row of which nothing is in scope, before the reader is told how far it is.
BATCHES = 20

#: Seconds that a paused site is asked to wait.
PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class _State:
    identity: str
    pruned_to: int
    newest: int


class TableLog(ABC):
    """An `EventLog` over tables, as one site may see it."""

    #: A lower newest id than the reader's may only mean that these tables are behind.
    may_be_behind = False

    def __init__(self, arrivals: Arrivals, alive: Callable[[], bool] = lambda: True) -> None:
        self._arrivals = arrivals
        self._alive = alive

    @property
    @abstractmethod
    def tables(self) -> Tables:
        """Where the events are."""

    @abstractmethod
    def connected(self) -> AbstractContextManager[None]:
        """A connection to them; none is held while waiting."""

    @abstractmethod
    def log_state(self) -> LogState:
        """The log's own row."""

    @abstractmethod
    def terms(self) -> Terms:
        """What holds for the site now."""

    def read(self, position: str | None, *, limit: int, wait: float = 0.0) -> Reading:
        """As `EventLog.read`."""
        deadline = time.monotonic() + wait
        with self.connected():
            terms, known = self.terms(), self._state()
            start = self._start(position, known)
            if isinstance(start, Reading):
                return replace(start, terms=terms)
        while True:
            reading, start = self._look(start, limit)
            done = reading.events or reading.retry_after or time.monotonic() >= deadline
            if done or not self._alive():
                return reading
            self._wait(start, reading.newest_event_id, deadline)

    def leads_on(self, position: Position) -> bool:
        """Whether this log can be read on from there, with nothing missed."""
        with self.connected():
            return self._lost(position, self._state()) is None

    def _look(self, position: Position, limit: int) -> tuple[Reading, Position]:
        with self.connected():
            # Asked anew at each look: the scope may have been narrowed while we waited.
            terms = self.terms()
            if terms.paused:
                newest = max(self._state().newest, position.last)
                return Reading((), position.encode(), position.last, newest, terms, retry_after=PAUSE), position
            scope, tags, events = Scope(terms.repositories), TagScope(terms.tags), list[Event]()
            for _ in range(BATCHES):
                batch = read(position, limit, self.tables)
                position = batch.position
                events = [
                    event
                    for event in batch.events
                    if scope.covers(event.container_repository.path) and (event.tag is None or tags.covers(event.tag))
                ]
                if events or not batch.moved:
                    break
            newest = max(self._state().newest, position.last)
        return Reading(events, position.encode(), position.last, newest, terms), position

    def _wait(self, position: Position, newest: int, deadline: float) -> None:
        """Until there is something to read, or it is time to look at gaps, or to answer."""
        while newest <= position.last and self._alive() and (remaining := deadline - time.monotonic()) > 0:
            if self._arrivals.wait(position.last, min(remaining, GAP_INTERVAL)) or position.gaps:
                return

    def _start(self, text: str | None, known: _State) -> Position | Reading:
        """Where to read on; or, with nothing to read on from, the end of the log and why."""
        if text is None:
            return self._end(known, None)
        try:
            position = Position.decode(text)
        except InvalidPosition as error:
            return self._end(known, Reset("unreadable", f"{error}"))
        reset = self._lost(position, known)
        return position if reset is None else self._end(known, reset)

    def _end(self, known: _State, reset: Reset | None) -> Reading:
        position = head(self.tables, pruned_to=known.pruned_to, log=known.identity)
        return Reading((), position.encode(), position.last, max(known.newest, position.last), reset=reset)

    def _lost(self, position: Position, known: _State) -> Reset | None:
        if position.log != known.identity:
            return Reset("another_log", "the primary has another event log than the one read so far")
        if min([position.last, *(gap - 1 for gap in position.gaps)]) < known.pruned_to:
            return Reset(
                "pruned", f"the event log was pruned up to {known.pruned_to}, and was read up to {position.last}"
            )
        rewritten = Reset("rewritten", "the primary's event log is older than what was read: it was restored")
        if position.last > max(known.newest, known.pruned_to):
            return None if self.may_be_behind else rewritten
        if not position.mark:
            return None
        ends_with = self.tables.bind(Event.select().where(Event.id == position.last)).first()
        if ends_with is None:
            # Not replayed yet, or pruned meanwhile; or of a restored log, in which that id was drawn and given up.
            return None if self.may_be_behind or position.last <= self.log_state().pruned_to else rewritten
        return None if mark_of(ends_with.event_key) == position.mark else rewritten

    def _state(self) -> _State:
        newest = self.tables.bind(Event.select(Event.id).order_by(Event.id.desc()).limit(1)).first()
        # Asked last: what is pruned in between is then known to be.
        state = self.log_state()
        return _State(state.identity, state.pruned_to, newest.id if newest else state.pruned_to)
