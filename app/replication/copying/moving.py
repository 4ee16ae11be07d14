"""Moving: the bytes of blobs that are under way, in one sync or in all of this process, for whoever watches it work."""

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


@dataclass(eq=False, slots=True)
class Blob:
    """One that is under way: its bytes, and those that have been sent."""

    digest: str
    size: int
    came: int = 0


class Moving:
    """Counts them, shared by threads. That of a sync counts in the `whole` too, which is its process's."""

    def __init__(self, whole: Moving | None = None) -> None:
        self._whole = whole
        self._lock = threading.Lock()
        self._done = 0
        self._total = 0
        self._sent = 0
        self._blobs: set[Blob] = set()

    @property
    def now(self) -> Moved:
        """How it stands."""
        with self._lock:
            return Moved(self._done, self._total)

    @property
    def sent(self) -> int:
        """Bytes that were really sent, each time they were: for the speed, to which what was there adds nothing."""
        with self._lock:
            return self._sent

    @property
    def largest(self) -> Blob | None:
        """The largest blob under way, as it stands."""
        with self._lock:
            blob = max(self._blobs, key=lambda blob: blob.size, default=None)
            return None if blob is None else Blob(blob.digest, blob.size, blob.came)

    def expect(self, size: int) -> None:
        """So many more bytes are going to be moved; fewer, if it is negative."""
        self._count(total=size)

    @contextmanager
    def blob(self, digest: str, size: int) -> Iterator[Callable[[int], None]]:
        """A blob that was expected; tell what is given of the bytes that are sent.

        At its end it counts with its size, however many were: it may have been there, or go twice. One that fails
        counts no more: who tries again expects it again.
        """
        blob = Blob(digest, size)
        with self._lock:
            self._blobs.add(blob)

        def sent(number: int) -> None:
            self._count(done=self._come(blob, number), sent=number)

        try:
            yield sent
        except BaseException:
            self._count(done=-blob.came, total=-size)
            raise
        else:
            self._count(done=self._come(blob, size))
        finally:
            with self._lock:
                self._blobs.discard(blob)

    def _come(self, blob: Blob, number: int) -> int:
        """What `number` more bytes add to those of the blob."""
        with self._lock:
            step = max(0, min(number, blob.size - blob.came))
            blob.came += step
            return step

    def _count(self, *, done: int = 0, total: int = 0, sent: int = 0) -> None:
        with self._lock:
            self._done += done
            self._total += total
            self._sent += sent
        if self._whole is not None:
            self._whole._count(done=done, total=total, sent=sent)
