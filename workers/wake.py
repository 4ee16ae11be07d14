"""Wakes: messages that say "look at the database", few at a time and never in a request's way."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from dramatiq.errors import BrokerConnectionError
from redis.exceptions import RedisError

from app import correlation
from app.settings import Settings
from workers.load import load

if TYPE_CHECKING:
    from dramatiq import Actor

log = logging.getLogger(__name__)

#: Wakes for what was not just pushed that may be sent at a time although every thread seems busy: a killed worker's
#: rows count as held for a while.
WAKES = 2

#: Seconds between two sendings. Whoever was woken reads all that there is; the first after a quiet time is not held up.
GAP = 0.02


def limit(settings: Settings) -> int:
    """Wakes that may be under way in a queue: twice the threads that could answer them, as far as our own settings
    know. A queue that knows more workers takes more."""
    return 2 * settings.worker_threads * settings.worker_processes


class QueueWake:
    """Sends wakes from a thread of its own: a webhook is answered whether the queue is there or not.

    What is asked for while a message is being sent becomes one further message. A wake that cannot be sent is
    dropped: the scheduler finds the row.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._condition = threading.Condition()
        self._wanted = Wanted()
        #: Of whoever asked last; the message carries it.
        self._correlation: str | None = None
        self._busy = False
        self.failures = 0
        self._sent_at = float("-inf")
        self._thread: threading.Thread | None = None

    def events(self) -> None:
        self._ask(Wanted(events=1))

    def rows(self, count: int) -> None:
        self._ask(Wanted(rows=count))

    def bulk(self, count: int, busy: int = 0) -> None:
        self._ask(Wanted(bulk=count, busy=busy))

    def verifications(self, count: int) -> None:
        self._ask(Wanted(verifications=count))

    def join(self, timeout: float) -> bool:
        """Wait until everything asked for was sent or dropped; for a process that is about to end."""
        with self._condition:
            return self._condition.wait_for(lambda: not (self._wanted or self._busy), timeout)

    def _ask(self, wanted: Wanted) -> None:
        with self._condition:
            self._correlation = correlation.current() or self._correlation
            if (both := self._wanted.beside(wanted)) == self._wanted and self._alive():
                # As much is asked for already, and will be sent after this.
                return
            self._wanted = both
            # At the first wake, not when it is made: a thread does not survive the fork into a server's workers.
            if not self._alive():
                self._thread = threading.Thread(target=self._run, name="wake", daemon=True)
                self._thread.start()
            self._condition.notify_all()

    def _alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                self._condition.notify_all()
                self._condition.wait_for(lambda: bool(self._wanted))
            if (early := self._sent_at + GAP - time.monotonic()) > 0:
                time.sleep(early)
            with self._condition:
                wanted, self._wanted, self._busy = self._wanted, Wanted(), True
                correlation_id, self._correlation = self._correlation, None
            self._sent_at = time.monotonic()
            try:
                with correlation.bound(correlation_id):
                    self._send(wanted)
                self.failures = 0
            except (BrokerConnectionError, RedisError, OSError) as error:
                self.failures += 1
                log.warning("no worker could be woken, the scheduler will: %s", error)

    def _send(self, wanted: Wanted) -> None:
        # Here, because actors import the broker, and whoever makes a wake may have to be imported before it.
        from workers.events import process_events
        from workers.sync import backfill_repositories, sync_repository
        from workers.verification import verify_repository

        self._send_up_to(process_events, wanted.events)
        self._send_up_to(sync_repository, wanted.rows)
        self._send_up_to(backfill_repositories, wanted.bulk, wanted.busy)
        self._send_up_to(verify_repository, wanted.verifications)

    def _send_up_to(self, actor: Actor[..., Any], count: int, busy: int | None = None) -> None:
        if not count:
            return
        found = load(actor.broker, actor.queue_name)
        most = max(limit(self._settings), 2 * found.threads)
        if busy is not None:
            count = min(count, max(self._spare(most // 2) - busy, WAKES))
        for _ in range(min(count, found.room(most))):
            actor.send_with_options(correlation_id=correlation.current())

    def _spare(self, threads: int) -> int:
        """How many of these threads take up what was not just pushed: each process keeps one for what was, and that
        one would only look and find nothing."""
        each = self._settings.worker_threads
        return threads if each == 1 else threads * (each - 1) // each


class Wanted(NamedTuple):
    """How many wakes are asked for, of each kind; and how many threads are at rows already."""

    events: int = 0
    rows: int = 0
    bulk: int = 0
    busy: int = 0
    verifications: int = 0

    def __bool__(self) -> bool:
        return bool(self.events or self.rows or self.bulk or self.verifications)

    def beside(self, other: Wanted) -> Wanted:
        """What both ask for: they mean the same rows."""
        return Wanted(*map(max, self, other))
