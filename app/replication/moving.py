"""Moving: the bytes of blobs that this process has under way, for whoever watches it work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes so far, and in all as far as is known: of an image that nobody has looked at yet nothing is."""

    done: int = 0
    total: int = 0


class Moving:
    """Counts them. One for each process, shared by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = 0
        self._total = 0

    @property
    def now(self) -> Moved:
        """How it stands."""
        with self._lock:
            return Moved(self._done, self._total)

    def expect(self, size: int) -> None:
        """So many more bytes are going to be moved."""
        with self._lock:
            self._total += size

    @contextmanager
    def blob(self, size: int) -> Iterator[Callable[[int], None]]:
        """A blob that was expected; tell what is given of the bytes that come.

        At its end it counts with its size, however many came: it may have been there, or come twice. One that fails
        counts no more: who tries again expects it again.
        """
        came = 0

        def received(number: int) -> None:
            nonlocal came
            with self._lock:
                step = max(0, min(number, size - came))
                came += step
                self._done += step

        try:
            yield received
        except BaseException:
            with self._lock:
                self._done -= came
                self._total -= size
            raise
        received(size)
