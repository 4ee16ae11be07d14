"""Vacancy: the secondary knows no such repository, so there is no point in asking it for small blobs."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds after which it is asked again: what this sync has brought by then is no longer remembered for sure.
HOLDS_FOR = 60.0


class Vacancy:
    """Found by one sync of one repository, and only for it.

    Blobs may lie there all the same, from a sync that was killed before its first tag: small ones then travel twice.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = float("-inf")

    def found(self) -> None:
        """The secondary said that it knows no such repository."""
        self._until = self._clock() + HOLDS_FOR

    def holds(self) -> bool:
        return self._clock() < self._until
