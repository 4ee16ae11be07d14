"""Speed: how fast something that is counted goes, over the last while."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

#: Seconds over which it is taken, and of which something must be known before it is told.
OVER, ENOUGH = 10.0, 0.5


class Speed:
    """Tell it the count again and again. Not for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, float]] = deque()

    def at(self, count: float) -> float | None:
        """How many a second come, the count being this now: 0 when none did; None while nothing can be said."""
        now = self._clock()
        if self._seen and count < self._seen[-1][1]:
            # Counted anew.
            self._seen.clear()
        self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[1][0] >= OVER:
            self._seen.popleft()
        began, before = self._seen[0]
        return (count - before) / (now - began) if now - began >= ENOUGH else None
