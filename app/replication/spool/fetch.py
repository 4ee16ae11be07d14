"""Fetch: brings the missing bytes of a blob into its spool file, by as many connections as that is worth."""

from __future__ import annotations

import contextlib
import threading
import time
from bisect import insort
from collections.abc import Callable
from contextvars import copy_context
from functools import partial

from app.registry import BlobReader, InvalidResponse, RegistryError, Stopped
from app.registry.resume import RANGE_IGNORED
from app.replication.spool.extra import Extra
from app.replication.spool.file import SpoolFile
from app.replication.spool.pace import Pace

#: What a connection beside others is asked for at least; at most so many of it at once.
SEGMENT = 8 * 1024 * 1024
_RUN = 4

#: Bytes between two entries in the ledger: what a killed process's successor fetches again, for each connection.
_NOTE = 1024 * 1024

#: Bytes that wait for the consumer from which on more connections would not bring it anything sooner.
_AHEAD = 64 * 1024 * 1024

#: Seconds for the threads to see that it is over. One that still waits for an answer ends by the idle limit.
_FAREWELL = 2.0

#: Makes the reader of a range `[start, end)`; the last argument says whether it may skip what comes before.
ReaderFactory = Callable[[int, int, bool], BlobReader]


class Fetch:
    """The connections of one blob, a thread each. `file` must be ours to write.

    `extra` is what further connections are taken from, shared by all blobs of the process. A connection that fails
    for good leaves its range to the others; the last one's error is the `failure` of it all. `complain` is told why
    the disk did not take it.
    """

    def __init__(
        self,
        file: SpoolFile,
        reader: ReaderFactory,
        pace: Pace,
        extra: Extra,
        complain: Callable[[OSError], None] = lambda _: None,
    ) -> None:
        #: What the registry, or a bug, ended it with.
        self.failure: BaseException | None = None
        #: The disk did not take it: the rest has to come another way.
        self.broken = False
        #: More than one request went into what is there.
        self.patched = file.total > 0
        #: Up to where the consumer has read.
        self.consumed = 0
        self._file = file
        self._reader = reader
        self._pace = pace
        self._extra = extra
        self._complain = complain
        self._changed = threading.Condition()
        self._free = file.missing()
        self._readers: set[BlobReader] = set()
        #: The one that was sent for everything to the end, at first.
        self._open_ended: BlobReader | None = None
        self._running = 0
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._ranges = True

    def start(self) -> None:
        """Begin with one connection, if anything is missing."""
        with self._changed:
            if self._free:
                self._spawn(extra=False)

    def wait(self, position: int, seconds: float) -> None:
        """Wait until the byte at `position` is there or never will be, at most so long."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._file.reach(position) > position or self.failure is not None or self.broken, seconds
            )

    def close(self) -> None:
        """End all connections."""
        with self._changed:
            self._closed = True
            for reader in self._readers:
                reader.abort()
        ends = time.monotonic() + _FAREWELL
        for thread in self._threads:
            thread.join(max(ends - time.monotonic(), 0.0))

    # --- threads ----------------------------------------------------------------------------------------------------

    def _spawn(self, *, extra: bool) -> None:
        self._file.hold()
        self._running += 1
        # Daemons: one that waits for a silent registry must not hold the process up. What the first is asked for as
        # bulk, all are: each thread is begun by the consumer's or by one of these.
        work = partial(copy_context().run, self._work, extra)
        thread = threading.Thread(target=work, name="spool-fetch", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self, extra: bool) -> None:
        try:
            while (reader := self._take(extra)) is not None:
                try:
                    self._carry(reader)
                except Exception as error:  # noqa: BLE001 - whatever it is, the consumer has to learn of it
                    self._failed(reader, error)
                finally:
                    reader.close()
        finally:
            if extra:
                self._extra.give_back()
            with self._changed:
                self._changed.notify_all()
            self._file.release()

    def _take(self, extra: bool) -> BlobReader | None:
        """The next range, lowest first, as long as this connection is wanted; None ends it."""
        with self._changed:
            over = self._closed or self.broken or self.failure is not None
            if extra and self._running > 1 and not self._extra.roomy():
                # The slot that it would wait for is another blob's only one.
                over = True
            if over or not self._free or self._running > self._pace.wanted:
                self._running -= 1
                return None
            start, end = self._free.pop(0)
            if not self._ranges:
                # Each gap would cost everything before it: one run to the end, over what is there already.
                end = self._file.size
                self._free.clear()
            elif self._pace.wanted > 1:
                left = end - start + sum(stop - begin for begin, stop in self._free)
                share = left // (2 * self._pace.wanted) // SEGMENT
                cut = start + SEGMENT * max(1, min(share, _RUN))
                if cut < end:
                    insort(self._free, (cut, end))
                    end = cut
            if self._readers or self._file.total:
                self.patched = True
            reader = self._reader(start, end, not self._ranges)
            self._readers.add(reader)
            if end == self._file.size:
                self._open_ended = reader
            return reader

    def _carry(self, reader: BlobReader) -> None:
        noted = written = reader.position
        try:
            while chunk := reader.read():
                self._file.write(written, chunk)
                written += len(chunk)
                self._moved(len(chunk))
                if written - noted >= _NOTE:
                    self._file.note(noted, written)
                    noted = written
        finally:
            with contextlib.suppress(OSError):
                self._file.note(noted, written)
        with self._changed:
            self._readers.discard(reader)
            self.patched = self.patched or reader.resumed > 0
            self._give_back(reader)

    def _moved(self, size: int) -> None:
        with self._changed:
            if self._closed or self.broken:
                raise Stopped("the transfer is over")
            if self._file.reach(self.consumed) - self.consumed > _AHEAD:
                self._pace.pause()
            else:
                self._pace.count(size)
                self._grow()
            self._changed.notify_all()

    def _grow(self) -> None:
        wanted = self._pace.look()
        if wanted <= self._running:
            return
        if self._running == 1:
            self._narrow()
        while self._running < wanted and self._free:
            if not self._extra.take():
                self._pace.settle(self._running)
                return
            self._spawn(extra=True)

    def _narrow(self) -> None:
        """Leave to the others what a lone connection had taken upon itself; its stream is broken off there."""
        for reader in self._readers:
            end = reader.end
            cut = reader.position - reader.position % SEGMENT + 2 * SEGMENT
            if end is not None and end - cut >= SEGMENT:
                insort(self._free, (cut, end))
                reader.end = cut

    def _failed(self, reader: BlobReader, error: Exception) -> None:
        with self._changed:
            self._readers.discard(reader)
            self.patched = True
            self._give_back(reader)
            if isinstance(error, OSError):
                self.broken = True
                self._complain(error)
            elif isinstance(error, InvalidResponse) and error.reason == RANGE_IGNORED:
                self._ranges = False
                self._pace.settle(1)
                self._widen()
            elif isinstance(error, RegistryError) and self._running > 1:
                self._pace.settle(self._running - 1)
            else:
                self.failure = error

    def _widen(self) -> None:
        """Without ranges nobody can help the connection that began at the start: it goes on to the end."""
        reader = self._open_ended
        if reader in self._readers:
            reader.end = self._file.size
            self._free = [gap for gap in self._free if gap[0] < reader.position]

    def _give_back(self, reader: BlobReader) -> None:
        if reader.end is not None and reader.position < reader.end:
            insort(self._free, (reader.position, reader.end))
