"""One process of a deployment that a test can kill, stop, continue and start again."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from tests.support.processes import Process
from tests.support.wait import wait_until

#: Seconds that a process gets to come up on a machine that is busy.
UP = 90.0


class Member:
    """One process of the deployment by its real command line: `geo web`, `geo worker` or `geo scheduler`."""

    def __init__(
        self, name: str, command: str, path: Path, env: Mapping[str, str], ready: Callable[[str], bool]
    ) -> None:
        self.name = name
        self._process = Process([sys.executable, "-m", "app", command], log=path / f"{name}.log", env=env, cwd=path)
        self._ready = ready
        self._mark = 0
        #: How often it was started.
        self.starts = 0

    @property
    def pid(self) -> int:
        """Of the leader, and of its process group."""
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """All processes of its session: a worker's leader forks the ones that work."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ProcessLookupError):
                    if os.getsid(int(entry.name)) == self.pid:
                        found.append(int(entry.name))
        return found

    @property
    def running(self) -> bool:
        return self._process.running

    @property
    def ready(self) -> bool:
        """Whether it has come up since it was last started."""
        return self.running and self._ready(self.log_text[self._mark :])

    @property
    def log_text(self) -> str:
        return self._process.log_text

    def start(self) -> Self:
        """Start it; does not wait. From the test's own thread only, see `Process`."""
        self._mark = len(self.log_text)
        self._process.start()
        self.starts += 1
        return self

    def wait_ready(self) -> Self:
        wait_until(lambda: self.ready, UP, lambda: f"{self.name} does not come up\n{self.log_text[-3000:]}")
        return self

    def kill(self) -> None:
        """SIGKILL to all its processes at once."""
        self._process.kill()

    def restart(self) -> Self:
        """Start it again after it has ended, by whichever way; does not wait."""
        self._process.kill()
        return self.start()

    def stop(self, timeout: float = 25) -> int:
        """SIGTERM to the leader, as a platform stops it; the exit status."""
        return self._process.stop(timeout)

    def freeze(self) -> None:
        """SIGSTOP to all its processes."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)
