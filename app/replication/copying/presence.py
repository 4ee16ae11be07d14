"""Presence: what a site is known to hold, so that nobody asks twice, and where a blob could be mounted from.

A hint with an age. A registry's garbage collection makes it wrong at any time; whoever finds it wrong calls `forget`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import redis

from app.replication.shared import Shared

#: Seconds for which a blob counts as present in a repository without being asked for. Not longer: what nothing refers
#: to any more goes with the registry's next garbage collection, and its cache may hide that even from a push.
PRESENT_FOR = 300

#: Seconds for which a repository is proposed as the source of a mount.
MOUNTABLE_FOR = 24 * 3600

#: Repositories, and sources of mounts, that a process keeps where there is no Redis.
KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of some blobs: those present in the repository, and for others a repository that holds them."""

    present: frozenset[str] = frozenset()
    sources: Mapping[str, str] = field(default_factory=dict)


class Presence(Protocol):
    """Known per (registry, repository, digest); by (registry, digest) it only proposes sources of mounts."""

    def look(self, registry: str, repository: str, digests: Sequence[str]) -> Known:
        """What is known of these."""

    def proven(self, registry: str, repository: str, digests: Iterable[str]) -> None:
        """The registry took these into the repository, or gave a byte of each."""

    def forget(self, registry: str, repository: str, digest: str | None = None) -> None:
        """What was known of this blob, or of the whole repository, was wrong."""


class LocalPresence:
    """In this process's memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._present: OrderedDict[tuple[str, str], OrderedDict[str, float]] = OrderedDict()
        self._sources: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def look(self, registry: str, repository: str, digests: Sequence[str]) -> Known:
        now = self._clock()
        with self._lock:
            held: Mapping[str, float] = self._present.get((registry, repository), {})
            present = frozenset(digest for digest in digests if held.get(digest, 0.0) > now)
            proposed = {digest: self._sources.get((registry, digest), ("", 0.0)) for digest in digests}
        return Known(present, _useful({d: r for d, (r, until) in proposed.items() if until > now}, repository, present))

    def proven(self, registry: str, repository: str, digests: Iterable[str]) -> None:
        now = self._clock()
        with self._lock:
            held = self._present.setdefault((registry, repository), OrderedDict())
            self._present.move_to_end((registry, repository))
            for digest in digests:
                held[digest] = now + PRESENT_FOR
                held.move_to_end(digest)
                self._sources[registry, digest] = (repository, now + MOUNTABLE_FOR)
                self._sources.move_to_end((registry, digest))
            # In the order in which they were proven, so the first that is good ends it.
            while held and next(iter(held.values())) <= now:
                held.popitem(last=False)
            while len(self._present) > KEPT:
                self._present.popitem(last=False)
            while len(self._sources) > KEPT:
                self._sources.popitem(last=False)

    def forget(self, registry: str, repository: str, digest: str | None = None) -> None:
        with self._lock:
            if digest is None:
                self._present.pop((registry, repository), None)
                return
            if (registry, repository) in self._present:
                self._present[registry, repository].pop(digest, None)
            if self._sources.get((registry, digest), ("", 0.0))[0] == repository:
                del self._sources[registry, digest]


class SharedPresence:
    """In Redis, for all workers. While Redis does not answer, nothing is known and nothing fails."""

    def __init__(self, shared: Shared, clock: Callable[[], float] = time.time) -> None:
        self._shared = shared
        self._clock = clock

    def look(self, registry: str, repository: str, digests: Sequence[str]) -> Known:
        if not digests:
            return Known()
        now = self._clock()

        def question(client: redis.Redis) -> Known:
            pipeline = client.pipeline(transaction=False)
            # Not ZMSCORE, which a Redis before 6.2 does not have.
            for digest in digests:
                pipeline.zscore(_present_key(registry, repository), digest)
            pipeline.mget([_source_key(registry, digest) for digest in digests])
            *scores, sources = pipeline.execute()
            present = frozenset(d for d, until in zip(digests, scores, strict=True) if until and until > now)
            proposed = {d: source.decode() for d, source in zip(digests, sources, strict=True) if source}
            return Known(present, _useful(proposed, repository, present))

        return self._shared.ask(question, Known())

    def proven(self, registry: str, repository: str, digests: Iterable[str]) -> None:
        kept = list(digests)
        if not kept:
            return
        now, key = self._clock(), _present_key(registry, repository)

        def tell(client: redis.Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            pipeline.zadd(key, dict.fromkeys(kept, now + PRESENT_FOR))
            pipeline.zremrangebyscore(key, "-inf", now)
            pipeline.expire(key, PRESENT_FOR)
            for digest in kept:
                pipeline.set(_source_key(registry, digest), repository, ex=MOUNTABLE_FOR)
            pipeline.execute()

        self._shared.ask(tell, None)

    def forget(self, registry: str, repository: str, digest: str | None = None) -> None:
        key = _present_key(registry, repository)

        def tell(client: redis.Redis) -> None:
            if digest is None:
                client.delete(key)
                return
            client.zrem(key, digest)
            source = _source_key(registry, digest)
            if client.get(source) == repository.encode():
                client.delete(source)

        self._shared.ask(tell, None)


def _useful(proposed: Mapping[str, str], repository: str, present: frozenset[str]) -> dict[str, str]:
    """A blob that is there needs no mount, and none comes from the repository that lacks it."""
    return {d: source for d, source in proposed.items() if source != repository and d not in present}


def _present_key(registry: str, repository: str) -> str:
    return f"geo:present:{registry}:{repository}"


def _source_key(registry: str, digest: str) -> str:
    return f"geo:source:{registry}:{digest}"
