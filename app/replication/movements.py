"""Movements: the bytes that the syncs of all processes have under way, told through Redis to whoever watches."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import redis

from app.replication.copying.moving import Moving
from app.replication.shared import Shared
from app.speed import Speed

#: Seconds between two tellings, for which one is believed, and after which a sync is worth any: most are over before.
INTERVAL, LASTS, AFTER = 1.0, 5, 2.0

#: Of what is told: processes of an older version, which run on during an update, must not read it.
VERSION = 1


@dataclass(frozen=True, slots=True)
class Held:
    """A tracking row in somebody's hands: its site's name and its repository's path, and the token of the lease."""

    site: str
    path: str
    token: int

    @property
    def key(self) -> str:
        # By names: deployments that share a Redis share no ids.
        return f"geo:moving:{VERSION}:{self.site}/{self.path}"


@dataclass(frozen=True, slots=True)
class Movement:
    """The bytes of one sync, as its process told within the last seconds."""

    #: Sent so far, or found to be there, and in all as far as is known: it grows while images are being looked at.
    done: int
    total: int
    #: Bytes a second over the last while; None while nothing can be said.
    speed: float | None
    #: The largest blob under way, if any is: its digest, size and the bytes sent of it.
    digest: str | None = None
    size: int = 0
    came: int = 0

    @property
    def seconds_left(self) -> float | None:
        """For what is known of by now, at this speed; None where there is none."""
        return (self.total - self.done) / self.speed if self.speed and self.total > self.done else None


class Movements:
    """One for each process. Hints only: without Redis nobody is told, and nothing else changes.

    The threads that copy only count. One thread tells, once a second, in one round trip for all syncs of the process,
    and only of those that have taken a while already.
    """

    def __init__(self, shared: Shared | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        #: What this process has under way.
        self.whole = Moving()
        self._shared = shared
        self._clock = clock
        self._lock = threading.Lock()
        self._syncs: set[_Sync] = set()
        self._stopped = threading.Event()
        self._telling: threading.Thread | None = None

    @contextmanager
    def of(self, held: Held) -> Iterator[Moving]:
        """Count what the sync of this row moves, and tell of it while inside."""
        sync = _Sync(held, Moving(self.whole), self._clock(), Speed(self._clock))
        if self._shared is None:
            yield sync.moving
            return
        with self._lock:
            self._syncs.add(sync)
            if self._telling is None:
                # As late as that: a thread does not survive the fork of a server.
                self._telling = threading.Thread(target=self._run, name="movements", daemon=True)
                self._telling.start()
        try:
            yield sync.moving
        finally:
            # What was told of it ends by itself: the next holder of the row has another token.
            with self._lock:
                self._syncs.discard(sync)

    def look(self, rows: Sequence[Held]) -> Mapping[Held, Movement]:
        """What was told of these, where anything was."""
        if self._shared is None or not rows:
            return {}
        nothing: list[bytes | None] = []
        answers = self._shared.ask(partial(_ask, rows=rows), nothing)
        told = {held: _decode(held, answer) for held, answer in zip(rows, answers, strict=False)}
        return {held: movement for held, movement in told.items() if movement is not None}

    def tell(self) -> None:
        """Tell once, of all syncs that are worth it."""
        with self._lock:
            syncs = list(self._syncs)
        now = self._clock()
        # Of each, for the sake of its speed.
        seen = {sync: sync.seen() for sync in syncs}
        told = {
            sync.held: movement for sync, movement in seen.items() if movement.total and now - sync.began_at >= AFTER
        }
        if told and self._shared is not None:
            self._shared.ask(partial(_tell, told=told), None)

    def close(self) -> None:
        """Tell no more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            self.tell()


@dataclass(frozen=True, slots=True, eq=False)
class _Sync:
    held: Held
    moving: Moving
    began_at: float
    speed: Speed

    def seen(self) -> Movement:
        moved, blob = self.moving.now, self.moving.largest
        movement = Movement(moved.done, moved.total, self.speed.at(self.moving.sent))
        if blob is None:
            return movement
        return Movement(moved.done, moved.total, movement.speed, blob.digest, blob.size, blob.came)


def _tell(client: redis.Redis, told: Mapping[Held, Movement]) -> None:
    pipeline = client.pipeline(transaction=False)
    for held, movement in told.items():
        pipeline.set(held.key, json.dumps({"token": held.token, **asdict(movement)}), ex=LASTS)
    pipeline.execute()


def _ask(client: redis.Redis, rows: Sequence[Held]) -> list[bytes | None]:
    pipeline = client.pipeline(transaction=False)
    for held in rows:
        pipeline.get(held.key)
    answers: list[bytes | None] = pipeline.execute()
    return answers


def _decode(held: Held, told: bytes | None) -> Movement | None:
    """What was told of the row in this holder's hands; None for that of a former one, and for what cannot be read."""
    try:
        found: Any = json.loads(told or b"")
        return Movement(**found) if found.pop("token") == held.token else None
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
