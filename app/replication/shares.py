"""Shares: which site a worker thread of this process turns to, so that none waits for another's slow registry."""

from __future__ import annotations

import threading
from collections.abc import Sequence


class Shares:
    """One for each process, shared by its threads.

    A site whose registry answers nobody holds each of its threads for a minute and more. So none gets a further thread
    unless one is left for each other site that has none, whether that has anything to do now or not. A single site has
    all.

    With fewer threads than sites, each has one thread at most while another has none. If so many sites answer nobody
    as there are threads, the rest wait until one of them lets go of its row, and then are the next: a thread kept for
    them would, while all answer, be a good part of all there are.
    """

    def __init__(self, threads: int = 1, site_names: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._threads = threads
        #: In the order in which they were turned to, longest ago first.
        self._held: dict[str, int] = dict.fromkeys(site_names, 0)
        self._several = len(self._held) > 1

    def order(self) -> list[str]:
        """The sites, the one with the fewest threads first; among equals, the one that was turned to longest ago."""
        with self._lock:
            return sorted(self._held, key=lambda name: self._held[name])

    def take(self, site_name: str) -> bool:
        """Take a thread for the site, unless it has as many as it may; `give_back` ends it."""
        with self._lock:
            refused = self._kept_for_others(site_name)
            # Refused or not, it was turned to.
            held = self._held.pop(site_name, 0)
            self._held[site_name] = held if refused else held + 1
            return not refused

    def _kept_for_others(self, site_name: str) -> bool:
        if not self._several or not self._held.get(site_name):
            return False
        left = self._threads - sum(self._held.values()) - 1
        return left < sum(not held for held in self._held.values())

    def give_back(self, site_name: str) -> None:
        with self._lock:
            self._held[site_name] -= 1
