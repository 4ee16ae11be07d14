"""Attendance: workers say in the broker's Redis which queues they serve.

Who sends a message learns how many threads may answer it, and who looks whether anybody does.
"""

from __future__ import annotations

from typing import Any

import redis

#: Seconds between two signs that a worker serves a queue, and after how many without one it does not.
EVERY, ABSENT = 5.0, 16.0

#: Where Dramatiq keeps what is its own.
NAMESPACE = "dramatiq"

#: By the clock of Redis, which is one for all: those of two machines may differ by more than `ABSENT`. Who serves
#: clears away who does not any more, and what a server with another clock wrote before a failover; who asks writes
#: nothing.
_TELL = """
local instant = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], instant, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', instant - ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], instant + 1, '+inf')
redis.call('EXPIRE', KEYS[1], 2 * ARGV[2])
"""
_ASK = "return redis.call('ZRANGEBYSCORE', KEYS[1], redis.call('TIME')[1] - ARGV[1], '+inf')"


def tell(client: redis.Redis, queue: str, who: str, threads: int) -> None:
    """Say that `who` serves this queue with so many threads.

    Raises:
        redis.RedisError: when it cannot be said.
    """
    client.eval(_TELL, 1, _key(queue), f"{who}:{threads}", int(ABSENT))


def ask(client: Any, queue: str) -> Any:
    """Ask, by a client or in a pipeline: `threads` reads the answer.

    Raises:
        redis.RedisError: when it does not answer.
    """
    return client.eval(_ASK, 1, _key(queue), int(ABSENT))


def threads(answer: Any) -> int:
    """How many threads serve the queue, all workers together."""
    return sum(int(each.rpartition(b":")[2]) for each in answer)


def serving(client: redis.Redis, queue: str) -> int:
    """The same, asked by itself.

    Raises:
        redis.RedisError: when it does not answer.
    """
    return threads(ask(client, queue))


def _key(queue: str) -> str:
    return f"{NAMESPACE}:__serving__.{queue}"
