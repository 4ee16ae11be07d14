"""Broker middleware: a worker process's beginning and end."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import dramatiq
import redis
from dramatiq.middleware import Middleware, SkipMessage
from redis.retry import Retry

from app import correlation, metrics, migrate, tracing
from app.boot import boot
from app.logging import configure as configure_logging
from app.processes import die_with_parent
from app.replication.context import current
from app.settings import Settings
from workers import queues
from workers.wake import QueueWake

log = logging.getLogger(__name__)


class Lifecycle(Middleware):
    """Boots a worker process, and lets its syncs know when it has to end."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        configure_logging()
        settings = Settings.from_env(os.environ)
        boot(settings, QueueWake(settings))
        # Dramatiq's parent does not take its children with it when it is killed.
        die_with_parent()

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        queues.serve(worker.consumer_whitelist)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        current().stopping.set()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        metrics.buffer.flush()
        tracing.close()

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        if exception is not None:
            # Whatever it was going to do is still a row that says so; the scheduler sends the next wake.
            log.error("a message failed", extra={"actor": message.actor_name}, exc_info=exception)


class Occasion(Middleware):
    """Runs each message for the occasion that led to it: who sent it says which, else it is one of its own.

    What a worker finds due then may well be another's: rows carry the id of theirs (app.correlation).
    """

    def __init__(self) -> None:
        self._bound = threading.local()

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        sent = correlation.accepted(message.options.get("correlation_id"))
        self._bound.by = correlation.bind(sent or correlation.new(), message.message_id)

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        bound, self._bound.by = getattr(self._bound, "by", None), None
        if bound is not None:
            correlation.release(bound)

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self.after_process_message(broker, message)


class OwnSchema(Middleware):
    """Does nothing while the schema is another version's. The rows still say what is to be done, and the scheduler
    wakes for them when it is ours again."""

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        if migrate.watch.wrong():
            raise SkipMessage


class FirstSignalOnly(Middleware):
    """Counts one SIGTERM where several come. A supervisor may signal the whole process group and the parent passes it
    on as well; Dramatiq takes the second for "at once" and drops what is in flight."""

    #: Seconds within which signals are one.
    TOGETHER = 30.0

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        inner = signal.getsignal(signal.SIGTERM)
        first: list[float] = []

        def once(number: int, frame: FrameType | None) -> None:
            if first and time.monotonic() - first[0] < self.TOGETHER:
                return
            first.append(time.monotonic())
            if callable(inner):
                inner(number, frame)

        signal.signal(signal.SIGTERM, once)


class Patience(Middleware):
    """Makes the broker's client wait out a restart of Redis, in workers alone.

    Without it a message that fails to be acknowledged meanwhile is stranded until its process ends.
    """

    def __init__(self, client: redis.Redis, retry: Retry) -> None:
        self._client = client
        self._retry = retry

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        self._client.set_retry(self._retry)
