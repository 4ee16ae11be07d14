"""Creation: the repository that a push found missing, made where its provider lets us."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from app.providers import Creation, Provider
from app.registry import Denied, NotFound, RegistryError, Unauthorized, Unreachable

_WRITES = frozenset({"POST", "PUT", "PATCH"})


class RepositoryNotCreated(Exception):
    """Something has to be made on the destination by a person before this repository can be pushed there."""

    reason = "repository_not_created"
    temporary = False


class Creations:
    """The repositories of one registry. One for each process, shared by its threads."""

    def __init__(self, provider: Provider, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._provider = provider
        self._lock = threading.Lock()
        #: Repositories that are there, and from when on we know it.
        self._there: dict[str, float] = {}

    def make(self, repository: str, error: RegistryError, began: float) -> bool:
        """Tell whether the push that `error` ended is worth another try, since the repository is there only now.

        `began` is when the push did, by `clock`.

        Raises:
            RepositoryNotCreated: it is missing, and a person has to do something about it.
            RegistryError: it is missing, and the control plane does not make it.
        """
        profile = self._provider.profile
        if error.method not in _WRITES or profile.creation is Creation.ON_PUSH:
            return False
        missing = says_missing(error)
        if profile.creation is Creation.BY_HAND:
            if missing:
                raise RepositoryNotCreated(
                    f"{profile.title} has no place for {repository}: it needs {profile.must_make(repository)} ({error})"
                ) from error
            return False
        with self._lock:
            # Of a missing repository some only close the connection (Amazon's). So does a registry in trouble.
            if not missing and not _cut(error):
                return False
            known = self._there.get(repository)
            if known is None or (missing and known <= began):
                made = self._provider.plane().create(repository)
                known = self._there[repository] = self.clock()
                return made or missing
            # Another thread has made it since.
            return known > began


def says_missing(error: RegistryError) -> bool:
    """Whether a refused push says that its repository is not there: some call that a matter of rights."""
    if "NAME_UNKNOWN" in error.codes:
        return True
    return isinstance(error, (NotFound, Unauthorized, Denied)) and b"not found" in error.body.lower()


def _cut(error: RegistryError) -> bool:
    return isinstance(error, Unreachable) and error.reason == "connection_lost"
