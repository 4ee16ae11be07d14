"""Generations: how often the rows that this process holds were asked for, read together."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.statements import Statement, named, several

#: Seconds for which what was read is good enough: every sync looks that often, and each by itself would ask for its
#: own row.
FRESH_FOR = 0.01


class Generations:
    """Shared by the syncs of a process. What it says may be behind the database by `FRESH_FOR`, never ahead."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: set[int] = set()
        self._seen: dict[int, int] = {}
        self._read_at = float("-inf")

    @contextlib.contextmanager
    def holding(self, registry_id: int) -> Iterator[None]:
        """Read this row's generation with the others' from here on."""
        with self._lock:
            self._held.add(registry_id)
            self._seen.pop(registry_id, None)
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(registry_id)

    def of(self, registry_id: int) -> int:
        """The generation of a row that is held."""
        with self._lock:
            now = self._clock()
            if registry_id not in self._seen or now - self._read_at >= FRESH_FOR:
                self._seen = _read(self._held)
                self._read_at = now
            return self._seen.get(registry_id, -1)


def _read(ids: Collection[int]) -> dict[int, int]:
    with connection():
        return dict(_of(len(ids)).rows(**named("id", sorted(ids))))


@lru_cache(maxsize=64)
def _of(count: int) -> Statement:
    return Statement(
        lambda: Registry.select(Registry.id, Registry.generation).where(Registry.id.in_(several("id", count))).tuples()
    )
