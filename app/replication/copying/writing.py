"""Writing: who writes which manifest of one repository, among the copies of one sync."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Writing:
    """One writer a manifest. Shared by the copies of one sync."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._manifests: dict[str, threading.Lock] = {}
        #: Manifests written under their digest; to be looked at while `of` is held.
        self.written: set[str] = set()

    @contextlib.contextmanager
    def of(self, *digests: str) -> Iterator[None]:
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
