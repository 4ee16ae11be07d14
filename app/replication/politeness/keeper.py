"""Keeper: the thread of a process that hears of limits at once, and says which slots are still in use."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

import redis
from redis.client import PubSub

from app.replication.politeness.board import CHANNEL
from app.replication.politeness.gate import Gate
from app.replication.shared import Shared

log = logging.getLogger(__name__)

#: Seconds between two looks while a limit holds, and while none does: what is told is heard at once in any case.
BUSY, IDLE = 1.0, 5.0

#: Seconds that listening takes at most, so that the process can end, and between two tries to reach Redis.
_LISTEN, _RETRY = 0.25, 1.0


class Keeper:
    """One for each process. It runs from the first request on: a thread does not survive the fork of a server."""

    def __init__(self, shared: Shared, gates: Sequence[Gate], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._gates = gates
        self._clock = clock
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless it has begun."""
        with self._lock:
            if self._thread is None and not self._ending.is_set():
                self._thread = threading.Thread(target=self._run, name="politeness", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End, and wait for that."""
        with self._lock:
            self._ending.set()
            thread = self._thread
        if thread is not None:
            thread.join(5.0)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._listen()
            except (redis.RedisError, OSError, ValueError) as error:
                # Quietly: whoever asks Redis for something says that it does not answer.
                log.debug("listening for limits failed: %s", error)
            except Exception:
                # Slots that nobody keeps are given to others, and nothing would tell that this thread is gone.
                log.exception("listening for limits failed")
            self._ending.wait(_RETRY)

    def _listen(self) -> None:
        channel: PubSub = self._shared.client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        with contextlib.closing(channel):
            channel.subscribe(CHANNEL)
            looked = float("-inf")
            while not self._ending.is_set():
                told = self._told(channel)
                throttled = any(not gate.roomy() for gate in self._gates)
                if told or self._clock() - looked >= (BUSY if throttled else IDLE):
                    looked = self._clock()
                    for gate in self._gates:
                        gate.look()

    def _told(self, channel: PubSub) -> bool:
        """Listen for a moment; several messages are one."""
        told = False
        timeout = _LISTEN
        while channel.get_message(timeout=timeout) is not None:
            told, timeout = True, 0.0
        return told
