"""The web process alone, as the Procfile runs it: gunicorn with the real application, on a free port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.support.deployment import ADMIN_TOKEN, SECRET
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.root import ROOT
from tests.support.running import WEBHOOK


class Web:
    """`with Web(tmp_path, env) as web: ...`; `stop` and `start` keep port and state."""

    def __init__(self, path: Path, env: Mapping[str, str], *, port: int | None = None, migrate: bool = True) -> None:
        """Describe the process.

        :param env: the deployment's environment (`offline_environment` will do).
        :param migrate: bring the database up to date first.
        """
        self.path = path
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.migrate = migrate
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(path),
            "PYTHONPATH": str(ROOT),
            "PORT": str(self.port),
            "GEO_BIND": "127.0.0.1",
            "WEB_CONCURRENCY": "1",
            "GEO_ADMIN_TOKEN": ADMIN_TOKEN,
            "LOG_FORMAT": "json",
            **env,
        }
        self.process = Process([sys.executable, "-m", "app", "web"], log=path / "web.log", env=self.env, cwd=path)

    @property
    def log_text(self) -> str:
        return self.process.log_text

    def start(self) -> Self:
        if self.migrate:
            subprocess.run([sys.executable, "-m", "app", "migrate"], env=self.env, cwd=self.path, check=True)
        self.process.start()
        self.process.wait_for_http(f"{self.url}/-/liveness", status=200)
        return self

    def stop(self) -> int:
        return self.process.stop(20)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def post(self, document: Any = None, *, path: str = WEBHOOK, timeout: float = 30, **options: Any) -> Any:
        """Send a document, or whatever `data` is, to the webhook with its secret."""
        headers = {"Authorization": SECRET, **options.pop("headers", {})}
        if document is not None:
            options["json"] = document
        with requests.Session() as session:
            session.trust_env = False
            return session.post(self.url + path, headers=headers, timeout=timeout, allow_redirects=False, **options)

    def get(self, path: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(
                self.url + path, headers={"PRIVATE-TOKEN": ADMIN_TOKEN}, timeout=30, allow_redirects=False
            )

    def connect(self) -> socket.socket:
        """A bare connection, for what no client sends."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)
