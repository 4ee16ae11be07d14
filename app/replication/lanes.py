"""Lanes: the threads that carry requests and blobs in one process, shared by all its syncs."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor

#: Bytes from which a blob is large. Below it a transfer is mostly round trips, above it mostly bytes.
LARGE = 1024 * 1024

#: Threads of each lane. They mostly wait for the other side.
SMALL_THREADS, LARGE_THREADS, CHECK_THREADS = 16, 8, 16


class Lanes:
    """Small things never queue behind large ones: one image of twenty layers would fill a single pool, and the next
    small push of another tag would wait for one of them to end."""

    def __init__(self) -> None:
        self.small = ThreadPoolExecutor(SMALL_THREADS, thread_name_prefix="small")
        self._large = ThreadPoolExecutor(LARGE_THREADS, thread_name_prefix="large")
        #: Looks at what is probably in order: they come by the thousand, and nobody waits for them.
        self.checks = ThreadPoolExecutor(CHECK_THREADS, thread_name_prefix="check")

    def of(self, size: int | None) -> Executor:
        """The lane for a blob of `size` bytes; what does not say its size may be large."""
        return self.small if size is not None and size < LARGE else self._large

    def close(self) -> None:
        """Wait for what is under way; what has not begun is dropped."""
        for lane in (self.small, self._large, self.checks):
            lane.shutdown(wait=True, cancel_futures=True)
