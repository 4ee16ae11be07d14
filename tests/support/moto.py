"""The APIs of AWS: moto's server, on a free port and in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tests.support import parts
from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment


class Moto:
    """`with Moto(tmp_path) as aws: ...`, without anything in it."""

    def __init__(self, path: Path) -> None:
        self.port = free_port()
        self._log = path / "moto.log"
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        program = parts.require("moto_server", str(Path(sys.executable).with_name("moto_server")))
        command = [program, "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = Process(command, log=self._log, env=clean_environment())
        self._process.serve(f"{self.url}/moto-api/", timeout=30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()

    def reset(self) -> None:
        """Forget all that was made."""
        with requests.Session() as session:
            session.trust_env = False
            session.post(f"{self.url}/moto-api/reset", timeout=30).raise_for_status()
