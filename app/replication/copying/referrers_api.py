"""The referrers API: which registries have it (OCI distribution specification 1.1, "Listing Referrers")."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Collection

from app.registry import Descriptor, NotFound, RegistryClient, TimedOut, Unreachable

#: Seconds after which a registry is asked again whether it has the referrers API; registries get updated.
ASK_AGAIN = 600.0

#: Seconds for which a registry that was silent when asked is not asked again: each time costs the idle limit.
SILENT_FOR = 30.0


class Support:
    """Remembers which registries have the referrers API. One for each process, shared by all its syncs.

    Those without are not asked for every manifest. One that calls a repository or manifest unknown has told nothing
    of its API: that answer counts for this repository alone. `without` are known not to have it, and never asked.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, without: Collection[str] = ()) -> None:
        self._clock = clock
        self._without = frozenset(without)
        self._lock = threading.Lock()
        #: Whether it has the API, and until when that is believed, by registry and by registry and repository.
        self._known: dict[tuple[str, ...], tuple[bool, float]] = {}
        self._asking: dict[str, threading.Lock] = {}
        #: What came instead of an answer, and when.
        self._failed: dict[str, tuple[Unreachable, float]] = {}

    def has(self, registry: RegistryClient, repository: str, digest: str) -> bool:
        """Tell whether the registry lists referrers; `digest` is what it is asked about if that is not known."""
        known = self._look(registry.name, repository)
        return known if known is not None else self.referrers(registry, repository, digest) is not None

    def referrers(self, registry: RegistryClient, repository: str, digest: str) -> list[Descriptor] | None:
        """The manifests whose subject is `digest`; None where the registry has no such API.

        Raises:
            RegistryError: for any answer that says neither; also what somebody else was told who asked at that time.
        """
        came = self._clock()
        if self._look(registry.name, repository) is None:
            with self._lock:
                asking = self._asking.setdefault(registry.name, threading.Lock())
            # One asks; the others wait for what it learns rather than ask the same.
            with asking:
                if self._look(registry.name, repository) is None:
                    self._spare(registry.name, came)
                    return self._learn(registry, repository, digest)
        if not self._look(registry.name, repository):
            return None
        return self._ask(registry, repository, digest)

    def _spare(self, registry: str, came: float) -> None:
        """Raise what the registry has just failed with, where asking once more would most likely take as long."""
        error, at = self._failed.get(registry, (None, 0.0))
        if error is not None and (came < at or (isinstance(error, TimedOut) and self._clock() < at + SILENT_FOR)):
            # A copy: each raise adds to an error's traceback.
            raise copy.copy(error)

    def _learn(self, registry: RegistryClient, repository: str, digest: str) -> list[Descriptor] | None:
        try:
            return self._ask(registry, repository, digest)
        except Unreachable as error:
            self._failed[registry.name] = (copy.copy(error), self._clock())
            raise

    def _ask(self, registry: RegistryClient, repository: str, digest: str) -> list[Descriptor] | None:
        try:
            found = registry.referrers(repository, digest)
        except NotFound as error:
            error.require_witness()
            self._keep((registry.name, repository), has=False)
            return None
        self._keep((registry.name,), has=found is not None)
        return found

    def _look(self, registry: str, repository: str) -> bool | None:
        if registry in self._without:
            return False
        now = self._clock()
        with self._lock:
            for key in ((registry, repository), (registry,)):
                has, until = self._known.get(key, (False, float("-inf")))
                if until > now:
                    return has
        return None

    def _keep(self, key: tuple[str, ...], *, has: bool) -> None:
        now = self._clock()
        with self._lock:
            self._known = {each: known for each, known in self._known.items() if known[1] > now}
            self._known[key] = (has, now + ASK_AGAIN)
