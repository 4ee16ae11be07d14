"""Extra: the connections that blobs may have beside their first ones."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Extra:
    """A number of connections, given while the registry has room for what could be done without. Shared by threads."""

    def __init__(self, semaphore: threading.Semaphore, roomy: Callable[[], bool] = lambda: True) -> None:
        self._semaphore = semaphore
        self.roomy = roomy

    def take(self) -> bool:
        """Take one, unless there is none."""
        return self.roomy() and self._semaphore.acquire(blocking=False)

    def give_back(self) -> None:
        self._semaphore.release()
