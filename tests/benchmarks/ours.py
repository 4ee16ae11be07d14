"""geo-registry itself, as an operator runs it: `geo up`, and `geo sync --all --wait` beside it."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.benchmarks.measure import Timed, cpu_seconds, peak_memory, run_commands
from tests.benchmarks.peers import Job
from tests.support.deployment import ADMIN_TOKEN, SECRET
from tests.support.ports import free_port
from tests.support.running import Running, processes_of
from tests.support.wait import wait_until

NAME = "ours"

#: What `geo up` has by default; set here, since the tests' own deployment has fewer.
_DEFAULTS = {"WEB_CONCURRENCY": "2", "WORKER_PROCESSES": "2", "WORKER_THREADS": "8"}

#: The phase that ends when the command has started, found the repositories and woken a worker.
TAKEN_UP = "first repository taken up"

#: How the log of a worker process says that it takes messages.
_READY = "Worker process is ready"


class Ours:
    """A deployment between the registries of a job, its state in `folder`; may be started again and again.

    `env` is put on top of the environment. Point the primary's notifications at `port`, if it has any.
    """

    def __init__(self, job: Job, folder: Path, env: Mapping[str, str], port: int | None = None) -> None:
        self._folder = folder
        self._port = port or free_port()
        self._env = {
            **_DEFAULTS,
            "DATABASE_URL": f"sqlite:///{folder}/geo.db",
            "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": f"http://{job.source}",
            "GEO_SECONDARY_REGISTRY_URL": f"http://{job.destination}",
            "GEO_NOTIFICATION_SECRET": SECRET,
            "GEO_ADMIN_TOKEN": ADMIN_TOKEN,
            **env,
        }
        self._running: Running | None = None
        self._times = 0

    @property
    def environment(self) -> Mapping[str, str]:
        """What its commands have; while it runs."""
        assert self._running is not None
        return self._running.env

    def sync(self, timeout: float) -> Timed:
        """Run `geo sync --all --wait`."""
        assert self._running is not None
        return run_commands(
            [[sys.executable, "-m", "app", "sync", "--all", "--wait"]],
            log=self._folder / "sync.log",
            env=self._running.env,
            cwd=self._folder,
            timeout=timeout,
        )

    def warm(self, timeout: float) -> None:
        """Sync once: a service that has just been started has opened no connection yet."""
        self.sync(timeout)

    def pids(self) -> list[int]:
        return processes_of(self._folder)

    def cpu(self) -> float:
        return cpu_seconds(*self.pids())

    def memory(self) -> int:
        """Bytes that the largest worker process held at most."""
        return max((peak_memory(pid) for pid in self.pids() if _is_worker(pid)), default=0)

    def phases(self, began_at: float) -> dict[str, float]:
        """Seconds from `began_at` until the first repository was taken up and the last one was in order."""
        path = self._folder / "geo.db"
        if not path.exists():
            # Another database was asked for.
            return {}
        with contextlib.closing(sqlite3.connect(path)) as database:
            query = (
                "SELECT min(started_at), max(last_synced_at) FROM container_repository_registry WHERE started_at > ?"
            )
            since = datetime.fromtimestamp(began_at, UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
            row = database.execute(query, (since,)).fetchone()
        names = (TAKEN_UP, "last repository in order")
        return {
            name: datetime.fromisoformat(instant).replace(tzinfo=UTC).timestamp() - began_at
            for name, instant in zip(names, row, strict=True)
            if instant is not None
        }

    def __enter__(self) -> Self:
        # One log for each start: what is waited for below must not be found in the one before.
        log = self._folder / "up.log"
        if log.exists():
            log.rename(self._folder / f"up-{self._times}.log")
        self._times += 1
        self._running = Running(self._folder, self._env, self._port, [sys.executable, "-m", "app"]).start()
        workers = int(self._env["WORKER_PROCESSES"])
        wait_until(lambda: log.read_text(errors="replace").count(_READY) >= workers, 30, "not all workers came up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None


def _is_worker(pid: int) -> bool:
    try:
        return b"dramatiq" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
