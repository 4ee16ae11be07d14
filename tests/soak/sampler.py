"""One look at everything that could grow, as a document."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import redis
import requests

from tests.soak.kernel import Look, processor_seconds
from tests.soak.measures import QUEUES
from tests.soak.stage import PRIMARY, SECONDARY, SoakStage
from tests.support.deployment import ADMIN_TOKEN

#: At one of so many looks `/metrics` is scraped, and the API asked.
SCRAPES = 3

#: What we call ourselves, so that our own connection is not counted.
OURSELVES = "geo-soak"


class Sampler:
    """`with` it; `sample()` asks the kernel, both databases, both Valkeys and both `/metrics`.

    What is away for the moment is left out of the sample.
    """

    def __init__(self, stage: SoakStage) -> None:
        self.stage = stage
        self._postgres: psycopg.Connection[Any] | None = None
        self._tables: dict[str, list[str]] = {}
        self._attempts = 0
        self._looks = 0

    def __enter__(self) -> Sampler:
        return self

    def __exit__(self, *_: object) -> None:
        if self._postgres is not None:
            self._postgres.close()

    def sample(self) -> dict[str, Any]:
        """All figures of this moment."""
        found: dict[str, Any] = {
            "processes": self._processes(),
            "cpu": round(processor_seconds(os.getpid()), 2),
            "tables": {},
            "bytes": self._bytes(),
            "queues": {},
            "valkey": {},
            "scrape": {},
        }
        with contextlib.suppress(psycopg.Error, OSError):
            self._ask_postgres(found)
        with contextlib.suppress(sqlite3.Error):
            self._ask_sqlite(found)
        for site in (PRIMARY, SECONDARY):
            with contextlib.suppress(redis.RedisError):
                self._ask_valkey(site, found)
            with contextlib.suppress(requests.RequestException):
                if self._looks % SCRAPES == 0:
                    found["scrape"][site] = self._scrape(site)
        self._looks += 1
        return found

    def _processes(self) -> list[dict[str, Any]]:
        look = Look(self.stage.ports)
        found = []
        for site in (PRIMARY, SECONDARY):
            for kind, entry in self.stage.processes(site):
                figures = look.figures(entry)
                if figures is not None:
                    found.append({"site": site, "kind": kind, **figures.document()})
        for name, process in (
            ("primary registry", self.stage.sites.primary.process),
            ("secondary registry", self.stage.sites.secondary.process),
        ):
            for kind, entry in self.stage.alone(name, process):
                if (figures := look.figures(entry)) is not None:
                    found.append({"site": "", "kind": kind, **figures.document()})
        return found

    def _bytes(self) -> dict[str, int]:
        home = self.stage.two.path
        return {
            "secondary database": _size(home / "geo.db"),
            "secondary write-ahead log": _size(home / "geo.db-wal"),
            "secondary spool": _below(home / "var/spool"),
            "secondary var": _below(home / "var"),
            "primary var": _below(self.stage.one.path / "var"),
            "secondary log": _size(home / "up.log"),
            "primary log": _size(self.stage.one.path / "up.log"),
        }

    def _ask_postgres(self, found: dict[str, Any]) -> None:
        try:
            if self._postgres is None:
                self._postgres = psycopg.connect(self.stage.log.url, autocommit=True, application_name=OURSELVES)
            ask = self._postgres
            if PRIMARY not in self._tables:
                named = ask.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
                self._tables[PRIMARY] = sorted(str(row[0]) for row in named)
            found["tables"][PRIMARY] = {
                name: ask.execute(f'SELECT count(*) FROM "{name}"'.encode()).fetchone()[0]  # type: ignore[index]
                for name in self._tables[PRIMARY]
            }
            found["bytes"]["primary database"] = _first(ask, "SELECT pg_database_size(current_database())")
            found["postgresql"] = dict(
                ask.execute(
                    "SELECT coalesce(state, 'none'), count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> %s"
                    " GROUP BY 1",
                    [OURSELVES],
                ).fetchall()
            )
            found["dead_rows"] = _first(ask, "SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_user_tables")
            found["newest_event"] = _first(ask, "SELECT coalesce(max(id), 0) FROM geo_events")
        except psycopg.OperationalError:
            if self._postgres is not None:
                self._postgres.close()
                self._postgres = None
            raise

    def _ask_sqlite(self, found: dict[str, Any]) -> None:
        with closing(sqlite3.connect(self.stage.two.path / "geo.db", timeout=10)) as ask:
            if SECONDARY not in self._tables:
                named = ask.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
                self._tables[SECONDARY] = sorted(str(row[0]) for row in named)
            found["tables"][SECONDARY] = {
                name: ask.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in self._tables[SECONDARY]
            }
            found["heard"] = ask.execute("SELECT coalesce(max(last_event_id), 0) FROM geo_followers").fetchone()[0]
            found["states"] = dict(
                ask.execute("SELECT state, count(*) FROM container_repository_references GROUP BY state").fetchall()
            )
            found["tags"] = ask.execute("SELECT count(*) FROM container_repository_references WHERE is_tag").fetchone()[
                0
            ]
            found["backlog"] = ask.execute(
                "SELECT count(*) FROM container_repository_registry WHERE in_scope AND state <> 2"
            ).fetchone()[0]
            found["unverified"] = ask.execute(
                "SELECT count(*) FROM container_repository_registry WHERE in_scope AND verification_state <> 2"
            ).fetchone()[0]
            newer = ask.execute(
                "SELECT id, action, lag_seconds, outcome FROM sync_attempts WHERE id > ? ORDER BY id", [self._attempts]
            ).fetchall()
            if newer:
                self._attempts = newer[-1][0]
            # A deletion that waits for a person's consent is as late as that.
            pushed = (lag for _, action, lag, _ in newer if action != "delete" and lag is not None)
            found["lags"] = [round(lag, 3) for lag in pushed]
            found["failed_attempts"] = sum(outcome == "failed" for _, _, _, outcome in newer)

    def _ask_valkey(self, site: str, found: dict[str, Any]) -> None:
        url = self.stage.valkey_url(site)
        with redis.Redis.from_url(url, socket_timeout=5) as caches:
            memory, clients = caches.info("memory"), caches.info("clients")
            figures = {
                "memory": int(memory["used_memory"]),
                "clients": int(clients["connected_clients"]),
                "cache keys": int(caches.dbsize()),
            }
        with redis.Redis.from_url(url.replace("db=0", "db=1"), socket_timeout=5) as broker:
            figures["queue keys"] = int(broker.dbsize())
            found["queues"][site] = {name: int(broker.hlen(f"dramatiq:{name}.msgs")) for name in QUEUES}
        found["valkey"][site] = figures

    def _scrape(self, site: str) -> dict[str, Any]:
        """As Prometheus does, and a person who looks at the sites."""
        running = self.stage.deployments[site]
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{running.url}/metrics", timeout=10)
            status = session.get(
                f"{running.url}/api/v4/geo_sites/status", headers={"PRIVATE-TOKEN": ADMIN_TOKEN}, timeout=10
            )
        return {"bytes": len(answer.content), "lines": answer.text.count("\n"), "status": status.status_code}


def _first(ask: psycopg.Connection[Any], statement: str) -> int:
    row = ask.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row[0])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _below(path: Path) -> int:
    """Bytes of all files below it that are taken on the disk."""
    taken = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                taken += (Path(folder) / name).lstat().st_blocks * 512
    return taken
