"""A deployment whose database side is in the test's process, with workers and schedulers as processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.deployment import Deployment
from tests.support.processes import Process
from tests.support.root import ROOT
from tests.support.wait import wait_until


class Stage:
    """`with Stage(tmp_path, env) as stage: ...`: what it started ends with it.

    `env` names a queue (`BROKER_URL`); logs are in `path`.
    """

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        self.path = path
        self.env = {"PATH": os.environ["PATH"], "HOME": str(path), "PYTHONPATH": str(ROOT), **env}
        self._stack = ExitStack()
        self.geo = Deployment.start(env)
        self._stack.callback(self.geo.close)

    def run(self, command: str, name: str, *arguments: str) -> Process:
        """Start `geo <command>`, its output in a log of that name."""
        process = Process(
            [sys.executable, "-m", "app", command, *arguments],
            log=self.path / f"{name}.log",
            env=self.env,
            cwd=self.path,
        )
        self._stack.enter_context(process)
        return process

    def worker(self, name: str, *arguments: str) -> Process:
        """Start the Dramatiq command line and wait until it reads its queues."""
        process = self.run("worker", name, *arguments)
        wait_until(lambda: "ready for action" in process.log_text, message=lambda: process.log_text[-3000:])
        return process

    def send(self) -> None:
        """Send a wake as the webhook does."""
        code = "from workers import process_events; process_events.send()"
        subprocess.run([sys.executable, "-c", code], env=self.env, cwd=self.path, check=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def freeze(process: Process) -> None:
    """Stop a process with all its children where they stand (SIGSTOP)."""
    os.killpg(process.pid, signal.SIGSTOP)


def thaw(process: Process) -> None:
    """Have them go on."""
    os.killpg(process.pid, signal.SIGCONT)
