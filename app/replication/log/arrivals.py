"""Arrivals: waiting for the log to grow, with one look at the database for all who wait in this process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

#: Seconds between looks while somebody waits. It is part of every push's way to a secondary.
INTERVAL = 0.05


class Arrivals:
    """`newest` asks for the newest id; it is called by a thread that lives while somebody waits."""

    def __init__(self, newest: Callable[[], int], interval: float = INTERVAL) -> None:
        self._newest = newest
        self._interval = interval
        self._changed = threading.Condition()
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._seen = 0
        self._failures = 0

    def wait(self, beyond: int, seconds: float) -> bool:
        """Wait until there is an id above `beyond`, or for so many seconds; whether there may be one.

        Where the database cannot be asked it returns at once: who waits asks it himself, and learns why.
        """
        with self._changed:
            self._waiting += 1
            try:
                if self._thread is None or not self._thread.is_alive():
                    # Not when it is made: a thread does not survive the fork into a server's workers.
                    self._seen, self._failures = 0, 0
                    self._thread = threading.Thread(target=self._run, name="arrivals", daemon=True)
                    self._thread.start()
                failures = self._failures
                return self._changed.wait_for(lambda: self._seen > beyond or self._failures > failures, seconds)
            finally:
                self._waiting -= 1

    def close(self) -> None:
        """Wait until nothing is asked of the database any more; nobody may wait by now."""
        thread = self._thread
        if thread is not None:
            thread.join(10)

    def _run(self) -> None:
        while True:
            try:
                newest = self._newest()
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait meet it themselves
                log.debug("the log cannot be watched: %s", error)
                with self._changed:
                    self._failures += 1
                    self._thread = None
                    self._changed.notify_all()
                return
            with self._changed:
                if newest != self._seen:
                    self._seen = newest
                    self._changed.notify_all()
                if not self._waiting:
                    self._thread = None
                    return
            time.sleep(self._interval)
