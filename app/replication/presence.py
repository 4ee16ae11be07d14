"""Presence: what a site is known to hold, so that nobody asks twice, and where a blob could be mounted from.

A hint with an age. A registry's garbage collection makes it wrong at any time; whoever finds it wrong calls `forget`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import redis

#: Seconds for which a digest counts as present in a repository without being asked for.
PRESENT_FOR = 3600

#: Seconds for which a repository is proposed as the source of a mount.
MOUNTABLE_FOR = 24 * 3600

#: Entries that a process keeps where there is no Redis.
KEPT = 100_000


class Presence(Protocol):
    """Known per (site, repository, digest). By digest alone it only proposes sources of mounts."""

    def present(self, site: str, repository: str, digests: Sequence[str]) -> set[str]:
        """Those of `digests` that the repository was seen to hold lately."""

    def sources(self, site: str, digests: Sequence[str]) -> dict[str, str]:
        """For some of `digests`, a repository of the site that a committed manifest refers to them in."""

    def seen(self, site: str, repository: str, digests: Iterable[str]) -> None:
        """These were uploaded to the repository, or answered for by it."""

    def committed(self, site: str, repository: str, digests: Iterable[str]) -> None:
        """A manifest that names these was accepted there: they can be mounted from it."""

    def forget(self, site: str, repository: str, digests: Iterable[str]) -> None:
        """What was known of these was wrong."""


class LocalPresence:
    """In this process's memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._present: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._sources: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def present(self, site: str, repository: str, digests: Sequence[str]) -> set[str]:
        now = self._clock()
        with self._lock:
            return {d for d in digests if self._present.get((site, repository, d), 0.0) > now}

    def sources(self, site: str, digests: Sequence[str]) -> dict[str, str]:
        now = self._clock()
        with self._lock:
            found = {d: self._sources.get((site, d), ("", 0.0)) for d in digests}
        return {digest: repository for digest, (repository, until) in found.items() if until > now}

    def seen(self, site: str, repository: str, digests: Iterable[str]) -> None:
        until = self._clock() + PRESENT_FOR
        with self._lock:
            for digest in digests:
                self._present[site, repository, digest] = until
                self._present.move_to_end((site, repository, digest))
            while len(self._present) > KEPT:
                self._present.popitem(last=False)

    def committed(self, site: str, repository: str, digests: Iterable[str]) -> None:
        kept = list(digests)
        self.seen(site, repository, kept)
        until = self._clock() + MOUNTABLE_FOR
        with self._lock:
            for digest in kept:
                self._sources[site, digest] = (repository, until)
                self._sources.move_to_end((site, digest))
            while len(self._sources) > KEPT:
                self._sources.popitem(last=False)

    def forget(self, site: str, repository: str, digests: Iterable[str]) -> None:
        with self._lock:
            for digest in digests:
                self._present.pop((site, repository, digest), None)
                if self._sources.get((site, digest), ("", 0.0))[0] == repository:
                    del self._sources[site, digest]


class SharedPresence:
    """In Redis, for all workers. Where Redis does not answer, nothing is known and nothing fails."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def present(self, site: str, repository: str, digests: Sequence[str]) -> set[str]:
        values = self._values([_present_key(site, repository, digest) for digest in digests])
        return {digest for digest, value in zip(digests, values, strict=True) if value is not None}

    def sources(self, site: str, digests: Sequence[str]) -> dict[str, str]:
        values = self._values([_source_key(site, digest) for digest in digests])
        return {d: value.decode() for d, value in zip(digests, values, strict=True) if value is not None}

    def seen(self, site: str, repository: str, digests: Iterable[str]) -> None:
        self._set([(_present_key(site, repository, digest), "1", PRESENT_FOR) for digest in digests])

    def committed(self, site: str, repository: str, digests: Iterable[str]) -> None:
        kept = list(digests)
        self._set(
            [(_present_key(site, repository, digest), "1", PRESENT_FOR) for digest in kept]
            + [(_source_key(site, digest), repository, MOUNTABLE_FOR) for digest in kept]
        )

    def forget(self, site: str, repository: str, digests: Iterable[str]) -> None:
        kept = list(digests)
        keys = [_present_key(site, repository, digest) for digest in kept]
        keys += [
            _source_key(site, digest) for digest, source in self.sources(site, kept).items() if source == repository
        ]
        if keys:
            try:
                self._client.delete(*keys)
            except redis.RedisError:
                return

    def _values(self, keys: list[str]) -> list[bytes | None]:
        if not keys:
            return []
        try:
            found: list[bytes | None] = self._client.mget(keys)  # type: ignore[assignment]  # the stub allows await
        except redis.RedisError:
            return [None] * len(keys)
        return found

    def _set(self, entries: Sequence[tuple[str, str, int]]) -> None:
        if not entries:
            return
        try:
            pipeline = self._client.pipeline(transaction=False)
            for key, value, seconds in entries:
                pipeline.set(key, value, ex=seconds)
            pipeline.execute()
        except redis.RedisError:
            return


def _present_key(site: str, repository: str, digest: str) -> str:
    return f"geo:present:{site}:{repository}:{digest}"


def _source_key(site: str, digest: str) -> str:
    return f"geo:source:{site}:{digest}"
