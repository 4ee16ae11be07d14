"""The broker on RabbitMQ."""

from __future__ import annotations

from collections.abc import Sequence

import pika.exceptions
from dramatiq.broker import Consumer
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware

from app import amqp
from app.deployment import QUEUES
from workers import queues
from workers.load import Load

#: Milliseconds between looks whether a consumer has to end. It is told of messages as they come.
POLL = 1000


class Queue(RabbitmqBroker):
    """Knows how many messages wait, and how many workers serve a queue."""

    def __init__(self, url: str, middleware: Sequence[Middleware], threads: int) -> None:
        # Confirmed: a connection that was closed while nobody sent anything would swallow the next message.
        super().__init__(confirm_delivery=True, middleware=list(middleware))
        self.parameters = amqp.parameters(url)
        self._threads = threads

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        if queue_name in QUEUES:
            prefetch = queues.prefetch(queue_name, queues.threads(prefetch))
        return super().consume(queue_name, prefetch, max(timeout, POLL))

    def load(self, queue_name: str) -> Load:
        """Messages that a worker has fetched are not told by RabbitMQ. There are at most as many as it may fetch, and
        they belong to others as soon as it is gone."""
        self.declare_queue(queue_name, ensure=True)
        for last in (False, True):
            try:
                found = self.channel.queue_declare(queue=queue_name, passive=True).method
                break
            except (pika.exceptions.AMQPConnectionError, pika.exceptions.AMQPChannelError) as error:
                # Closed by the server since it was last used, or gone.
                del self.connection
                if getattr(error, "reply_code", None) == 404:
                    self.queues_pending.add(queue_name)
                    return Load()
                if last:
                    raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        # As many processes of as many threads as ours.
        return Load(found.message_count, found.message_count, found.consumer_count * self._threads)


def build(url: str, middleware: Sequence[Middleware], threads: int) -> Queue:
    """A broker at that address, for workers of so many threads. Connects to nothing yet."""
    return Queue(url, middleware, threads)
