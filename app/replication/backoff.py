"""When a failure is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential, capped, with jitter: many rows that failed together must not come back together."""

    first: float = 5.0
    factor: float = 2.0
    cap: float = 3600.0
    #: A failure that will not heal by itself is still looked at, rarely: configuration gets repaired.
    permanent: float = 6 * 3600.0
    #: While a whole registry is away each repository looks again this often: it comes back for all of them at once.
    outage: float = 120.0
    random: Callable[[], float] = random.random

    def delay(
        self, retries: int, *, temporary: bool = True, outage: bool = False, at_least: float | None = None
    ) -> timedelta:
        """The wait after the `retries`-th failure in a row (the first is 1), between 50 % and 100 % of the step.

        `at_least` is what a registry asked for (`Retry-After`, in seconds); it is never undercut.
        """
        cap = min(self.cap, self.outage) if outage else self.cap
        step = min(cap, self.first * self.factor ** min(retries - 1, 32)) if temporary else self.permanent
        seconds = step * (0.5 + self.random() / 2)
        return timedelta(seconds=max(seconds, at_least or 0.0))


#: Used everywhere but in tests.
BACKOFF = Backoff()
