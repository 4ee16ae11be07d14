"""Size: what the everyday operations cost with a million reference records, beside ten thousand."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flask.testing import FlaskClient

from app import metrics, migrate
from app.database import connection, database, is_sqlite
from app.replication import claim as claims
from app.replication import closing, sites, status
from app.replication.context import Nobody
from app.replication.marking import FRESH
from app.replication.verification import claim as verifications
from app.settings import Settings
from app.web.application import create_app
from tests.benchmarks.bulk import Result
from tests.benchmarks.population import Population
from tests.benchmarks.race import Options
from tests.benchmarks.report import OURS, Aim, Row
from tests.benchmarks.stage import Stage
from tests.support.deployment import ADMIN_TOKEN, SECRET, offline_environment
from tests.support.postgres import Postgres
from tests.support.root import ROOT
from tests.support.running import WEBHOOK

#: Repositories of the two populations, each with 100 references.
SMALL, LARGE = 100, 10_000

#: The column of the small one.
FEW = "10,000 references"

#: At most so many times as long.
LIMIT = 3.0

#: Runs of each operation in a round, after one that does not count.
RUNS = 15

#: Of a command, which is a process of its own.
COMMANDS = 2

#: Wakes that a scheduler sends at a time.
WAKES = 32

_PUSH = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2, "length": 2}

Operation = Callable[[], object]


def size(options: Options) -> Result:
    rows: list[Row] = []
    with Stage(0, options.storage) as stage, contextlib.ExitStack() as stack:
        postgres = stack.enter_context(Postgres())
        for kind in ("SQLite", "PostgreSQL"):
            values: dict[str, dict[str, list[float]]] = {}
            for column, repositories in ((FEW, SMALL), (OURS, LARGE)):
                with stage.directory(kind) as home:
                    url = f"sqlite:///{home}/geo.db" if kind == "SQLite" else postgres.create_database()
                    population = Population(options.scaled(repositories, 10))
                    options.say(f"  {kind}, {population.references:,} references")
                    for name, taken in _measured(url, home, population, options).items():
                        values.setdefault(name, {})[column] = taken
                    if kind != "SQLite":
                        postgres.drop_database(url)
            aims = [Aim(LIMIT, FEW, faster=False)]
            rows += [Row("size", f"{name}, {kind}", "ms", taken, aims) for name, taken in values.items()]
    return Result(rows)


def _measured(url: str, home: Path, population: Population, options: Options) -> dict[str, list[float]]:
    """Milliseconds of each operation."""
    env = offline_environment(url, GEO_ADMIN_TOKEN=ADMIN_TOKEN, GEO_SECRET_KEY="x" * 40) | dict(options.env)
    settings = Settings.from_env(env)
    app = create_app(settings, Nobody())
    database.obj.autoconnect = False
    try:
        migrate.migrate()
        site = sites.apply_environment(settings)
        assert site is not None
        began = time.monotonic()
        population.fill(site)
        options.say(f"    filled in {time.monotonic() - began:.1f} s")
        operations = _Operations(app.test_client(), settings)
        operations.sign_in()
        taken = _taken(operations.all(), options)
        taken["geo status, the command"] = _timed(lambda: _command(home, env), max(3, options.rounds * COMMANDS // 2))
        population.all_wait()
        taken |= _taken(operations.of_a_backfill(), options)
        return taken
    finally:
        app.extensions["geo"].close()
        metrics.buffer.close(write=False)
        database.close_all()


def _taken(operations: dict[str, Operation], options: Options) -> dict[str, list[float]]:
    taken = {}
    for name, work in operations.items():
        taken[name] = _timed(work, options.rounds * RUNS)
        options.say(f"    {name}: {statistics.median(taken[name]):.2f} ms")
        if options.plans:
            _explain(name, work, options.say)
    return taken


@dataclass
class _Operations:
    client: FlaskClient
    settings: Settings

    def all(self) -> dict[str, Operation]:
        return {
            "a webhook, stored": self.webhook,
            "a claim": self.claim,
            "a claim for verification": self.verification,
            "a look of the scheduler": self.look,
            "geo status, the function": self.status,
            "a scrape of /metrics": lambda: self.get("/metrics"),
            "the page of sites": lambda: self.get("/admin"),
            "the page of repositories": lambda: self.get("/admin/repositories"),
            "the page of failed repositories": lambda: self.get("/admin/repositories?state=failed"),
            "the list of repositories, API": lambda: self.get("/api/v4/geo/container_repositories?per_page=20"),
            "the status of sites, API": lambda: self.get("/api/v4/geo_sites/status"),
        }

    def of_a_backfill(self) -> dict[str, Operation]:
        """What is done all the time while every repository waits."""
        return {
            "a claim in a first backfill": self.claim,
            "a look of the scheduler in a first backfill": self.look,
            "geo status, the function, in a first backfill": self.status,
        }

    def sign_in(self) -> None:
        page = self.client.get("/admin/sign-in").text
        token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
        answer = self.client.post("/admin/sign-in", data={"csrf_token": token, "token": ADMIN_TOKEN})
        assert answer.status_code == 303, answer.status

    def webhook(self) -> None:
        target = {**_PUSH, "repository": "group-0/project-7", "tag": "v1", "digest": f"sha256:{uuid.uuid4().hex * 2}"}
        event = {"id": str(uuid.uuid4()), "action": "push", "target": target}
        answer = self.client.post(
            WEBHOOK,
            data=json.dumps({"events": [event]}),
            content_type="application/vnd.docker.distribution.events.v2+json",
            headers={"Authorization": SECRET},
        )
        assert answer.json == {"accepted": 1, "duplicate": 0, "ignored": 0, "quarantined": 0}, answer.text

    def claim(self) -> None:
        claim = claims.claim_next(self.settings)
        assert claim is not None
        closing.release(claim)

    def verification(self) -> None:
        claim = verifications.claim_next(self.settings)
        assert claim is not None
        verifications.release(claim)

    def look(self) -> None:
        """What the scheduler counts once a second."""
        with connection():
            assert claims.count_due(WAKES, at_most=FRESH) + claims.count_due(WAKES) > 0
            assert verifications.count_due(self.settings, WAKES) + claims.count_held() + closing.fail_poisonous() >= 0

    def status(self) -> None:
        with connection():
            assert status.status().sites[0].references

    def get(self, path: str) -> None:
        answer = self.client.get(path, headers={"PRIVATE-TOKEN": ADMIN_TOKEN})
        assert answer.status_code == 200, answer.text


def _command(home: Path, env: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "app", "status"],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), **env},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _timed(work: Operation, times: int) -> list[float]:
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


@contextlib.contextmanager
def _noted() -> Iterator[list[tuple[float, str, object]]]:
    """The statements executed meanwhile, with the milliseconds that they took."""
    noted: list[tuple[float, str, object]] = []
    execute = database.obj.execute_sql

    def noting(sql: str, params: object = None, *rest: object) -> object:
        began = time.perf_counter()
        cursor = execute(sql, params, *rest)
        noted.append(((time.perf_counter() - began) * 1000, sql, params))
        return cursor

    database.obj.execute_sql = noting
    try:
        yield noted
    finally:
        del database.obj.execute_sql


def _explain(name: str, work: Operation, say: Callable[[str], None]) -> None:
    """Show the plans of all queries that the operation makes, with what each takes."""
    with _noted() as noted:
        work()
    say(f"    {name}: {len(noted)} statements")
    for _, sql, params in noted:
        if not sql.startswith(("SELECT", "WITH", "UPDATE")):
            continue
        explain = "EXPLAIN QUERY PLAN " if is_sqlite() else "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY ON) "
        with connection(), contextlib.suppress(_Undone), database.atomic():
            began = time.perf_counter()
            cursor = database.execute_sql(sql, params)
            if cursor.description is not None:
                cursor.fetchall()
            took = (time.perf_counter() - began) * 1000
            if not is_sqlite() or sql.startswith("SELECT"):
                plan = [str(row[-1]) for row in database.execute_sql(explain + sql, params).fetchall()]
            else:
                plan = []
            say(f"      {took:.2f} ms: {sql[:300]}")
            for line in plan:
                say(f"          {line}")
            raise _Undone


class _Undone(Exception):
    pass
