"""Flights: each blob travels once, however many references of a repository need it at the same time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Transfer:
    """How a blob is brought, and by whose threads."""

    lane: Executor
    carry: Callable[[], None]


class Flights:
    """The transfers of one sync. Children of an index are pushed before it, so their blobs are often under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[None]] = {}
        self._landed: set[str] = set()
        self._manifests: dict[str, threading.Lock] = {}
        #: Manifests written under their digest; to be looked at while `writing`.
        self.written: set[str] = set()

    def bring(self, transfers: Mapping[str, Transfer]) -> None:
        """Have every digest brought, by its transfer here or by one that somebody else has begun; wait for all.

        The waiting is done by the caller's thread: a thread that carries bytes never waits for another. A transfer
        that somebody else began and that failed is begun again here; the first of ours to fail is raised, once
        nothing of ours is under way any more.
        """
        wanted = dict(transfers)
        while wanted:
            ours, theirs = self._begin(wanted)
            _finish(list(ours.values()))
            wait(theirs.values())
            wanted = {digest: transfer for digest, transfer in wanted.items() if not self._has_landed(digest)}

    @contextlib.contextmanager
    def writing(self, *digests: str) -> Iterator[None]:
        """Look at these manifests on the destination, or write them, while nobody else of this sync does.

        Name what is written and what it names: Distribution on a file system empties the link of a manifest and fills
        it again whenever it is pushed, and meanwhile refuses an index that names it. Children of an index are often
        pushed, by digest or with tags of their own, just before it.
        """
        with self._lock:
            # In one order everywhere: two who want the same ones must not wait crosswise.
            locks = [self._manifests.setdefault(digest, threading.Lock()) for digest in sorted(set(digests))]
        with contextlib.ExitStack() as held:
            for lock in locks:
                held.enter_context(lock)
            yield

    def _begin(self, wanted: Mapping[str, Transfer]) -> tuple[dict[str, Future[None]], dict[str, Future[None]]]:
        ours, theirs = {}, {}
        with self._lock:
            for digest, transfer in wanted.items():
                if digest in self._landed:
                    continue
                if digest in self._under_way:
                    theirs[digest] = self._under_way[digest]
                else:
                    ours[digest] = self._under_way[digest] = transfer.lane.submit(transfer.carry)
        # Outside the lock: a future that is done already calls back in this very thread.
        for digest, future in ours.items():
            future.add_done_callback(lambda done, digest=digest: self._ended(digest, done))  # type: ignore[misc]
        return ours, theirs

    def _ended(self, digest: str, future: Future[None]) -> None:
        with self._lock:
            del self._under_way[digest]
            if not future.cancelled() and future.exception() is None:
                self._landed.add(digest)

    def _has_landed(self, digest: str) -> bool:
        with self._lock:
            return digest in self._landed


def _finish(futures: list[Future[None]]) -> None:
    """Wait for all; the first error cancels those not begun and is raised when the others have ended."""
    done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
    error = next((e for e in (future.exception() for future in done) if e is not None), None)
    if error is None:
        return
    # Not for those that were cancelled: they count as ended only when a thread has come to them, behind other blobs.
    wait([future for future in waiting if not future.cancel()])
    raise error
