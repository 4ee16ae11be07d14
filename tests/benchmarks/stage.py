"""The stage: registries with their storage in memory, and the line before the primary."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.benchmarks.line import Line
from tests.benchmarks.measure import requests_to
from tests.support.registries import DistributionRegistry, Endpoint

#: Where storage in memory is made.
MEMORY = Path("/dev/shm")

#: Bytes of memory left to all else.
RESERVE = 3 * 1024**3

#: Seconds without a request that count as quiet: more than a scheduler lets pass between two looks.
QUIET = 2.0

#: Seconds to wait for that.
PATIENCE = 60.0

#: Ours are told by it from others' directories; the number is the process that made it.
_NAME = re.compile(r"geo-bench-(\d+)-.*")


class Stage:
    """`with Stage(need) as stage: ...`: a directory for registries, and what was started in it.

    `need` is how many bytes the storage takes at most at one time: in memory where there is room for them, else on
    disk. What a killed run left behind goes first.
    """

    def __init__(self, need: int, storage: Path | None = None) -> None:
        self._given = storage
        self._need = need
        self._stack = ExitStack()
        self._numbers = iter(range(1_000_000))
        self.in_memory = False

    @property
    def path(self) -> Path:
        """Where the registries' storage is."""
        return self._path

    @property
    def home(self) -> Path:
        """A directory on disk, for what tools keep beside registries."""
        return self._home

    def primary(self, notify: Sequence[Endpoint] = ()) -> DistributionRegistry:
        return self._stack.enter_context(registry(self._path / "primary", notify))

    def line(self, to: DistributionRegistry, *, round_trip: float, rate: float | None = None) -> Line:
        log = self._home / "line.log"
        return self._stack.enter_context(Line(to.port, log, round_trip=round_trip, rate=rate))

    @contextlib.contextmanager
    def destination(self) -> Iterator[DistributionRegistry]:
        """An empty registry, its storage removed afterwards."""
        path = self._path / f"destination-{next(self._numbers)}"
        try:
            with registry(path) as started:
                yield started
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def directory(self, name: str) -> Iterator[Path]:
        """A new directory on disk, removed afterwards."""
        path = self._home / f"{name}-{next(self._numbers)}"
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def __enter__(self) -> Self:
        sweep(MEMORY)
        sweep(Path(tempfile.gettempdir()))
        if self._given is None:
            self.in_memory = room_in_memory() >= self._need
            parent = MEMORY if self.in_memory else None
        else:
            parent = self._given
            self.in_memory = self._given.is_relative_to(MEMORY)
        self._path = self._made(parent)
        self._home = self._made(None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _made(self, parent: Path | None) -> Path:
        path = Path(tempfile.mkdtemp(prefix=f"geo-bench-{os.getpid()}-", dir=parent))
        self._stack.callback(shutil.rmtree, path, ignore_errors=True)
        return path


def registry(path: Path, notify: Sequence[Endpoint] = ()) -> DistributionRegistry:
    """As Debian packages it, but all but silent, and counting its requests.

    Open to everybody, so that no tool pays for tokens: each has its own way to get them.
    """
    return DistributionRegistry(
        path,
        cache=True,
        notify=notify,
        config={
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "http": {"debug": {"prometheus": {"enabled": True, "path": "/metrics"}}},
        },
    )


@contextlib.contextmanager
def emptied(filled: DistributionRegistry) -> Iterator[None]:
    """For so long the registry holds nothing; afterwards it has been started anew, at the same port."""
    kept = filled.path / "kept"
    filled.stop()
    filled.storage.rename(kept)
    # Without it the catalog is an error, and not an empty one.
    (filled.storage / "docker/registry/v2/repositories").mkdir(parents=True)
    try:
        filled.start()
        yield
        filled.stop()
    finally:
        shutil.rmtree(filled.storage)
        kept.rename(filled.storage)
    filled.start()


def settle(*registries: DistributionRegistry, patience: float = PATIENCE) -> None:
    """Wait until nobody has asked anything of these registries for `QUIET` seconds."""
    ends = time.monotonic() + patience
    last: list[Counter[str]] = []
    since = time.monotonic()
    while time.monotonic() - since < QUIET:
        if time.monotonic() > ends:
            raise AssertionError(f"requests went on for {patience:g} s after all was copied")
        counts = [requests_to(registry) for registry in registries]
        if counts != last:
            last, since = counts, time.monotonic()
        time.sleep(0.1)


def room_in_memory() -> int:
    """Bytes that may be stored in memory; 0 where there is no such storage."""
    if not MEMORY.is_dir():
        return 0
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    available = int(found[1]) * 1024 if found else 0
    return min(shutil.disk_usage(MEMORY).free, available) - RESERVE


def sweep(directory: Path) -> None:
    """Remove what runs left there that no longer live."""
    for path in directory.glob("geo-bench-*"):
        match = _NAME.fullmatch(path.name)
        if match is not None and not Path(f"/proc/{match[1]}").exists():
            shutil.rmtree(path, ignore_errors=True)
