"""Flights: each blob travels to a registry once, however many repositories, threads and workers need it by now."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import redis

from app.redis_client import DELETE_OURS
from app.replication.shared import Shared

#: Seconds after which the flights of a killed process are nobody's, and between two signs of life.
TTL, BEAT = 30, 8.0

#: Seconds for which it is believed that a flight of another process is under way.
FRESH_FOR = 0.04

#: Seconds for which a registry that refused a mount is taken for one that does not mount.
APART_FOR = 600.0

#: Takes a flight that nobody has, or that we have: the answer to our taking it, or our end of it, may have got lost.
_TAKE = """
local found = redis.call('get', KEYS[1])
if found and found ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'ex', ARGV[2])
return 1
"""

#: Touches a flight only while it is ours: after a long stop it may be somebody else's.
_EXTEND = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('expire', KEYS[1], ARGV[2]) end return 0"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Flights that somebody else has under way: in this process, to be waited for, and in others, to be asked for."""

    here: tuple[Future[None], ...] = ()
    others: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.here or self.others)


class Flights:
    """Who carries which blob. One for each process; through `shared` it knows of the other processes' too.

    Nobody waits in here: who finds a blob under way does something else and asks again. Without Redis there are only
    this process's flights: a blob may then travel once for each process.
    """

    def __init__(self, shared: Shared | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._clock = clock
        self._apart: dict[str, float] = {}
        self._token = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._ours: dict[str, Future[None]] = {}
        self._stopped = threading.Event()
        self._beating: threading.Thread | None = None
        #: Which flights of other processes Redis knew, and when it was asked.
        self._standing: dict[str, bool] = {}
        self._looked_at = float("-inf")

    def key(self, registry: str, repository: str, digest: str) -> str:
        """The flight of a blob into a repository: that of the blob into the registry, as long as it mounts there."""
        if self._apart.get(registry, float("-inf")) > self._clock():
            return f"{registry}/{repository}@{digest}"
        return f"{registry}/{digest}"

    def part(self, registry: str) -> None:
        """The registry did not mount a blob that it holds: waiting for other repositories' flights is no use."""
        self._apart[registry] = self._clock() + APART_FOR

    def begin(self, keys: Sequence[str]) -> tuple[set[str], Elsewhere]:
        """Take the flights that nobody has; the caller must `end` each. The others are told as they stand."""
        if self._shared is not None:
            # Before anything is taken: a process out of threads could not keep it.
            self._beat()
        with self._lock:
            here = tuple(self._ours[key] for key in keys if key in self._ours)
            free = [key for key in keys if key not in self._ours]
            for key in free:
                self._ours[key] = Future()
        try:
            taken = self._take(free)
        except BaseException:
            # Whatever it was: a flight that nobody ends would be waited for as long as the process lives.
            self.end(free)
            raise
        others = tuple(key for key in free if key not in taken)
        self._land(others)
        return taken, Elsewhere(here, others)

    def end(self, keys: Iterable[str]) -> None:
        """Give flights back, whether the blob arrived or not."""
        ended = list(keys)

        def tell(client: redis.Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            for key in ended:
                pipeline.eval(DELETE_OURS, 1, _key(key), self._token)
            pipeline.execute()

        try:
            if self._shared is not None and ended:
                self._shared.ask(tell, None)
        finally:
            self._land(ended)

    def over(self, elsewhere: Elsewhere) -> bool:
        """Whether any of these flights has ended: then it is worth asking again."""
        if any(flight.done() for flight in elsewhere.here) or not elsewhere:
            return True
        if self._shared is None or not elsewhere.others:
            return bool(elsewhere.others)
        return not self._stand(elsewhere.others)

    def close(self) -> None:
        """Stop giving signs of life; flights under way end by themselves."""
        self._stopped.set()

    def _stand(self, keys: Sequence[str]) -> bool:
        """Whether all of these are under way in other processes. Whole repositories wait for one blob, and each of
        their copies asks twenty times a second: what Redis said a moment ago is good enough."""
        now = self._clock()
        with self._lock:
            if now - self._looked_at >= FRESH_FOR:
                self._standing, self._looked_at = {}, now
            unknown = [key for key in keys if key not in self._standing]
        if unknown:
            # No answer counts as an end: without Redis there are no flights elsewhere.
            answers = [False] * len(unknown)
            if self._shared is not None:
                answers = self._shared.ask(lambda client: _exist(client, unknown), answers)
            with self._lock:
                self._standing.update(zip(unknown, answers, strict=True))
        with self._lock:
            return all(self._standing.get(key, False) for key in keys)

    def _take(self, keys: list[str]) -> set[str]:
        if self._shared is None or not keys:
            return set(keys)

        def question(client: redis.Redis) -> set[str]:
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.eval(_TAKE, 1, _key(key), self._token, str(TTL))
            return {key for key, taken in zip(keys, pipeline.execute(), strict=True) if taken}

        return self._shared.ask(question, set(keys))

    def _land(self, keys: Iterable[str]) -> None:
        with self._lock:
            flights = [self._ours.pop(key) for key in keys if key in self._ours]
        for flight in flights:
            flight.set_result(None)

    def _beat(self) -> None:
        with self._lock:
            if self._beating is None:
                beating = threading.Thread(target=self._keep, name="flights", daemon=True)
                beating.start()
                self._beating = beating

    def _keep(self) -> None:
        while not self._stopped.wait(BEAT):
            with self._lock:
                keys = list(self._ours)
            if keys and self._shared is not None:
                self._shared.ask(lambda client, keys=keys: self._extend(client, keys), None)  # type: ignore[misc]

    def _extend(self, client: redis.Redis, keys: Sequence[str]) -> None:
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.eval(_EXTEND, 1, _key(key), self._token, str(TTL))
        pipeline.execute()


def _key(key: str) -> str:
    return f"geo:flight:{key}"


def _exist(client: redis.Redis, keys: Sequence[str]) -> list[bool]:
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.exists(_key(key))
    return [bool(answer) for answer in pipeline.execute()]
