"""Tally: what one copy moved."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Tally:
    """What one copy moved. Shared by the threads that carry its blobs."""

    #: Sent to the destination; and received from the source's blobs, which is less where the spool had them, and
    #: more where a transfer was cut and the registry knows no ranges.
    bytes_copied: int = 0
    bytes_received: int = 0
    blobs_copied: int = 0
    blobs_mounted: int = 0
    blobs_skipped: int = 0
    manifests_copied: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def received(self, size: int) -> None:
        with self._lock:
            self.bytes_received += size

    def add(self, *, size: int = 0, copied: int = 0, mounted: int = 0, skipped: int = 0, manifests: int = 0) -> None:
        with self._lock:
            self.bytes_copied += size
            self.blobs_copied += copied
            self.blobs_mounted += mounted
            self.blobs_skipped += skipped
            self.manifests_copied += manifests
