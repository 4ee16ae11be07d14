"""Two Valkey servers, one the replica of the other, and Sentinels that make it the master when the other is gone."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment
from tests.support.tls import Authority
from tests.support.valkey import Valkey, secured
from tests.support.wait import wait_until

SERVICE = "mymaster"

#: How many of the Sentinels there have to agree.
SENTINELS, QUORUM = 3, 2

#: Milliseconds of silence after which a server counts as gone.
DOWN_AFTER = 500


class Sentinels:
    """`with Sentinels(tmp_path) as sentinels:`; `master` is the server that is the master at first."""

    def __init__(self, path: Path, authority: Authority | None = None, password: str | None = None) -> None:
        """`password` is the Sentinels' own."""
        self.path = path
        self.password = password
        self.authority = authority
        self.master = Valkey(path / "first", authority=authority)
        replica = ("--replicaof", "127.0.0.1", str(self.master.port), "--repl-diskless-sync-delay", "0")
        self.replica = Valkey(path / "second", options=replica, authority=authority)
        self.ports = [free_port() for _ in range(SENTINELS)]
        self.processes: list[Process] = []
        self._stack = ExitStack()

    def url(self, database: int = 0) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        if self.authority is None:
            return f"redis+sentinel://{hosts}/{SERVICE}/{database}"
        return f"rediss+sentinel://{hosts}/{SERVICE}/{database}?ssl_ca_certs={self.authority.ca_path}"

    def master_port(self) -> int:
        """Of the server that the Sentinels take for the master; 0 while they do not know."""
        for port in self.ports:
            with self.sentinel(port) as client:
                try:
                    found = client.sentinel_get_master_addr_by_name(SERVICE)
                except redis.RedisError:
                    continue
                if found:
                    return int(found[1])
        return 0

    def sentinel(self, port: int) -> redis.Redis:
        """A client of the Sentinel there; close it."""
        if self.authority is None:
            return redis.Redis(host="127.0.0.1", port=port, socket_timeout=2, password=self.password)
        ca_path = str(self.authority.ca_path)
        return redis.Redis(host="127.0.0.1", port=port, socket_timeout=2, ssl=True, ssl_ca_certs=ca_path)

    def fail_over(self) -> None:
        """Kill the master, and wait until the other one is it."""
        self.master.kill()
        wait_until(lambda: self.master_port() == self.replica.port, timeout=60, message=self.log_text)

    def log_text(self) -> str:
        return "\n".join(process.log_text[-1500:] for process in self.processes)

    def __enter__(self) -> Self:
        try:
            self._stack.enter_context(self.master)
            self._stack.enter_context(self.replica)
            wait_until(self._replicated, message=lambda: self.replica.log_text[-2000:])
            for number, port in enumerate(self.ports):
                self.processes.append(self._stack.enter_context(self._sentinel(number, port)))
            for process, port in zip(self.processes, self.ports, strict=True):
                process.wait_for_port(port)
            # Each has to know the others and the replica, or there is no majority that could do anything.
            wait_until(self._acquainted, timeout=60, message=self.log_text)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _sentinel(self, number: int, port: int) -> Process:
        home = self.path / f"sentinel{number}"
        home.mkdir(parents=True)
        # It writes its own state into this file.
        config = home / "sentinel.conf"
        listening = secured(self.authority, port) if self.authority else {"port": port}
        config.write_text(
            "".join(f"{name} {value}\n" for name, value in listening.items()) + f"bind 127.0.0.1\ndir {home}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.master.port} {QUORUM}\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}\n"
            f"sentinel failover-timeout {SERVICE} 5000\n"
            + (f"requirepass {self.password}\nsentinel sentinel-pass {self.password}\n" if self.password else "")
        )
        command = [self.master.program, str(config), "--sentinel"]
        return Process(command, log=home / "sentinel.log", env=clean_environment(), cwd=home)

    def _replicated(self) -> bool:
        with self.replica.client() as client:
            return bool(client.info("replication").get("master_link_status") == "up")

    def _acquainted(self) -> bool:
        for port in self.ports:
            with self.sentinel(port) as client:
                state = client.sentinel_masters()[SERVICE]
                if state["num-other-sentinels"] < SENTINELS - 1 or state["num-slaves"] < 1:
                    return False
        return True
