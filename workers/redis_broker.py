"""The broker on Redis or Valkey: who waits for a message is told of it, and workers tell that they are there."""

from __future__ import annotations

import time
from collections.abc import Sequence

import redis
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from app import attendance, redis_client
from app.deployment import QUEUES
from workers import queues
from workers.load import Load
from workers.middleware import Patience

#: Commands in a million that look for messages of dead workers. Dramatiq's thousand takes minutes at our rate.
MAINTENANCE_CHANCE = 100_000

#: Milliseconds of silence after which a worker counts as dead and its messages are given to others. They are wakes:
#: one too many costs a look at the database, and until then a killed worker's share of them is missing.
HEARTBEAT_TIMEOUT = 15_000

#: Milliseconds between looks at a queue of which nobody waits for the next message.
UNHURRIED_POLL = 1000

#: Seconds for which Redis is asked to tell of a message: below the client's own patience, and not too long for a
#: worker that has to end.
WAIT = 1.0

#: What a connection may raise that trying again may mend. `TimeoutError` is not a `ConnectionError` in redis-py.
TRANSIENT = [redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError]


class Serving(_RedisConsumer):
    """Says now and then that it is there, and how many threads there are behind it."""

    def __init__(self, broker: RedisBroker, queue_name: str, threads: int, timeout: int) -> None:
        prefetch = queues.prefetch(queue_name, threads)
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]
        self._threads = threads
        self._told = float("-inf")

    def __next__(self) -> MessageProxy | None:
        instant = time.monotonic()
        if instant - self._told >= attendance.EVERY:
            self._told = instant
            self._tell()
        message: MessageProxy | None = super().__next__()  # type: ignore[no-untyped-call]
        return message

    def _tell(self) -> None:
        try:
            attendance.tell(self.broker.client, self.queue_name, self.broker.broker_id, self._threads)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        except redis.ResponseError:
            # A memory that is full, a failover, a right that is missing: senders go by their own settings until the
            # next time.
            return


class Told(Serving):
    """Has Redis say when there is a message, where Dramatiq looks again and again: nobody waits for the next look, and
    an idle worker costs next to nothing."""

    def __init__(self, broker: RedisBroker, queue_name: str, threads: int, timeout: int) -> None:
        super().__init__(broker, queue_name, threads, 1)
        #: Milliseconds between looks where Redis cannot say it.
        self._poll = timeout

    def __next__(self) -> MessageProxy | None:
        message = super().__next__()
        if message is None and self.timeout != self._poll:
            self._wait()
        return message

    def _wait(self) -> None:
        if self.outstanding_message_count >= self.prefetch:
            # As many as may be are here already, whatever else there is.
            time.sleep(self._poll / 1000)
            return
        name = f"{self.broker.namespace}:{self.queue_name}"
        try:
            # From the head of the list to its head: nothing moves, and the answer comes when there is something.
            self.broker.client.blmove(name, name, WAIT, "LEFT", "LEFT")
        except redis.ResponseError as error:
            if isinstance(error, redis.exceptions.NoPermissionError) or "unknown command" in str(error):
                # One that does not let us, or is older than 6.2.
                self.timeout = self._poll
            else:
                # A failover, or a memory that is full: it passes.
                time.sleep(self._poll / 1000)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]


class Queue(RedisBroker):
    """Knows at once where somebody waits, and looks seldom where nobody does: each look costs both sides."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        threads = queues.threads(prefetch)
        if queue_name == queues.VERIFICATION:
            return Serving(self, queue_name, threads, max(timeout, UNHURRIED_POLL))
        if queue_name in QUEUES:
            return Told(self, queue_name, threads, timeout)
        # We send nothing delayed, so nothing ever comes from a delay queue; but Dramatiq looks there as often.
        return super().consume(queue_name, prefetch, max(timeout, UNHURRIED_POLL))

    def load(self, queue_name: str) -> Load:
        # Not `do_qsize`, which counts what this process itself has fetched twice.
        name = f"{self.namespace}:{queue_name}"
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.llen(name)
            pipeline.hlen(f"{name}.msgs")
            attendance.ask(pipeline, queue_name)
            waiting, under_way, serving = pipeline.execute()
        return Load(waiting, under_way, attendance.threads(serving))


def build(url: str, middleware: Sequence[Middleware]) -> Queue:
    """A broker at that address. Connects to nothing yet."""
    # Quick to give up: a web process or a console must not wait for a queue. Workers are made patient at boot.
    client = redis_client.connect(
        url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 1)
    )
    patient = Retry(ExponentialBackoff(cap=2, base=0.1), 30, supported_errors=tuple(TRANSIENT))
    return Queue(  # type: ignore[no-untyped-call]
        client=client,
        namespace=attendance.NAMESPACE,
        maintenance_chance=MAINTENANCE_CHANCE,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        middleware=[*middleware, Patience(client, patient)],
    )
