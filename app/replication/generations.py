"""Generations: how often the rows that this process holds were asked for, read together."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator

from app.database import connection, database
from app.models import ContainerRepositoryRegistry as Registry

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
    # Written out: every sync asks twenty times a second, and Peewee takes longer to write it than SQLite to answer.
    table = Registry._meta.table_name
    held = ", ".join(str(int(number)) for number in ids) or "NULL"
    with connection():
        found = database.execute_sql(f'SELECT id, generation FROM "{table}" WHERE id IN ({held})')  # noqa: S608 - numbers
        return dict(found.fetchall())
