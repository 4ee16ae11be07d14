"""A deployment as an operator runs it: `geo up` in a directory of its own, spoken to over HTTP and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.support.deployment import ADMIN_TOKEN, SECRET
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.registries import DistributionRegistry, Endpoint
from tests.support.root import ROOT
from tests.support.wait import wait_until

WEBHOOK = "/api/v4/container_registry_event/events"


class Running:
    """`geo up`. The registries must exist before; point the primary's notifications at `endpoint`."""

    def __init__(self, path: Path, env: Mapping[str, str], port: int, command: Sequence[str] | None = None) -> None:
        self.path = path
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(path),
            "PYTHONPATH": str(ROOT),
            "PORT": str(port),
            "GEO_BIND": "127.0.0.1",
            "WORKER_PROCESSES": "1",
            "LOG_FORMAT": "json",
            **env,
        }
        self.command = list(command or [sys.executable, "-W", "default", "-m", "app"])
        self._process = Process([*self.command, "up"], log=path / "up.log", env=self.env, cwd=path)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log_text(self) -> str:
        return self._process.log_text

    def start(self) -> Self:
        self._process.start()
        try:
            self._process.wait_for_http(f"{self.url}/-/readiness", timeout=60, status=200)
            if self.env.get("GEO_ROLE") == "primary":
                return self  # it has no worker
            # Ready says that events are taken in; the workers may still be importing.
            wait_until(lambda: "Worker process is ready" in self.log_text, timeout=60, message="no worker came up")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, timeout: float = 25) -> int:
        return self._process.stop(timeout)

    def kill_leader(self) -> None:
        """SIGKILL to the supervisor alone, as an OOM killer would."""
        os.kill(self._process.pid, 9)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def geo(self, *arguments: str, status: int | None = 0) -> str:
        """Run a command beside it; its output. `status` None accepts any exit status."""
        done = subprocess.run(
            [*self.command, *arguments],
            env=self.env,
            cwd=self.path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if status is not None:
            assert done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def set_lines(self, lines: Iterable[str]) -> None:
        """Change the environment as a person does who reads these lines, which a command has printed."""
        for line in lines:
            name, separator, value = line.partition("=")
            if separator and name.isupper():
                self.env[name] = value
            elif line.endswith("(take it out)"):
                self.env.pop(line.split()[0], None)

    def post(self, document: Any, **headers: str) -> requests.Response:
        """Send an envelope to the webhook."""
        with requests.Session() as session:
            session.trust_env = False
            return session.post(
                self.url + WEBHOOK, json=document, headers={"Authorization": SECRET, **headers}, timeout=10
            )

    def get(self, path: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.url + path, headers={"PRIVATE-TOKEN": ADMIN_TOKEN}, timeout=10)


def endpoint(port: int, **options: Any) -> Endpoint:
    """What the primary registry needs so that it notifies the deployment on `port`."""
    return Endpoint(f"http://127.0.0.1:{port}{WEBHOOK}", SECRET, **options)


def notify(registry: DistributionRegistry, port: int | None) -> None:
    """Write a registry's notifications into its configuration, or take them out, and start it anew."""
    registry.stop()
    registry.notify = () if port is None else (endpoint(port, ignore=True),)
    registry.start()


def processes_of(path: Path) -> list[int]:
    """Processes whose working directory is `path`: everything that a `geo up` there has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").resolve() == path.resolve() and (entry / "stat").read_text().split()[2] != "Z":
                    found.append(int(entry.name))
            except (OSError, IndexError):
                continue
    return found


__all__ = ["WEBHOOK", "Running", "endpoint", "free_port", "notify", "processes_of"]
