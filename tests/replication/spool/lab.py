"""A laboratory for large blobs: registries, a line between them that breaks or is slow, and a spool."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from app.registry import (
    Anonymous,
    Descriptor,
    Digest,
    RegistryClient,
    Watch,
    copy_blob,
)
from app.replication.spool import Spool, SpoolDirectory
from tests.support import wire
from tests.support.copying import command
from tests.support.link import Link
from tests.support.processes import Process
from tests.support.registries import DistributionRegistry
from tests.support.root import ROOT

MIB = 1024 * 1024
REPOSITORY = "team/large"


class Blob:
    """Random bytes: the same each time for one seed."""

    def __init__(self, size: int, seed: int) -> None:
        self.data = random.Random(seed).randbytes(size)
        self.descriptor = Descriptor("application/octet-stream", Digest.of(self.data), size)

    @property
    def digest(self) -> str:
        return self.descriptor.digest

    @property
    def named(self) -> tuple[str, int]:
        return self.digest, len(self.data)


class Lab:
    """A primary behind a line, secondaries, and a spool."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path = path
        self.spool_path = path / "spool"
        self.stack = stack
        self.primary = self.registry("primary")
        self.secondary = self.registry("secondary")
        self.link = stack.enter_context(Link(self.primary.port))
        self.received = 0
        self._lock = threading.Lock()

    def registry(self, name: str) -> DistributionRegistry:
        return self.stack.enter_context(DistributionRegistry(self.path / name))

    def pushed(self, size: int, seed: int = 1) -> Blob:
        blob = Blob(size, seed)
        wire.push_blob(self.primary, REPOSITORY, blob.data)
        return blob

    def client(self, url: str, **options: float) -> RegistryClient:
        actions = ("pull", "push", "delete")
        return self.stack.enter_context(RegistryClient(url, Anonymous(), actions=actions, **options))  # type: ignore[arg-type]

    def spool(self, limit: int = 1024**4, *, follow_patience: float = 20.0) -> Spool:
        return Spool(SpoolDirectory(self.spool_path, limit), follow_patience=follow_patience)

    def copy(
        self,
        blob: Blob,
        *,
        spool: Spool | None = None,
        to: DistributionRegistry | None = None,
        source: str | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Copy the blob through the spool, here."""
        watch = Watch(stop=stop, received=self._count)
        opener = (spool or self.spool()).opener(
            self.client(source or self.link.url), REPOSITORY, blob.descriptor, watch
        )
        copy_blob(opener, self.client((to or self.secondary).url), REPOSITORY, blob.descriptor, stop=stop)

    def process(self, blob: Blob, *, to: DistributionRegistry | None = None) -> Process:
        """Copy the blob through the same spool in a process of its own."""
        line = command(self.link.url, (to or self.secondary).url, REPOSITORY, blob.named, spool=self.spool_path)
        return Process(line, log=self.path / "copying.log", cwd=ROOT).start()

    def arrived(self, blob: Blob, at: DistributionRegistry | None = None) -> bool:
        return wire.fetch_blob(at or self.secondary, REPOSITORY, blob.digest) == blob.data

    def files(self) -> list[str]:
        """The names of the spooled blobs, from what follows the digest on."""
        names = [path.name for path in self.spool_path.glob("sha*")] if self.spool_path.exists() else []
        return sorted(name.partition(".")[2] for name in names)

    def file(self) -> Path:
        (found,) = self.spool_path.glob("sha*")
        return found

    def _count(self, size: int) -> None:
        with self._lock:
            self.received += size
