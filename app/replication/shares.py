"""Shares: which site a worker thread of this process turns to, so that none waits for another's slow registry."""

from __future__ import annotations

import threading
from collections.abc import Sequence


class Shares:
    """One for each process, shared by its threads.

    A site whose registry answers nobody holds each of its threads for a minute and more. So it never has all of them:
    one is left for each of the other sites, as far as there are so many. A single site has all.
    """

    def __init__(self, threads: int = 1, site_names: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        #: In the order in which they were turned to, longest ago first.
        self._held: dict[str, int] = dict.fromkeys(site_names, 0)
        others = max(0, len(self._held) - 1)
        self._most = max(1, threads - others) if others else None

    def order(self) -> list[str]:
        """The sites, the one with the fewest threads first; among equals, the one that was turned to longest ago."""
        with self._lock:
            return sorted(self._held, key=lambda name: self._held[name])

    def take(self, site_name: str) -> bool:
        """Take a thread for the site, unless it has as many as it may; `give_back` ends it."""
        with self._lock:
            held = self._held.pop(site_name, 0)
            refused = self._most is not None and held >= self._most
            self._held[site_name] = held if refused else held + 1
            return not refused

    def give_back(self, site_name: str) -> None:
        with self._lock:
            self._held[site_name] -= 1
