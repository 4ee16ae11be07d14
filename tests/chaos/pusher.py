"""Somebody who pushes images while things break, and keeps a record of what was acknowledged."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import requests

from tests.chaos.checker import Acknowledged
from tests.support import images
from tests.support.images import Image
from tests.support.registries import Registry
from tests.support.wire import WireError, push

#: Seconds between two tries of a push that the registry did not take, and how long one goes on trying.
_AGAIN = 0.5
_PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class Order:
    """One push to come."""

    repository: str
    tag: str
    #: Bytes of each layer.
    layers: tuple[int, ...]

    def build(self) -> Image:
        """Make an image of random content."""
        return images.image([os.urandom(size) for size in self.layers])


def orders(
    count: int,
    rng: random.Random,
    *,
    repositories: int = 20,
    tags: int = 6,
    prefix: str = "team/app",
    small: int = 20_000,
    large: int = 1_500_000,
    share: float = 0.5,
) -> list[Order]:
    """Plan pushes over some repositories and tags, so that tags move.

    :param share: of the images, so many have a large layer beside the small ones.
    """
    planned = []
    for _ in range(count):
        sizes = [rng.randint(small // 2, small) for _ in range(2)]
        if rng.random() < share:
            sizes.append(rng.randint(large // 2, large))
        repository = f"{prefix}-{rng.randrange(repositories)}"
        planned.append(Order(repository, f"v{rng.randrange(tags)}", tuple(sizes)))
    return planned


@dataclass
class Pusher:
    """`with Pusher(registry, orders) as pusher: ...; pusher.join()`.

    A push that fails is tried again until the registry takes it, as any build server does. Pushes to one repository
    are made in their order. `told` is called with each acknowledged push, in the pushing thread.
    """

    registry: Registry
    orders: Sequence[Order]
    threads: int = 3
    #: Seconds between one push and the next of the same thread.
    pause: float = 0.0
    told: Callable[[Acknowledged], None] | None = None
    acknowledged: list[Acknowledged] = field(default_factory=list)
    #: Tries that the registry did not take.
    failures: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _pool: ThreadPoolExecutor = field(init=False)
    _errors: list[BaseException] = field(default_factory=list)
    _pending: int = 0

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="pusher")

    @property
    def done(self) -> bool:
        """Whether everything has been pushed.

        Raises:
            BaseException: whatever ended a pushing thread.
        """
        with self._lock:
            if self._errors:
                raise self._errors[0]
            return self._pending == 0

    @property
    def pushed(self) -> int:
        with self._lock:
            return len(self.acknowledged)

    def start(self) -> Self:
        """Begin, in threads of its own."""
        # What goes to one repository goes through one thread: the last acknowledged digest of a tag is its last.
        lines: dict[int, list[Order]] = {}
        for order in self.orders:
            lines.setdefault(_line(order.repository, self.threads), []).append(order)
        self._pending = len(self.orders)
        for line in lines.values():
            self._pool.submit(self._run, line)
        return self

    def stop(self) -> None:
        """Push nothing more."""
        self._stopped.set()
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, line: Sequence[Order]) -> None:
        try:
            for order in line:
                if self._stopped.is_set():
                    return
                self._push(order)
                self._stopped.wait(self.pause)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            with self._lock:
                self._errors.append(error)

    def _push(self, order: Order) -> None:
        image = order.build()
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                digest = push(self.registry, order.repository, order.tag, image)
                break
            except (WireError, requests.RequestException):
                with self._lock:
                    self.failures += 1
                if time.monotonic() > deadline or self._stopped.wait(_AGAIN):
                    raise
        taken = Acknowledged(order.repository, order.tag, digest)
        with self._lock:
            self.acknowledged.append(taken)
        if self.told is not None:
            self.told(taken)
        with self._lock:
            self._pending -= 1


def _line(repository: str, threads: int) -> int:
    return sum(repository.encode()) % threads
