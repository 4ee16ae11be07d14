"""A limit of requests, by address, in this process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Response

from app.web.addresses import network


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an address may still ask after this request, and in how many seconds it may ask the whole limit again."""

    limit: int
    remaining: int
    reset: float
    allowed: bool = True

    def tell(self, response: Response) -> None:
        """In the headers of draft-ietf-httpapi-ratelimit-headers-07, whose reset is in seconds and not a time."""
        response.headers["RateLimit-Limit"] = str(self.limit)
        response.headers["RateLimit-Remaining"] = str(self.remaining)
        response.headers["RateLimit-Reset"] = str(int(self.reset) + 1)


@dataclass
class RateLimit:
    """Counts requests in windows of `window` seconds; an address's window begins with its first request.

    Remembers at most `capacity` addresses, and forgets the one whose window began longest ago.
    """

    window: float = 60.0
    capacity: int = 10_000
    clock: Callable[[], float] = time.monotonic
    _windows: OrderedDict[str, tuple[float, int]] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self, address: str | None, limit: int) -> Allowance:
        """Count a request from `address`, of which `limit` are allowed in a window."""
        key, instant = network(address), self.clock()
        with self._lock:
            began, count = self._windows.get(key, (instant, 0))
            if instant - began >= self.window or key not in self._windows:
                began, count = instant, 0
                self._windows.pop(key, None)
            self._windows[key] = (began, count + 1)
            while len(self._windows) > self.capacity:
                self._windows.popitem(last=False)
        return Allowance(limit, max(0, limit - count - 1), began + self.window - instant, allowed=count < limit)
