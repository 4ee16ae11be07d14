"""Lanes: the threads that carry requests and blobs in one process, shared by all its syncs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from typing import Any, TypeVar

from app.registry import Stopped
from app.replication.copying.lane import Lane

T = TypeVar("T")
R = TypeVar("R")

#: Bytes from which a blob is large. Below it a transfer is mostly round trips, above it mostly bytes.
LARGE = 1024 * 1024

#: Threads of each lane. They mostly wait for the other side, and hold 256 KiB at most.
SMALL_THREADS, LARGE_THREADS, CHECK_THREADS = 20, 16, 16

#: How many of them bulk may hold: the others are there when something is pushed, however much stalls.
SMALL_BULK, LARGE_BULK = 15, 8


def is_small(size: int | None) -> bool:
    """Whether a blob of `size` bytes is small; what does not say its size may be large."""
    return size is not None and size < LARGE


class Lanes:
    """Small things never queue behind large ones: one image of twenty layers would fill a single pool, and the next
    small push of another tag would wait for one of them to end."""

    def __init__(self) -> None:
        self.small = Lane("small", SMALL_THREADS, SMALL_BULK)
        self._large = Lane("large", LARGE_THREADS, LARGE_BULK)
        #: Looks at what is probably in order: they come by the thousand, and nobody waits for them.
        self.checks = Lane("check", CHECK_THREADS)

    def of(self, size: int | None) -> Executor:
        """The lane for a blob of `size` bytes."""
        return self.small if is_small(size) else self._large

    def each(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Run `work` on all items in parallel; the first error stops those not begun and is raised."""
        if len(items) == 1:
            return [work(items[0])]
        futures = [self.small.submit(work, item) for item in items]
        finish(futures)
        return [future.result() for future in futures]

    def close(self) -> None:
        """Wait for what is under way; what has not begun is dropped."""
        for lane in (self.small, self._large, self.checks):
            lane.shutdown(wait=True, cancel_futures=True)


def finish(futures: Sequence[Future[Any]]) -> None:
    """Wait for all; the first error cancels those not begun and is raised when the others have ended.

    Raises:
        Stopped: the lanes were closed before all had begun.
    """
    done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
    error = next((error for future in done if (error := _error(future)) is not None), None)
    if error is None:
        return
    # What has begun is awaited: nothing of this copy may write once its caller has moved on. Not what was cancelled:
    # that counts as ended only when a thread has come to it, behind other blobs.
    wait([future for future in waiting if not future.cancel()])
    raise error


def _error(future: Future[Any]) -> BaseException | None:
    return Stopped("the process ends") if future.cancelled() else future.exception()
