"""A proxy that knows how many requests it has at a time, and when each came."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler

from tests.support.proxy import Proxy, Rule
from tests.support.registries import DistributionRegistry


class Counting(Proxy):
    """`most` requests were there at once, from the arrival of each until its answer began."""

    def __init__(self, upstream: DistributionRegistry) -> None:
        super().__init__(upstream)
        self.most = 0
        #: Monotonic times of arrival, and of the answers with a status of their own.
        self.arrivals: list[float] = []
        self.refusals: list[float] = []
        self._there = 0
        self._counted = threading.local()
        self._counting = threading.Lock()

    def reset(self) -> None:
        """Count anew."""
        with self._counting:
            self.most = 0
            self.arrivals.clear()

    def _take(self, request: str) -> Rule:
        rule = super()._take(request)
        with self._counting:
            self.arrivals.append(time.monotonic())
            self._there += 1
            self._counted.here = True
            self.most = max(self.most, self._there)
        return rule

    def _pass_on(self, handler, answer, rule) -> None:  # type: ignore[no-untyped-def]
        # Before the answer: its last byte is there sooner than this thread is done.
        self._gone()
        super()._pass_on(handler, answer, rule)

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        try:
            super()._handle(handler)
        finally:
            self._gone()

    def _gone(self) -> None:
        with self._counting:
            if getattr(self._counted, "here", False):
                self._counted.here = False
                self._there -= 1
