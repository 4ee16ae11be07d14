"""The broker, made from the environment when it is imported: actors need it to exist before they are declared."""

from __future__ import annotations

import os
import time

import dramatiq
import redis
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import ConnectionClosed
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from app.settings import Settings
from workers.middleware import FirstSignalOnly, Lifecycle, Occasion, OwnSchema, Patience

#: Commands in a million that look for messages of dead workers. Dramatiq's thousand takes minutes at our rate.
MAINTENANCE_CHANCE = 100_000

#: Milliseconds of silence after which a worker counts as dead and its messages are given to others. They are wakes:
#: one too many costs a look at the database, and until then a killed worker's share of them is missing.
HEARTBEAT_TIMEOUT = 15_000

#: Queues in which a push waits; and milliseconds between looks at any other.
HURRIED = frozenset({"events", "sync"})
UNHURRIED_POLL = 1000

#: Seconds for which Redis is asked to tell of a message: below the client's own patience, and not too long for a
#: worker that has to end.
WAIT = 1.0

#: What a connection may raise that trying again may mend. `TimeoutError` is not a `ConnectionError` in redis-py.
TRANSIENT = [redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError]


class Told(_RedisConsumer):
    """Has Redis say when there is a message, where Dramatiq looks again and again: nobody waits for the next look, and
    an idle worker costs next to nothing."""

    def __init__(self, broker: RedisBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, 1)  # type: ignore[no-untyped-call]
        #: Milliseconds between looks where Redis cannot say it.
        self._poll = timeout

    def __next__(self) -> MessageProxy | None:
        message: MessageProxy | None = super().__next__()  # type: ignore[no-untyped-call]
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
        except redis.ConnectionError as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]


class Queue(RedisBroker):
    """Knows at once where somebody waits, and looks seldom where nobody does: each look costs both sides."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        if queue_name in HURRIED:
            return Told(self, queue_name, prefetch, timeout)
        # We send nothing delayed, so nothing ever comes from a delay queue; but Dramatiq looks there as often.
        return super().consume(queue_name, prefetch, max(timeout, UNHURRIED_POLL))


def build(settings: Settings) -> dramatiq.Broker:
    """The broker of `BROKER_URL`, else of `REDIS_URL`.

    No Retries, TimeLimit, AgeLimit or Results: what is to be done, how often and when is in the database, and a
    message only says "look". A retried or delayed message could be lost without harm, so there are none.
    """
    url = _url(settings)
    if url is None or url.startswith("stub://"):
        return StubBroker(middleware=[])
    if url.startswith("amqp"):
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        return RabbitmqBroker(url=url, middleware=[Occasion(), OwnSchema(), Lifecycle(), FirstSignalOnly()])
    # Quick to give up: a web process or a console must not wait for a queue. Workers are made patient at boot.
    client = redis.Redis.from_url(
        url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 1)
    )
    patient = Retry(ExponentialBackoff(cap=2, base=0.1), 30, supported_errors=tuple(TRANSIENT))
    return Queue(  # type: ignore[no-untyped-call]
        client=client,
        maintenance_chance=MAINTENANCE_CHANCE,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        middleware=[Occasion(), OwnSchema(), Lifecycle(), FirstSignalOnly(), Patience(client, patient)],
    )


def _url(settings: Settings) -> str | None:
    if settings.broker_url is not None:
        return settings.broker_url.value
    if settings.redis_url is None:
        return None
    # Caches live in REDIS_URL's own database; Dramatiq's maintenance scans all keys of the one it is in.
    return _next_database(settings.redis_url.value)


def _next_database(url: str) -> str:
    options = redis.connection.parse_url(url)  # type: ignore[no-untyped-call]
    number = int(options.get("db", 0) or 0) + 1
    if url.startswith("unix:"):
        return f"{url.partition('?')[0]}?db={number}"
    head, _, query = url.partition("?")
    scheme, _, rest = head.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/{number}" + (f"?{query}" if query else "")


broker = build(Settings.from_env(os.environ))
dramatiq.set_broker(broker)
