"""A whole deployment, each of its processes one that a test can kill, stop, continue and start again."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import requests

from tests.chaos.checker import Acknowledged, Checker, Reader, Row, Unreadable, Verdict
from tests.chaos.figures import tell
from tests.chaos.member import UP, Member
from tests.chaos.pusher import Order, Pusher
from tests.chaos.rows import Rows
from tests.chaos.watch import Watch
from tests.support.deployment import ADMIN_TOKEN, SECRET, environment
from tests.support.keys import TokenAuth
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.registries import DistributionRegistry, Version
from tests.support.root import ROOT
from tests.support.running import WEBHOOK, endpoint
from tests.support.valkey import Valkey
from tests.support.wait import wait_until

__all__ = ["ChaosStage", "Member"]

#: Bytes that the registries of the longest run hold, and some more.
_ROOM = 4 << 30

#: Seconds between two looks of `settle`, each of which costs the deployment something.
_LOOK = 0.5


class ChaosStage:
    """`with ChaosStage(tmp_path, token_auth) as stage: ...`; all that it started ends with it.

    Two registries with token authentication, each behind a `Watch` (`source` and `target`), a Valkey of its own, and
    web, scheduler and workers, which `tend` starts again when they have died, as a supervisor does.
    The attributes may be changed before `start`: `env` above all.
    """

    def __init__(
        self,
        path: Path,
        token: TokenAuth,
        *,
        postgres: Postgres | None = None,
        workers: int = 2,
        supervised: bool = False,
        version: Version = "2.8",
        rate: float | None = None,
        env: Mapping[str, str] | None = None,
        seed: int | None = None,
    ) -> None:
        """Describe it.

        :param postgres: the database is one in this cluster; without it, SQLite.
        :param workers: how many `geo worker` there are, each of two processes with three threads.
        :param supervised: `geo up` in place of web, scheduler and workers; its worker has two processes likewise.
        :param rate: bytes a second of each blob read from the primary.
        :param env: settings beside those of `tests.support.deployment.environment`, or in their place.
        :param seed: of `rng`; drawn and printed unless it is given.
        """
        self.path = path
        self.postgres = postgres
        self.seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
        self.rng = random.Random(self.seed)
        self.storage = _roomy(path)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.primary = DistributionRegistry(
            self.storage / "primary", version=version, token=token, notify=[endpoint(self.port, ignore=True)]
        )
        self.secondary = DistributionRegistry(self.storage / "secondary", version=version, token=token)
        self.source = Watch(self.primary)
        self.target = Watch(self.secondary)
        self.valkey = Valkey(path / "valkey")
        self.home = path / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.database_url = postgres.create_database() if postgres is not None else f"sqlite:///{self.home / 'geo.db'}"
        self.rows = Rows(self.database_url)
        self.env = self._environment(env or {})
        self.rate = rate
        self.web = Member("web", "web", self.home, self.env, lambda log: self._answers())
        self.scheduler = Member("scheduler", "scheduler", self.home, self.env, lambda log: True)
        self.workers = [
            Member(f"worker-{number}", "worker", self.home, self.env, lambda log: "ready for action" in log)
            for number in range(workers)
        ]
        self.up = Member("up", "up", self.home, self.env, lambda log: "ready for action" in log and self._answers())
        self.supervised = supervised
        #: Those whom `tend` leaves alone: a test has ended them and wants them to stay away.
        self.absent: set[Member] = set()
        self.checker = Checker(self.primary, self.secondary, self._listed, self.rows.leases)
        self._stack = ExitStack()

    @property
    def members(self) -> list[Member]:
        """What was started by the test itself."""
        if self.supervised:
            return [self.up]
        return [self.web, self.scheduler, *self.workers]

    def start(self) -> Self:
        """Start everything and wait until it is there."""
        tell(f"seed {self.seed}")
        with ExitStack() as stack:
            stack.callback(self._clear)
            if self.postgres is not None:
                stack.callback(self._drop)
            for part in (self.primary, self.secondary, self.source, self.target, self.valkey):
                stack.enter_context(part)
            if self.rate is not None:
                self.source.rule(r"^GET /v2/.+/blobs/", rate=self.rate)
            self.geo("migrate")
            for member in self.members:
                # Whatever `geo up` has started is in sessions of its own.
                stack.callback(member.stop if self.supervised else member.kill)
                member.start()
            for member in self.members:
                member.wait_ready()
            # A new site looks at everything once, and what that finds would hide what an event did not bring.
            wait_until(lambda: not self.rows.reconciles(), UP, self.tell)
            self._stack = stack.pop_all()
        return self

    def tend(self) -> None:
        """Start again whoever has died, unless he is `absent`. From the test's own thread only."""
        for member in self.members:
            if member not in self.absent and not member.running:
                member.restart()

    def wait(
        self, predicate: Callable[[], Any], timeout: float, message: str | Callable[[], str] = "it did not come true"
    ) -> None:
        """`wait_until`, tending the processes meanwhile."""

        def look() -> Any:
            self.tend()
            return predicate()

        wait_until(look, timeout, message)

    def pusher(self, orders: Sequence[Order], **options: Any) -> Pusher:
        """Somebody who pushes these to the primary; use it as a context manager."""
        return Pusher(self.primary, orders, **options)

    def settle(self, timeout: float) -> float:
        """Wait until the deployment says that everything is in order, and both registries list the same.

        Tends the processes meanwhile. Returns the seconds that it took.
        """
        began = time.monotonic()
        last: list[str] = [""]
        looked = [0.0]

        def settled() -> bool:
            if time.monotonic() - looked[0] < _LOOK:
                return False
            looked[0] = time.monotonic()
            last[0] = self.unsettled()
            return not last[0]

        self.wait(settled, timeout, lambda: f"not settled: {last[0]}\n{self.tell()}")
        return time.monotonic() - began

    def unsettled(self) -> str:
        """Say why not everything is in order yet, by the deployment's account; empty when it is."""
        try:
            if pending := self.primary.pending_notifications():
                return f"{pending} notifications wait in the primary"
            if unread := self.rows.unread():
                return f"{unread} events are unread"
            if waiting := self.rows.waiting():
                return f"{waiting} rows wait, by state {self.rows.states()}"
            if held := self.rows.leases():
                return f"held: {held[:3]}"
            return self._unlike()
        except (requests.RequestException, psycopg.OperationalError, Unreadable) as error:
            return str(error)

    def judge(self, acknowledged: Iterable[Acknowledged] = (), **options: Any) -> Verdict:
        """The checker's verdict on everything, printed."""
        verdict = self.checker.judge(acknowledged, **options)
        tell(f"verdict: {verdict.figures}")
        return verdict

    def geo(self, *arguments: str) -> str:
        """Run a command beside it; its output."""
        done = subprocess.run(
            [sys.executable, "-m", "app", *arguments],
            env=self.env,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def post(self, document: Any, timeout: float = 10) -> requests.Response:
        """Send an envelope to the webhook.

        Raises:
            requests.RequestException: when there was no answer.
        """
        with requests.Session() as session:
            session.trust_env = False
            return session.post(self.url + WEBHOOK, json=document, headers={"Authorization": SECRET}, timeout=timeout)

    def get(self, path: str) -> requests.Response:
        """Ask the API."""
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.url + path, headers={"PRIVATE-TOKEN": ADMIN_TOKEN}, timeout=30)

    def transfers_of(self, pids: Iterable[int]) -> int:
        """How many blobs these processes are reading or writing at this moment, as the registries' side sees it."""
        wanted = list(pids)
        return len(self.source.transfers_of(wanted)) + len(self.target.transfers_of(wanted))

    def tell(self, lines: int = 12) -> str:
        """The ends of all logs."""
        told = []
        for member in self.members:
            told += [f"--- {member.name}", *member.log_text.splitlines()[-lines:]]
        return "\n".join(told)

    def wipe_valkey(self) -> None:
        """Remove the data of a Valkey that is down."""
        for entry in self.valkey.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.suffix in {".rdb", ".aof"}:
                entry.unlink()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        env = environment(
            self.primary,
            self.secondary,
            self.database_url,
            GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=self.source.url,
            GEO_SECONDARY_REGISTRY_URL=self.target.url,
            REDIS_URL=self.valkey.url,
            BROKER_URL=self.valkey.broker_url,
            PORT=str(self.port),
            GEO_BIND="127.0.0.1",
            WEB_CONCURRENCY="1",
            WORKER_PROCESSES="2",
            WORKER_THREADS="3",
            LOG_FORMAT="json",
            GEO_RECONCILE_INTERVAL="off",
        )
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": str(ROOT), **env, **extra}

    def _listed(self) -> Iterator[Row]:
        for document in json.loads(self.geo("repositories", "--json")):
            yield Row.of(document)

    def _unlike(self) -> str:
        with Reader(self.primary) as ours, Reader(self.secondary) as theirs:
            for repository in ours.repositories():
                missing = set(ours.tags(repository)) - set(theirs.tags(repository))
                if missing:
                    return f"{repository} lacks {sorted(missing)[:3]}"
        return ""

    def _answers(self) -> bool:
        try:
            return self.get("/-/readiness").ok
        except requests.RequestException:
            return False

    def _drop(self) -> None:
        if self.postgres is not None and self.postgres.running:
            self.postgres.drop_database(self.database_url)

    def _clear(self) -> None:
        """Hundreds of megabytes, each time."""
        shutil.rmtree(self.storage, ignore_errors=True)


def _roomy(path: Path) -> Path:
    """A directory for what the registries hold: in memory where there is room, for they sync each blob to the disk."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > _ROOM
    return Path(tempfile.mkdtemp(prefix="geo-chaos-", dir=shared if roomy else path))
