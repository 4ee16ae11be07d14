"""A streaming standby of a throw-away PostgreSQL cluster."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from tests.support import parts
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.processes import Process, clean_environment, leash
from tests.support.wait import wait_until


class Standby:
    """`with Postgres() as primary, Standby(primary) as standby: url = standby.url(name)`."""

    def __init__(self, primary: Postgres) -> None:
        self.primary = primary
        self.pg_basebackup = parts.require("pg_basebackup", "/usr/lib/postgresql/*/bin/pg_basebackup")
        self.port = free_port()
        self.path: Path | None = None
        self.process: Process | None = None

    def url(self, primary_url: str) -> str:
        """Where the database of that URL is on the standby."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{primary_url.rpartition('/')[2]}"

    def __enter__(self) -> Self:
        self.path = Path(tempfile.mkdtemp(prefix="geo-standby-"))
        try:
            self._start(self.path)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.process is not None:
            self.process.stop()
        if self.path is not None:
            shutil.rmtree(self.path, ignore_errors=True)

    def replayed(self) -> None:
        """Wait until it has replayed everything that the primary has written so far."""
        with psycopg.connect(self.primary.url("postgres"), autocommit=True) as connection:
            row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None

        def caught_up() -> bool:
            with psycopg.connect(self.url("/postgres"), autocommit=True) as connection:
                found = connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (row[0],)).fetchone()
            return found is not None and bool(found[0])

        wait_until(caught_up, message=lambda: self.process.log_text[-2000:] if self.process else "")

    def hold(self) -> None:
        """Replay nothing more until `let_go`."""
        self._execute("SELECT pg_wal_replay_pause()")

    def let_go(self) -> None:
        self._execute("SELECT pg_wal_replay_resume()")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url("/postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _start(self, path: Path) -> None:
        if self.primary.user is not None:
            shutil.chown(path, self.primary.user)
        data = path / "data"
        source = ["-h", "127.0.0.1", "-p", str(self.primary.port), "-U", "postgres"]
        done = subprocess.run(
            [
                *leash(self.primary.user),
                *(self.pg_basebackup, "-D", str(data), *source, "-R", "-X", "stream", "-c", "fast", "--no-sync"),
            ],
            capture_output=True,
            text=True,
            check=False,
            env=clean_environment(),
            cwd=path,
        )
        assert done.returncode == 0, f"pg_basebackup: {done.stdout}{done.stderr}"
        self.process = Process(
            [self.primary.postgres, "-D", data, "-k", path, "-p", str(self.port)],
            log=path / "postgres.log",
            env=clean_environment(),
            cwd=data,
            user=self.primary.user,
            stop_signal=signal.SIGINT,
        ).start()
        wait_until(self._answers, 30, lambda: self.process.log_text[-2000:] if self.process else "")

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True
