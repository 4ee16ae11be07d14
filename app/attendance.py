"""Attendance: workers say in the broker's Redis which queues they serve.

Who sends a message learns how many threads may answer it, and who looks whether anybody does.
"""

from __future__ import annotations

import time
from typing import Any

import redis

#: Seconds between two signs that a worker serves a queue, and after how many without one it does not.
EVERY, ABSENT = 5.0, 16.0

#: Where Dramatiq keeps what is its own.
NAMESPACE = "dramatiq"


def tell(client: redis.Redis, queue: str, who: str, threads: int) -> None:
    """Say that `who` serves this queue with so many threads.

    Raises:
        redis.RedisError: when it cannot be said.
    """
    with client.pipeline(transaction=False) as pipeline:
        pipeline.zadd(_key(queue), {f"{who}:{threads}": time.time()})
        pipeline.expire(_key(queue), int(ABSENT * 2))
        pipeline.execute()


def ask(pipeline: Any, queue: str) -> None:
    """Add to a pipeline what `threads` reads: one answer, the first of two."""
    until = time.time() - ABSENT
    pipeline.zrangebyscore(_key(queue), until, "+inf")
    pipeline.zremrangebyscore(_key(queue), "-inf", until)


def threads(answer: Any) -> int:
    """How many threads serve the queue, all workers together."""
    return sum(int(each.rpartition(b":")[2]) for each in answer)


def serving(client: redis.Redis, queue: str) -> int:
    """The same, asked by itself.

    Raises:
        redis.RedisError: when it does not answer.
    """
    return threads(client.zrangebyscore(_key(queue), time.time() - ABSENT, "+inf"))


def _key(queue: str) -> str:
    return f"{NAMESPACE}:__serving__.{queue}"
