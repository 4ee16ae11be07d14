"""Pace: how many connections one blob deserves, by what each further one has brought."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Connections that carry one blob at most.
MOST = 8

#: Bytes a second from which on a single connection counts as fast enough: about what a gigabit carries.
FAST = 100_000_000

#: What doubling the connections must bring, or it is taken back.
GAIN = 1.25

#: Seconds in which new connections come up to speed, and those in which the rate is then measured.
SETTLING = 0.4
MEASURING = 0.6


class Pace:
    """Begins with one connection and doubles while the rate of all together grows by a clear margin.

    Tell `count` of all bytes, ask `look` for the number wanted. Not locked: the owner's lock does.
    """

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self.wanted = 1
        self._settled = most <= 1
        self._most = most
        self._clock = clock
        self._best = 0.0
        self._before = 1
        self._began: float | None = None
        self._measured_since: float | None = None
        self._bytes = 0

    def count(self, size: int) -> None:
        """So many bytes came."""
        if not self._settled and self._measured_since is not None:
            self._bytes += size

    def look(self) -> int:
        """Return how many connections should run now."""
        if self._settled:
            return self.wanted
        now = self._clock()
        if self._began is None:
            self._began = now
        elif self._measured_since is None:
            if now - self._began >= SETTLING:
                self._measured_since, self._bytes = now, 0
        elif now - self._measured_since >= MEASURING:
            self._judge(self._bytes / (now - self._measured_since))
        return self.wanted

    def pause(self) -> None:
        """The rate does not matter now; measure anew when it does."""
        self._began = self._measured_since = None

    def settle(self, connections: int) -> None:
        """Try no more than this from now on."""
        self.wanted = max(1, min(self.wanted, connections))
        self._settled = True

    def _judge(self, rate: float) -> None:
        if self.wanted > 1 and rate < self._best * GAIN:
            self.settle(self._before)
        elif self.wanted >= self._most or rate >= FAST:
            self.settle(self.wanted)
        else:
            self._best, self._before = rate, self.wanted
            self.wanted = min(self.wanted * 2, self._most)
            self._began, self._measured_since = self._clock(), None
