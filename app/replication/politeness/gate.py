"""Gate: the limiter of one registry in one process. It costs a counter until the registry asks us to slow down."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.registry import Quota, RateLimited, Stopped
from app.registry.answers import retry_after
from app.registry.connections import Deadline
from app.registry.limits import is_bulk
from app.replication.copying.lanes import LARGE
from app.replication.politeness.board import Board, Taken
from app.replication.politeness.limit import Limit
from app.replication.politeness.line import Line, Place
from app.replication.politeness.throttle import LEAST, Kind, Signal, Throttle, large_share

#: Seconds that a request waits for a slot or the end of a pause before its row is put off instead.
PATIENCE = 30.0

#: Seconds after which a request that found no slot in time is worth another try.
TRY_AGAIN = 5.0

#: Seconds between two looks of who is first in line at the slots that all processes share, and of everybody at
#: whether to stop.
_POLL, _SLICE = 0.03, 0.2

#: Seconds of the pause where a registry has nothing left and does not say for how long.
FLOOR_PAUSE = 300.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator has set for a registry, and how many processes there are of us."""

    #: Requests at once from each process, and from all of them together once the registry has asked us to slow down.
    maximum: int = 64
    #: Requests that are left to others when a registry says how many it still takes; 0 does not look.
    floor: int = 0
    processes: int = 1


class Pass:
    """A permit of a gate."""

    __slots__ = ("_gate", "began", "large", "released", "slot", "waited")

    def __init__(self, gate: Gate, slot: str, large: bool, waited: float) -> None:
        self._gate = gate
        self.slot = slot
        self.large = large
        self.waited = waited
        self.began = 0.0
        self.released = False

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        self._gate.answered(self, status, headers)

    def release(self) -> None:
        if not self.released:
            self.released = True
            self._gate.leave(self)


