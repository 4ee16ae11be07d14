"""Slots: room for so many requests at once that hold a thread; and whether this process is to go on holding them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Whether this process is to go on; a server that ends sets it, so that nobody waits longer.
serving: Callable[[], bool] = lambda: True  # noqa: E731 - a variable, set by the server


class Slots:
    """Room for so many at once; who finds none is told so."""

    def __init__(self, number: int) -> None:
        self._free = threading.BoundedSemaphore(number)

    @contextmanager
    def one(self, wait: float = 0) -> Iterator[bool]:
        """A slot while inside; False when there is none for `wait` seconds."""
        got = self._free.acquire(timeout=wait)
        try:
            yield got
        finally:
            if got:
                self._free.release()
