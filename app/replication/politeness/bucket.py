"""Bucket: a cap in bytes a second on what comes from a registry or goes to it, shared by all processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import redis

from app.rates import Rates
from app.replication.shared import Shared

#: Seconds' worth of bytes that are taken at a time: all processes together ask Redis so many times a second.
PORTION = 0.25

#: Seconds for which bytes that were taken and not used are good: kept longer they would come out in a burst.
_GOOD = 1.0

#: Microseconds that a reservation may lie ahead of the clock at most, should Redis's clock be set back.
_HORIZON = 300_000_000

# The bucket is the instant at which all that was taken has flowed (the generic cell rate algorithm). ARGV:
# microseconds that the portion takes. Returns those until it may begin.
_RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local at = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
if at < now or at > now + ARGV[2] then at = now end
redis.call('SET', KEYS[1], string.format('%.0f', at + ARGV[1]), 'PX', 600000)
return string.format('%.0f', at - now)
"""


class Bucket:
    """A meter (app.registry.limits): it returns when so many bytes more may flow. Shared by threads.

    Without Redis each of `processes` takes its share. A process that has to end (`stopping`) is not held up.
    """

    def __init__(
        self,
        rates: Rates,
        *,
        key: str,
        shared: Shared | None = None,
        processes: int = 1,
        stopping: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._rates = rates
        self._key = f"geo:bytes:{{{key}}}"
        self._shared = shared
        self._processes = processes
        self._stopping = stopping or threading.Event()
        self._clock = clock
        self._today = today
        self._sleep = sleep or self._stopping.wait
        self._lock = threading.Lock()
        self._credit = 0
        self._credited_at = 0.0
        self._flowed_at = 0.0
        self._script = shared.client.register_script(_RESERVE) if shared is not None else None

    def __call__(self, size: int) -> None:
        """Wait until `size` more bytes may flow."""
        size -= self._spend(size)
        while size > 0 and not self._stopping.is_set():
            rate = self._rates.at(self._today())
            if rate is None:
                return
            portion = max(int(rate * PORTION), min(size, rate))
            self._sleep(self._reserve(portion, rate))
            spent = min(size, portion)
            size -= spent
            with self._lock:
                self._credit += portion - spent
                self._credited_at = self._clock()

    def _spend(self, size: int) -> int:
        """Take what is left of earlier portions."""
        with self._lock:
            if self._clock() - self._credited_at > _GOOD:
                self._credit = 0
            spent = min(size, self._credit)
            self._credit -= spent
            return spent

    def _reserve(self, portion: int, rate: int) -> float:
        """Take a portion; return the seconds until it may flow."""
        wait = self._ask(int(portion / rate * 1_000_000))
        if wait is not None:
            return wait
        with self._lock:
            now = self._clock()
            begins = max(self._flowed_at, now)
            self._flowed_at = begins + portion * self._processes / rate
            return begins - now

    def _ask(self, micros: int) -> float | None:
        shared, script = self._shared, self._script
        if shared is None or script is None:
            return None

        def question(client: redis.Redis) -> float:
            answer: Any = script(keys=[self._key], args=[micros, _HORIZON], client=client)
            return int(answer) / 1_000_000

        return shared.ask(question, None)
