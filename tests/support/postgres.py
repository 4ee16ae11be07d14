"""A throw-away PostgreSQL cluster and databases in it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from tests.support import parts
from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment, leash
from tests.support.wait import wait_until

#: Where Debian keeps each version's programs.
_DEBIAN = "/usr/lib/postgresql/*/bin"

_CONFIG = """
listen_addresses = '127.0.0.1'
max_connections = 200
shared_buffers = 32MB
max_wal_size = 256MB
timezone = UTC
"""

#: What only a crash of the whole machine would need.
_HASTY = """
fsync = off
full_page_writes = off
"""


class Postgres:
    """`with Postgres() as postgres: url = postgres.create_database()`.

    Without fsync, unless it is to be `durable`: fast, and still whole after a kill of the server (not of the machine).
    The server refuses to run as root, so for root it runs as the user `postgres` or else `nobody`, in a directory of
    that user.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self.durable = durable
        self.initdb = parts.require("initdb", f"{_DEBIAN}/initdb")
        self.postgres = parts.require("postgres", f"{_DEBIAN}/postgres")
        self.port = free_port()
        self.user = _unprivileged()
        self.path: Path | None = None
        self.process: Process | None = None

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def log_text(self) -> str:
        return self.process.log_text if self.process is not None else ""

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running

    def create_database(self, template: str = "template1") -> str:
        """Create a database, a copy of `template` (to which nobody may be connected), and return its URL."""
        name = f"geo_{uuid.uuid4().hex[:12]}"
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop the database of that URL, whoever is still connected."""
        name = url.rpartition("/")[2]
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def start(self) -> Self:
        """Make the cluster if there is none yet, start it and wait until it answers."""
        if self.path is None:
            # Not below pytest's directory, which is closed to other users.
            self.path = Path(tempfile.mkdtemp(prefix="geo-postgres-"))
            self._initialize(self.path)
        data = self.path / "data"
        self.process = Process(
            [self.postgres, "-D", data, "-k", self.path, "-p", str(self.port)],
            log=self.path / "postgres.log",
            env=clean_environment(),
            cwd=data,
            user=self.user,
            # The fast shutdown: SIGTERM waits for the clients to leave.
            stop_signal=signal.SIGINT,
        ).start()
        try:
            self.process.wait_for_port(self.port)
            wait_until(self._answers, message=lambda: f"postgres does not answer\n{self.log_text[-2000:]}")
        except BaseException:
            self.process.kill()
            raise
        return self

    def stop(self) -> None:
        """Stop it, the clients' connections too; the data stays until the context ends."""
        if self.process is not None:
            self.process.stop()

    def kill(self) -> None:
        """Kill it as it stands; `start` recovers."""
        if self.process is None or not self.process.running:
            return
        # Its children have sessions of their own; a server that starts while one lives refuses to.
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self.process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))

    def close(self) -> None:
        """Stop it and remove the cluster."""
        self.stop()
        if self.path is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            self.path = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _initialize(self, path: Path) -> None:
        if self.user is not None:
            shutil.chown(path, self.user)
        data = path / "data"
        initdb = [self.initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        done = subprocess.run(
            [*leash(self.user), *initdb, "--no-sync"],
            capture_output=True,
            text=True,
            check=False,
            env=clean_environment(),
            cwd=path,
        )
        if done.returncode != 0:
            raise AssertionError(f"initdb: {done.stdout}{done.stderr}")
        with (data / "postgresql.conf").open("a") as config:
            config.write(_CONFIG if self.durable else _CONFIG + _HASTY)

    def _answers(self) -> bool:
        try:
            self._execute(sql.SQL("SELECT 1"))
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)


def _unprivileged() -> str | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"
