"""Wakes: messages that say "look at the database", few at a time and never in a request's way."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import BrokerConnectionError
from redis.exceptions import RedisError

from app import correlation
from app.settings import Settings

if TYPE_CHECKING:
    from dramatiq import Actor

log = logging.getLogger(__name__)


def limit(settings: Settings) -> int:
    """Wakes that may be under way in a queue: twice the threads that could answer them."""
    return 2 * settings.worker_threads * settings.worker_processes


class QueueWake:
    """Sends wakes from a thread of its own: a webhook is answered whether the queue is there or not.

    What is asked for while a message is being sent becomes one further message. A wake that cannot be sent is
    dropped: the scheduler finds the row.
    """

    def __init__(self, settings: Settings) -> None:
        self._limit = limit(settings)
        self._condition = threading.Condition()
        self._events = False
        #: Of whoever asked last; the message carries it.
        self._correlation: str | None = None
        self._rows = 0
        self._verifications = 0
        self._busy = False
        self._thread: threading.Thread | None = None

    def events(self) -> None:
        with self._condition:
            self._events = True
            self._start()

    def rows(self, count: int) -> None:
        with self._condition:
            self._rows = min(self._limit, max(self._rows, count))
            self._start()

    def verifications(self, count: int) -> None:
        with self._condition:
            self._verifications = min(self._limit, max(self._verifications, count))
            self._start()

    def join(self, timeout: float) -> bool:
        """Wait until everything asked for was sent or dropped; for a process that is about to end."""
        with self._condition:
            return self._condition.wait_for(lambda: not (self._wanted() or self._busy), timeout)

    def _wanted(self) -> bool:
        return bool(self._events or self._rows or self._verifications)

    def _start(self) -> None:
        self._correlation = correlation.current() or self._correlation
        # At the first wake, not when it is made: a thread does not survive the fork into a server's workers.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="wake", daemon=True)
            self._thread.start()
        self._condition.notify_all()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                self._condition.notify_all()
                self._condition.wait_for(self._wanted)
                events, rows, verifications = self._events, self._rows, self._verifications
                self._events, self._rows, self._verifications, self._busy = False, 0, 0, True
                correlation_id, self._correlation = self._correlation, None
            try:
                with correlation.bound(correlation_id):
                    self._send(events, rows, verifications)
            except (BrokerConnectionError, RedisError, OSError) as error:
                log.warning("no worker could be woken, the scheduler will: %s", error)

    def _send(self, events: bool, rows: int, verifications: int) -> None:
        # Here, because actors import the broker, and whoever makes a wake may have to be imported before it.
        from workers.events import process_events
        from workers.sync import sync_repository
        from workers.verification import verify_repository

        if events:
            self._send_up_to(process_events, 1)
        if rows:
            self._send_up_to(sync_repository, rows)
        if verifications:
            self._send_up_to(verify_repository, verifications)

    def _send_up_to(self, actor: Actor[..., Any], count: int) -> None:
        load = Load.of(actor.broker, actor.queue_name)
        for _ in range(min(count, load.room(self._limit))):
            actor.send_with_options(correlation_id=correlation.current())


@dataclass(frozen=True, slots=True)
class Load:
    """Messages of a queue: those that wait in it, and all that are under way (waiting, fetched, being processed)."""

    waiting: int = 0
    under_way: int = 0

    @classmethod
    def of(cls, broker: dramatiq.Broker, queue: str) -> Load:
        """Ask the broker; where it cannot tell, nothing is under way."""
        if isinstance(broker, RedisBroker):
            # Not `do_qsize`, which counts what this process itself has fetched twice.
            name = f"{broker.namespace}:{queue}"
            with broker.client.pipeline(transaction=False) as pipeline:
                pipeline.llen(name)
                pipeline.hlen(f"{name}.msgs")
                return cls(*pipeline.execute())
        if isinstance(broker, StubBroker):
            return cls(broker.queues[queue].qsize(), broker.queues[queue].unfinished_tasks)
        return cls()

    def room(self, limit: int) -> int:
        """How many more may be sent.

        One always may where none waits: messages whose worker was killed, or was never answered when it fetched them,
        count as under way for long, and must not keep the others from being woken.
        """
        return max(limit - 1 - self.under_way, 0 if self.waiting else 1)
