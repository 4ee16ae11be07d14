"""Shared: what the processes of a deployment tell each other through Redis. Hints only: the database is the truth."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app import redis_client

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that Redis may take to answer. It is near, and whoever asks can do without.
PATIENCE = 0.5

#: Seconds for which it is left alone when it does not answer, so that a silent one does not slow everything down.
SILENCE = 5.0


class Shared:
    """Questions to Redis that never raise and never take long."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        # One more try: the server may have been restarted since the connection was made.
        self.client = redis_client.connect(
            url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 1)
        )
        self._clock = clock
        self._silent_until = float("-inf")
        #: Kinds of refusals that have been told of.
        self._refusals: set[str] = set()

    def ask(self, question: Callable[[redis.Redis], T], otherwise: T) -> T:
        """What `question` returns; `otherwise` when Redis fails, or failed a moment ago."""
        if self._clock() < self._silent_until:
            return otherwise
        try:
            return question(self.client)
        except redis.ResponseError as error:
            # It does answer: an old server that lacks a command, a key of another kind, a full memory. Other questions
            # may go well, so they are asked.
            kind = str(error).partition(" ")[0]
            if kind not in self._refusals:
                self._refusals.add(kind)
                log.warning("Redis refuses a command; going on without: %s", error)
            return otherwise
        except (redis.RedisError, OSError) as error:
            self._silent_until = self._clock() + SILENCE
            log.warning("Redis does not answer; going on without: %s", error)
            return otherwise

    def close(self) -> None:
        self.client.close()
