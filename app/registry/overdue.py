"""Overdue: ends what a server draws out for ever, byte by byte, each within the idle limit."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

#: Seconds between two looks at what is under way.
_EVERY = 1.0


class Limit:
    """A limit on something under way: `expired` once it was cut."""

    __slots__ = ("_cut", "ends", "expired")

    def __init__(self, seconds: float, cut: Callable[[], object]) -> None:
        self.ends = time.monotonic() + seconds
        self.expired = False
        self._cut = cut

    def expire(self) -> None:
        """Cut it."""
        self.expired = True
        # It may just have ended by itself.
        with contextlib.suppress(OSError, RuntimeError, ValueError, AttributeError):
            self._cut()


class Watchman:
    """One thread that looks after all limits of a process: a timer for each would cost more than a small request.

    It comes up to `every` seconds late, so it is for limits of minutes.
    """

    def __init__(self, every: float = _EVERY) -> None:
        self._every = every
        self._lock = threading.Lock()
        self._limits: dict[int, Limit] = {}
        self._some = threading.Event()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def limit(self, seconds: float, cut: Callable[[], object]) -> Iterator[Limit]:
        """Call `cut`, from another thread, when what is inside takes longer."""
        limit = Limit(seconds, cut)
        with self._lock:
            self._limits[id(limit)] = limit
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="overdue", daemon=True)
                self._thread.start()
        self._some.set()
        try:
            yield limit
        finally:
            with self._lock:
                self._limits.pop(id(limit), None)

    def forget(self) -> None:
        """Look after nothing any more: in a child process, what its parent has under way is none of its."""
        self._lock = threading.Lock()
        self._limits = {}
        self._some = threading.Event()
        self._thread = None

    def _watch(self) -> None:
        while True:
            self._some.wait()
            time.sleep(self._every)
            now = time.monotonic()
            with self._lock:
                late = [limit for limit in self._limits.values() if now >= limit.ends and not limit.expired]
                if not self._limits:
                    self._some.clear()
            for limit in late:
                limit.expire()


#: That of this process.
watchman = Watchman()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=watchman.forget)
