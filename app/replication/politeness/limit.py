"""Limit: what one process knows of how much a registry takes now, and what it learns of that."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from app.replication.politeness.board import Board, Seen
from app.replication.politeness.throttle import INTERVAL, Signal, Throttle, joined, lowered

log = logging.getLogger(__name__)


class Limit:
    """The throttle of one registry, agreed on by all processes through the board, or this one's alone without it.

    `name` is for people. `changed` is notified of each change, and its lock taken for it: no caller may hold that.
    """

    def __init__(
        self,
        name: str,
        maximum: int,
        changed: threading.Condition,
        *,
        board: Board | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: What holds now, if anything.
        self.throttle: Throttle | None = None
        #: It has been changed here alone, since Redis did not answer.
        self.adrift = False
        self._name = name
        self._maximum = maximum
        self._changed = changed
        self._board = board
        self._clock = clock
        #: What the throttle's clock is ahead of ours.
        self._ahead = 0.0
        self._told_at = float("-inf")
        #: How often the board's word has been taken.
        self._told = 0
        self._raise_at = 0.0

    @property
    def pause(self) -> float:
        """Seconds for which nothing may be sent."""
        throttle = self.throttle
        return 0.0 if throttle is None else throttle.pause(self._now())

    @property
    def alone(self) -> bool:
        """Whether it is for this process to say who goes next."""
        return self.throttle is None or self._board is None or self.adrift

    def look(self) -> bool:
        """Take over what all processes know; tell whether the board says that there is a limit."""
        board = self._board
        if board is None:
            return False
        told = self._told
        if self.adrift:
            ours = self.throttle
            # By their clock: what was paused by ours goes on for as long by theirs.
            seen = board.change(lambda found, now: joined(found, ours and ours.moved(now - self._now())))
        else:
            seen = board.look()
            if seen is not None and seen.throttle is not None and seen.throttle.settled(seen.now) != seen.throttle:
                seen = board.change(lambda found, now: found and found.settled(now))
        if seen is None:
            self.adrift = self.throttle is not None
            return False
        self.adrift = False
        self._adopt(seen, told)
        return seen.throttle is not None

    def lower(self, signal: Signal) -> bool:
        """The registry asked for less; tell whether the board knows of it."""
        # Here first: all threads of this process stop at once, and whatever Redis does.
        before, paused = self.throttle, self.pause
        now = self._now()
        self._adopt(Seen(lowered(before, signal, now), now))
        if self._board is not None:
            told = self._told
            seen = self._board.change(lambda found, instant: lowered(found, signal, instant))
            self.adrift = seen is None
            if seen is not None:
                self._adopt(seen, told)
        throttle = self.throttle
        if throttle is not None and (before is None or before.limit != throttle.limit or self.pause > paused + 1.0):
            until = datetime.now(UTC) + timedelta(seconds=self.pause)
            log.warning(
                "the %s registry asks us to slow down",
                self._name,
                extra={"why": signal.kind, "limit": throttle.limit, "paused_until": f"{until:%Y-%m-%dT%H:%M:%SZ}"},
            )
        return self._board is not None and not self.adrift

    def grow(self) -> None:
        """All is well: a step up, when one is due."""
        now = self._clock()
        if now < self._raise_at:
            return
        self._raise_at = now + INTERVAL / 2
        maximum = self._maximum
        if self._board is not None and not self.adrift:
            told = self._told
            seen = self._board.change(lambda found, instant: found and found.raised(instant, maximum))
            if seen is not None:
                self._adopt(seen, told)
                return
            self.adrift = True
        throttle, now = self.throttle, now + self._ahead
        self._adopt(Seen(throttle and throttle.raised(now, maximum), now))

    def _adopt(self, seen: Seen, told: int | None = None) -> None:
        """Let this throttle hold from now on.

        `told` is set for the board's word, and says how often that had been taken when this one was asked for.
        """
        with self._changed:
            if told is not None:
                # Late: what was asked meanwhile is newer. Where nothing was, Redis's clock has been set back.
                if seen.now < self._told_at and told != self._told:
                    return
                self._told_at = seen.now
                self._told += 1
            ended = self.throttle is not None and seen.throttle is None
            self.throttle = seen.throttle
            self._ahead = seen.now - self._clock()
            self._changed.notify_all()
        if ended:
            log.info("the %s registry is asked without a limit again", self._name)

    def _now(self) -> float:
        """By the clock that the throttle goes by."""
        return self._clock() + self._ahead
