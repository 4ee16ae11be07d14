"""Lanes: the threads that carry requests and blobs in one process, shared by all its syncs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Bytes from which a blob is large. Below it a transfer is mostly round trips, above it mostly bytes.
LARGE = 1024 * 1024

#: Threads of each lane. They mostly wait for the other side.
SMALL_THREADS, LARGE_THREADS, CHECK_THREADS = 16, 8, 16


class Lane(ThreadPoolExecutor):
    """Threads that work in the context of whoever asks them to: what he asks as bulk is bulk there too."""

    def submit(self, work: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return super().submit(copy_context().run, work, *args, **kwargs)


class Lanes:
    """Small things never queue behind large ones: one image of twenty layers would fill a single pool, and the next
    small push of another tag would wait for one of them to end."""

    def __init__(self) -> None:
        self.small = Lane(SMALL_THREADS, thread_name_prefix="small")
        self._large = Lane(LARGE_THREADS, thread_name_prefix="large")
        #: Looks at what is probably in order: they come by the thousand, and nobody waits for them.
        self.checks = Lane(CHECK_THREADS, thread_name_prefix="check")

    def of(self, size: int | None) -> Executor:
        """The lane for a blob of `size` bytes; what does not say its size may be large."""
        return self.small if size is not None and size < LARGE else self._large

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
    """Wait for all; the first error cancels those not begun and is raised when the others have ended."""
    done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
    errors: Iterable[BaseException | None] = (future.exception() for future in done)
    error = next((each for each in errors if each is not None), None)
    if error is None:
        return
    # What has begun is awaited: nothing of this copy may write once its caller has moved on. Not what was cancelled:
    # that counts as ended only when a thread has come to it, behind other blobs.
    wait([future for future in waiting if not future.cancel()])
    raise error
