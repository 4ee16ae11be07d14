"""A throttle for guesses at a secret, by address, in this process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from app.web.addresses import network


@dataclass
class Throttle:
    """Lets `limit` failures in any `window` seconds pass from one address, then none until the oldest is past.

    Remembers at most `capacity` addresses and forgets the one that failed longest ago. The window is short: behind a
    proxy everyone has one address, and nobody must be able to lock the others out for long.
    """

    limit: int = 10
    window: float = 60.0
    capacity: int = 1000
    clock: Callable[[], float] = time.monotonic
    _failures: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def wait(self, address: str | None) -> float:
        """Seconds until this address may try again; 0 when it may now."""
        with self._lock:
            failures = self._failures.get(network(address))
            if failures is None or len(failures) < self.limit:
                return 0.0
            return max(0.0, failures[0] + self.window - self.clock())

    def failed(self, address: str | None) -> None:
        """Count a failure."""
        key = network(address)
        with self._lock:
            self._failures.setdefault(key, deque(maxlen=self.limit)).append(self.clock())
            self._failures.move_to_end(key)
            while len(self._failures) > self.capacity:
                self._failures.popitem(last=False)