class Gate:
    """Lets a registry's maximum through until it answers 429 or 503, or is near the end of its quota.

    Then the lower limit, and the pause that it may ask for, hold for all processes, by the board; for this one alone
    where there is none or it does not answer. `name` is for people; `note` is told of each kind of throttling. `stop`
    ends the waiting.
    """

    #: A 429 in the middle of a sync is waited out, where the wait is not long.
    resends = 2

    def __init__(
        self,
        name: str,
        terms: Terms,
        *,
        process: str,
        board: Board | None = None,
        note: Callable[[str], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
        began: Callable[[], None] = lambda: None,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._terms = terms
        self._board = board
        self._note = note
        self._stop = stop
        #: Called once, by the first request.
        self._began: Callable[[], None] | None = began
        self._starting = threading.Lock()
        self._patience = patience
        self._clock = clock
        self._process = process
        self._numbers = itertools.count()
        self._changed = threading.Condition(threading.Lock())
        self._line = Line()
        self._passes: set[Pass] = set()
        self._large = 0
        self._limit = Limit(name, terms.maximum, self._changed, board=board, clock=clock)

    # --- the limiter ------------------------------------------------------------------------------------------------

    def enter(self, size: int | None, deadline: Deadline | None = None, waited: float = 0.0) -> Pass:
        """Return a permit: at once where nothing is throttled and the maximum not reached."""
        large = size is None or size >= LARGE
        asked = Pass(self, f"{self._process}:{next(self._numbers)}", large, waited)
        if self._began is not None:
            # A process that has just been started must not run into a pause that the others know of, nor may any of its
            # threads while the first one asks.
            with self._starting:
                if self._began is not None:
                    self.look()
                    self._began()
                    self._began = None
        with self._changed:
            if self._limit.throttle is None and not self._line and self._fits(large, self._terms.maximum):
                self._admit(asked)
                return asked
        self._wait(asked, deadline)
        return asked

    def roomy(self) -> bool:
        """Tell whether the registry has not asked us to slow down."""
        return self._limit.throttle is None

    def answered(self, asked: Pass, status: int, headers: Mapping[str, str]) -> None:
        """Learn from an answer's head whether the registry wants less."""
        kind: Kind | None = None
        wait: float | None = None
        if status in (429, 503):
            kind = "429" if status == 429 else "503"
            wait = retry_after(headers.get("Retry-After"))
        elif self._terms.floor:
            quota = Quota.read(headers)
            if quota is not None and quota.remaining < self._terms.floor:
                kind = "floor"
                wait = FLOOR_PAUSE if quota.reset is None else quota.reset
        if kind is not None:
            self._note(kind)
            if self._limit.lower(Signal(kind, wait, self._clock() - asked.began, max(len(self._passes), 1))):
                self._keep()
        elif self._limit.throttle is not None:
            self._limit.grow()

    def leave(self, asked: Pass) -> None:
        """Take a permit back."""
        with self._changed:
            self._passes.discard(asked)
            self._large -= asked.large
            throttled = self._limit.throttle is not None
            if throttled or self._line:
                self._changed.notify_all()
        if throttled and self._board is not None:
            self._board.drop(asked.slot)

    # --- the keeper -------------------------------------------------------------------------------------------------

    @property
    def throttle(self) -> Throttle | None:
        """The throttle that holds now, if any."""
        return self._limit.throttle

    @property
    def pause(self) -> float:
        """Seconds for which nothing is sent."""
        return self._limit.pause

    @property
    def in_flight(self) -> int:
        """Exchanges of this process that are under way."""
        return len(self._passes)

    def look(self) -> None:
        """Take over what all processes know, and keep the slots that are in use here."""
        if self._limit.look():
            self._keep()

    def _keep(self) -> None:
        if self._board is None:
            return
        with self._changed:
            kept = list(self._passes)
        self._board.keep([one.slot for one in kept if not one.large], [one.slot for one in kept if one.large])
        with self._changed:
            gone = [one.slot for one in kept if one not in self._passes]
        self._board.drop(*gone)

    # --- waiting ----------------------------------------------------------------------------------------------------

    def _wait(self, asked: Pass, deadline: Deadline | None) -> None:
        came = self._clock()
        patience = max(self._patience - asked.waited, 0.0)
        ends = came + (patience if deadline is None else min(patience, deadline.remaining))
        place = Place.of(came, next(self._numbers), large=asked.large, bulk=is_bulk())
        with self._changed:
            self._line.join(place)
        try:
            while not self._turn(asked, place, ends):
                pass
        except RateLimited:
            self._note("refused")
            raise
        finally:
            with self._changed:
                self._line.leave(place)
                self._changed.notify_all()
        asked.waited += self._clock() - came
        self._note("waited")

    def _turn(self, asked: Pass, place: Place, ends: float) -> bool:
        """Wait for a moment, or for as long as it is not this one's turn; True once it is admitted."""
        with self._changed:
            now = self._clock()
            self._check(now, ends)
            pause = self.pause
            if pause > 0:
                self._changed.wait(min(pause, _SLICE))
                return False
            alone = self._limit.alone
            if alone and self._next(place):
                self._admit(asked)
                return True
            if alone or not self._line.first(place):
                self._changed.wait(min(max(ends - now, 0.001), _SLICE))
                return False
        return self._take(asked, place)

    def _take(self, asked: Pass, place: Place) -> bool:
        assert self._board is not None
        taken = self._board.take(asked.slot, large=asked.large, since=self._clock() - place.rank)
        with self._changed:
            if taken is None:
                self._limit.adrift = True
            elif taken is Taken.YES:
                self._admit(asked)
                return True
            elif taken is Taken.FULL:
                self._changed.wait(_POLL)
        if taken in (Taken.FREE, Taken.PAUSED):
            # Not what we know.
            self.look()
            with self._changed:
                if self._limit.throttle is not None and not self.pause:
                    # Nor what is told when asked: not at full speed, whatever the reason.
                    self._changed.wait(_POLL)
        return False

    def _check(self, now: float, ends: float) -> None:
        if self._stop():
            raise Stopped(f"the process has to end, and the {self.name} registry takes no request now")
        pause = self.pause
        if now + pause <= ends and now < ends:
            return
        if pause > 0:
            raise RateLimited(
                f"the {self.name} registry has asked us to pause for another {pause:.0f} s",
                retry_after=max(pause, 1.0),
            )
        raise RateLimited(
            f"no request to the {self.name} registry could be sent in time: its limit is used up by others",
            retry_after=TRY_AGAIN,
        )

    def _next(self, place: Place) -> bool:
        """Tell whether this one may go by what is under way here, leaving a slot to each kind that is before it."""
        limit = self._terms.maximum
        if self._limit.throttle is not None:
            limit = max(LEAST, self._limit.throttle.limit // self._terms.processes)
        room = 0
        for other in self._line.ahead(place):
            if other.large == place.large:
                return False
            room = max(room, int(self._fits(other.large, limit)))
        return self._fits(place.large, limit - room)

    def _fits(self, large: bool, limit: int) -> bool:
        if len(self._passes) >= limit:
            return False
        return not large or self._large < large_share(limit)

    def _admit(self, asked: Pass) -> None:
        self._passes.add(asked)
        self._large += asked.large
        asked.began = self._clock()
