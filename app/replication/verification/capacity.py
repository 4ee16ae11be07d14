"""Capacity: how much one process verifies at once, and how fast."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: Of a process's worker threads, one in so many may verify: the others are for what somebody waits for.
SHARE = 4


def runs(worker_threads: int) -> int:
    """How many repositories a process with so many threads verifies at once."""
    return max(1, worker_threads // SHARE)


class Capacity:
    """One for each process, shared by its threads.

    `rate` is requests a second to the secondary; 0 does not limit. They are spread evenly: a burst would be felt there.
    """

    def __init__(
        self,
        worker_threads: int = 1,
        rate: int = 0,
        *,
        stopping: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._runs = threading.BoundedSemaphore(runs(worker_threads))
        self._step = 1.0 / rate if rate else 0.0
        self._clock = clock
        self._sleep = sleep or (stopping or threading.Event()).wait
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._ended_at = clock()

    def take(self) -> bool:
        """Take the right to verify one repository after the other, if there is one left; `give_back` ends it."""
        return self._runs.acquire(blocking=False)

    def give_back(self) -> None:
        self._ended_at = self._clock()
        self._runs.release()

    def rested(self) -> float:
        """Seconds since a thread of this process last verified, or since it began."""
        return self._clock() - self._ended_at

    def pace(self) -> None:
        """Wait until one more request may go."""
        if not self._step:
            return
        with self._lock:
            now = self._clock()
            begins = max(self._free_at, now)
            self._free_at = begins + self._step
        if begins > now:
            self._sleep(begins - now)
