"""What people do to the primary registry all day: pushes of all kinds and deletions, from a seeded generator."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import requests

from tests.chaos.checker import Acknowledged
from tests.support import images
from tests.support.images import Image
from tests.support.registries import Registry
from tests.support.wire import WireError, delete_digest, push

#: Groups, repositories of each, and tags of each repository that move all the time.
TEAMS, REPOSITORIES, MOVING = 4, 12, 5

#: Base layers that images of all repositories share, and the bytes of each.
BASES, BASE = 6, 200_000

#: How often of a hundred: what a push is of.
KINDS = {"moved": 44, "release": 30, "index": 14, "medium": 8, "digest": 4}

#: Bytes of a small and of a medium layer.
SMALL, MEDIUM = (5_000, 60_000), (800_000, 3_000_000)

#: One large layer, which goes through the spool, in so many pushes; its bytes.
SELDOM, LARGE = 150, 17 * 1024 * 1024

#: How often Distribution 2.8 tells of a deletion: once of the manifest, and once of its tag.
TOLD = 2

#: Seconds between two tries of what the registry did not take, and how long it is tried.
_AGAIN, _PATIENCE = 0.5, 300.0


@dataclass
class Mix:
    """`with Mix(registry, seed=7, pause=1.0, releases=100) as mix: ...` works in a thread of its own until it is left.

    `held` is taken for each operation: whoever holds it works on the registry meanwhile.
    """

    registry: Registry
    seed: int
    #: Seconds from one operation to the next.
    pause: float
    #: So many new tags in all, then the oldest are deleted.
    releases: int
    #: Asked before each operation; waits while it says no.
    may: Callable[[], bool] = lambda: True
    held: threading.Lock = field(default_factory=threading.Lock)
    #: In the order in which they were taken.
    acknowledged: list[Acknowledged] = field(default_factory=list)
    #: What is on the primary as far as we know: repository and tag, and the digest.
    there: dict[tuple[str, str], str] = field(default_factory=dict)
    #: What was deleted last, and not pushed again.
    deleted: set[tuple[str, str]] = field(default_factory=set)
    #: `events` (what the registry tells of), `tags` (put or deleted), `blobs`, `bytes`, `failures`, and each kind.
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._bases = [self._random.randbytes(BASE) for _ in range(BASES)]
        self._releases: deque[tuple[str, str]] = deque()
        self._pushed: set[tuple[str, str]] = set()
        self._number = 0
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="mix", daemon=True)

    def counted(self) -> dict[str, int]:
        """What was done so far.

        Raises:
            BaseException: whatever ended the thread.
        """
        if self._error is not None:
            raise self._error
        with self._counting:
            return {**self.done, "there": len(self.there)}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            due = time.monotonic()
            while not self._over.wait(max(0.0, due - time.monotonic())):
                due = max(due, time.monotonic() - self.pause) + self.pause
                if self.may():
                    with self.held:
                        self.step()
        except BaseException as error:  # noqa: BLE001 - told to whoever asks
            self._error = error

    def step(self) -> None:
        """One operation."""
        if len(self._releases) > self.releases:
            self._delete(*self._releases.popleft())
            return
        self._number += 1
        repository = f"team-{self._random.randrange(TEAMS)}/app-{self._random.randrange(REPOSITORIES)}"
        kind = "large" if self._number % SELDOM == 0 else self._random.choices(list(KINDS), list(KINDS.values()))[0]
        moving = f"v{self._random.randrange(MOVING)}"
        if kind == "release":
            tag: str | None = f"r-{self._number}"
        else:
            tag = None if kind == "digest" else moving
        self._push(repository, tag, self._image(kind), kind)
        if kind == "release" and tag is not None:
            self._releases.append((repository, tag))

    def _image(self, kind: str) -> Image:
        if kind == "index":
            return images.index([self._one("small", architecture) for architecture in ("amd64", "arm64")])
        return self._one(kind)

    def _one(self, kind: str, architecture: str = "amd64") -> Image:
        layers = [self._random.choice(self._bases), self._random.randbytes(self._random.randint(*SMALL))]
        if kind == "medium":
            layers.append(self._random.randbytes(self._random.randint(*MEDIUM)))
        if kind == "large":
            layers.append(self._random.randbytes(LARGE))
        return images.image(layers, architecture=architecture)

    def _push(self, repository: str, tag: str | None, image: Image, kind: str) -> None:
        digest = self._insist(lambda: push(self.registry, repository, tag, image))
        manifests = list(image.walk())
        blobs = {(repository, blob.digest): len(blob.data) for part in manifests for blob in part.blobs}
        with self._counting:
            fresh = blobs.keys() - self._pushed
            self._pushed |= fresh
            self.done.update(
                {
                    kind: 1,
                    "pushes": 1,
                    "events": len(manifests),
                    "manifests": len(manifests),
                    "tags": int(tag is not None),
                    "blobs": len(fresh),
                    "bytes": sum(blobs[name] for name in fresh),
                }
            )
            if tag is not None:
                self.acknowledged.append(Acknowledged(repository, tag, digest))
                self.there[repository, tag] = digest
                self.deleted.discard((repository, tag))

    def _delete(self, repository: str, tag: str) -> None:
        digest = self.there[repository, tag]
        # By digest, which 2.8 alone can; each image is new, so no other tag goes with it.
        self._insist(lambda: self._deleted(repository, digest))
        with self._counting:
            self.done.update({"deletions": 1, "events": TOLD, "tags": 1})
            del self.there[repository, tag]
            self.deleted.add((repository, tag))

    def _deleted(self, repository: str, digest: str) -> str:
        try:
            delete_digest(self.registry, repository, digest)
        except WireError as error:
            # A try before that was not answered.
            if error.status != 404:
                raise
        return digest

    def _insist(self, operation: Callable[[], str]) -> str:
        """As any build server does."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return operation()
            except (WireError, requests.RequestException):
                with self._counting:
                    self.done["failures"] += 1
                if time.monotonic() > deadline:
                    raise
                time.sleep(_AGAIN)
