"""A delivery of notifications that is worse than any registry's: each event several times, late, in any order."""

from __future__ import annotations

import heapq
import json
import random
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import requests

from tests.support.answering import Answer, Request, Server

#: Seconds after which an event that was not taken is sent again.
_AGAIN = 0.5


class Repeater:
    """`with Repeater(deliver, copies=3, latest=2.0, rng=rng) as repeater:` takes a registry's notifications in.

    It answers 200 once it has them, and hands each event alone to `deliver`, so many times, each time after a delay
    of its own.
    """

    def __init__(
        self, deliver: Callable[[Any], requests.Response], *, copies: int, latest: float, rng: random.Random
    ) -> None:
        """:param latest: seconds that an event may be late."""
        self.copies = copies
        self.latest = latest
        self.events = 0
        self.delivered = 0
        #: Deliveries that had an earlier one of a later event before them.
        self.overtaken = 0
        self._deliver = deliver
        self._rng = rng
        self._waiting: list[tuple[float, int, int, dict[str, Any]]] = []
        self._newest = 0
        self._changed = threading.Condition()
        self._over = False
        self._now = time.monotonic
        self._server = Server(self._take)
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}/events"

    @property
    def waiting(self) -> int:
        """Deliveries still to come."""
        with self._changed:
            return self.events * self.copies - self.delivered

    def __enter__(self) -> Self:
        self._server.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._thread.join()
        self._server.stop()

    def _take(self, request: Request) -> Answer:
        with self._changed:
            for event in json.loads(request.body)["events"]:
                self.events += 1
                for copy in range(self.copies):
                    due = self._now() + self._rng.uniform(0.0, self.latest)
                    heapq.heappush(self._waiting, (due, self.events, copy, event))
            self._changed.notify_all()
        return Answer(200)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._over and not (self._waiting and self._waiting[0][0] <= self._now()):
                    self._changed.wait(self._waiting[0][0] - self._now() if self._waiting else None)
                if self._over:
                    return
                _, number, copy, event = heapq.heappop(self._waiting)
            if self._taken(event):
                with self._changed:
                    self.delivered += 1
                    self.overtaken += number < self._newest
                    self._newest = max(self._newest, number)
            else:
                with self._changed:
                    heapq.heappush(self._waiting, (self._now() + _AGAIN, number, copy, event))

    def _taken(self, event: dict[str, Any]) -> bool:
        try:
            return self._deliver({"events": [event]}).status_code == 200
        except requests.RequestException:
            return False
