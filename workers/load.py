"""Load: how many messages a queue has, so that no more are sent than somebody will answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import dramatiq
from dramatiq.brokers.stub import StubBroker


@dataclass(frozen=True, slots=True)
class Load:
    """Messages of a queue: those that wait in it, and all that are under way (waiting, fetched, being processed).

    `threads` is how many threads all workers have that serve it, as far as they are known.
    """

    waiting: int = 0
    under_way: int = 0
    threads: int = 0

    def room(self, limit: int) -> int:
        """How many more may be sent.

        One always may where none waits: messages whose worker was killed, or was never answered when it fetched them,
        count as under way for long, and must not keep the others from being woken.
        """
        return max(limit - 1 - self.under_way, 0 if self.waiting else 1)


@runtime_checkable
class Loaded(Protocol):
    """A broker that can tell."""

    def load(self, queue_name: str) -> Load:
        """The load of that queue.

        Raises:
            BrokerConnectionError, RedisError, OSError: when the queue does not answer.
        """


def load(broker: dramatiq.Broker, queue_name: str) -> Load:
    """Ask the broker; where it cannot tell, nothing is under way."""
    if isinstance(broker, Loaded):
        return broker.load(queue_name)
    if isinstance(broker, StubBroker):
        queue = broker.queues[queue_name]
        return Load(queue.qsize(), queue.unfinished_tasks)
    return Load()
