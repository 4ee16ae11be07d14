"""Scale: how much more further worker processes do, and how many events two web processes take in."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from tests.benchmarks.bulk import Result
from tests.benchmarks.corpus import Client, Corpus, Tag
from tests.benchmarks.measure import Run, cpu_seconds
from tests.benchmarks.ours import NAME, TAKEN_UP
from tests.benchmarks.race import Options, Race
from tests.benchmarks.report import Aim, Row, percentile
from tests.benchmarks.stage import Stage
from tests.support import images
from tests.support.deployment import ADMIN_TOKEN, SECRET
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.processes import Process, clean_environment
from tests.support.registries import DistributionRegistry
from tests.support.root import ROOT
from tests.support.running import WEBHOOK, processes_of
from tests.support.valkey import Valkey

#: Worker processes that are compared, and how far away the primary is for them, in seconds there and back: so far that
#: workers wait for it, and not for the processors.
PROCESSES, AWAY = (1, 2, 4), 0.3

#: Threads of each, and repositories, each with one small tag, that they copy.
THREADS, REPOSITORIES, LAYER = 4, 160, 4096

#: Events a second, for how many seconds, over how many connections; and the time a registry waits for an answer.
RATE, SECONDS, CONNECTIONS, PATIENCE = 500.0, 60.0, 32, 500.0

#: Seconds for which both servers are kept busy to compare what they can do, and over how many connections.
BUSY, CROWD = 10.0, 32

#: Columns.
EMPTY = "an empty view"


def scale(options: Options) -> Result:
    rows, runs = [], []
    for part in (_workers, _steady, _most):
        result = part(options)
        rows += result.rows
        runs += result.runs
    return Result(rows, runs)


def _workers(options: Options) -> Result:
    """The same backfill by 1, 2 and 4 worker processes, over a long line."""
    number = options.scaled(REPOSITORIES, 8)
    values: dict[str, list[float]] = {}
    failures: dict[str, list[str]] = {}
    runs: list[Run] = []
    with Stage(number * 2 * 40 * 4096 + 1024**3, options.storage) as stage:
        primary = stage.primary()
        corpus = _filled(primary, number)
        line = stage.line(primary, round_trip=AWAY)
        for processes in PROCESSES:
            name = f"{processes} worker process{'es' if processes > 1 else ''}"
            env = {**options.env, "WORKER_PROCESSES": str(processes), "WORKER_THREADS": str(THREADS)}
            options.say(f"  {name}")
            race = Race(replace(options, peers=(), ours=True, env=env), stage, primary, corpus, line)
            for run in race.cold():
                runs.append(replace(run, tool=name))
                if run.seconds is None:
                    failures.setdefault(name, []).append(run.failure or "failed")
                else:
                    # Not the start of the command, which takes the same with any number of workers.
                    values.setdefault(name, []).append(number / (run.seconds - run.phases[TAKEN_UP]))
        in_memory = stage.in_memory
    title = f"{number} repositories of one small tag, primary {AWAY * 1000:.0f} ms away, {THREADS} threads each"
    return Result([Row("scale-workers", title, "tags a second", values, [], failures)], runs, None, in_memory)


def _steady(options: Options) -> Result:
    """Events at a steady rate into two web processes; each is in the database afterwards, once."""
    seconds = max(3.0, SECONDS * options.scale)
    latencies: dict[str, list[float]] = {}
    failures: dict[str, list[str]] = {}
    lost: dict[str, list[float]] = {}
    with ExitStack() as stack:
        for name, url, directory in _databases(stack):
            with _web(directory, url, "app:create_app()", options.env) as web:
                before = web.cpu()
                answered = web.load("steady", seconds, connections=CONNECTIONS, rate=RATE)
                used = web.cpu() - before
                kept = _stored(web.env["DATABASE_URL"], "steady-%")
            sent = round(RATE * seconds)
            taken = answered["statuses"].get("200", 0)
            options.say(
                f"  {name}: {sent} sent, {answered['statuses']} answered, {kept} stored;"
                f" {used / answered['seconds']:.2f} processors of web"
            )
            if taken != sent or kept != sent:
                failures.setdefault(name, []).append(f"{sent} sent, {answered['statuses']}, {kept} stored")
            latencies[name] = [value * 1000 for value in answered["latencies"]]
            lost[name] = [float(taken - kept)]
    # The aim is one of the 99th percentile.
    tail = {name: [percentile(values, 0.99)] for name, values in latencies.items() if values}
    title = f"{RATE:.0f} events a second for {seconds:.0f} s, two web processes"
    return Result(
        [
            Row("scale-events", f"{title}: until it is answered", "ms", latencies, [], failures, tail=True),
            Row("scale-events-tail", f"{title}: 99th percentile", "ms", _as_ours(tail), [Aim(PATIENCE)], failures),
            Row("scale-events-lost", f"{title}: answered and not in the database", "events", lost),
        ]
    )


def _most(options: Options) -> Result:
    """How many events the same server takes in at most, beside an empty view."""
    seconds = max(2.0, BUSY * options.scale)
    values: dict[str, list[float]] = {}
    with ExitStack() as stack:
        databases = _databases(stack)
        for number in range(options.rounds):
            for name, url, directory in [(EMPTY, databases[0][1], databases[0][2]), *databases]:
                application = "tests.benchmarks.empty:create_app()" if name == EMPTY else "app:create_app()"
                with _web(directory, url, application, options.env) as web:
                    web.load(f"warm{number}", 1.0, connections=CROWD)
                    before = web.cpu()
                    answered = web.load(f"most{number}", seconds, connections=CROWD)
                    used = web.cpu() - before
                    by_process = web.shares()
                taken = answered["statuses"].get("200", 0)
                rate = taken / answered["seconds"]
                values.setdefault(name, []).append(rate)
                options.say(
                    f"  round {number + 1} {name}: {rate:.0f} a second, {answered['statuses']};"
                    f" {used / max(1, taken) * 1000:.2f} ms of processor each;"
                    f" {', '.join(f'{share:.1f}' for share in by_process)} s by process"
                )
    shares = {
        name: [median(found) / median(values[EMPTY])] for name, found in values.items() if name != EMPTY and found
    }
    return Result(
        [
            Row("scale-most", "events taken in at most, two web processes", "a second", values),
            Row("scale-share", f"the same beside {EMPTY} (aim: 0.5)", "of it", shares),
        ]
    )


def _as_ours(values: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """The worst of them stands for us: the aim holds for all."""
    return {NAME: max(values.values()), **values} if values else {}


def _databases(stack: ExitStack) -> list[tuple[str, str, Path]]:
    """The kinds of databases: name, address and a directory on disk."""
    home = stack.enter_context(Stage(0)).home
    postgres = stack.enter_context(Postgres(durable=True))
    found = []
    for name, url in (("SQLite", f"sqlite:///{home}/sqlite/geo.db"), ("PostgreSQL", postgres.create_database())):
        directory = home / name.lower()
        directory.mkdir()
        found.append((name, url, directory))
    return found


@dataclass
class Web:
    """Web processes with their queue."""

    port: int
    directory: Path
    env: Mapping[str, str]

    def cpu(self) -> float:
        return cpu_seconds(*processes_of(self.directory))

    def shares(self) -> list[float]:
        """Processor seconds that each web process took so far."""
        return sorted(cpu_seconds(pid) for pid in processes_of(self.directory) if _serves(pid))

    def load(self, name: str, seconds: float, *, connections: int, rate: float = 0.0) -> dict[str, Any]:
        """What became of requests that another process sends."""
        command = [sys.executable, "-m", "tests.benchmarks.load", str(self.port), WEBHOOK]
        command += ["--connections", str(connections), "--seconds", str(seconds), "--rate", str(rate), "--name", name]
        environ = clean_environment(PYTHONPATH=str(ROOT))
        done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the load could not be made: {done.stderr[-500:]}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@contextlib.contextmanager
def _web(directory: Path, url: str, application: str, given: Mapping[str, str]) -> Iterator[Web]:
    """Two web processes of this application in gunicorn as `geo web` runs it, and a Valkey that takes their wakes."""
    port = free_port()
    with Valkey(directory / "valkey") as valkey:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "PYTHONPATH": str(ROOT),
            "PORT": str(port),
            "GEO_BIND": "127.0.0.1",
            "WEB_CONCURRENCY": "2",
            "LOG_FORMAT": "json",
            "DATABASE_URL": url,
            "REDIS_URL": valkey.url,
            "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": "http://127.0.0.1:9",
            "GEO_SECONDARY_REGISTRY_URL": "http://127.0.0.1:10",
            "GEO_NOTIFICATION_SECRET": SECRET,
            "GEO_ADMIN_TOKEN": ADMIN_TOKEN,
            **given,
        }
        migrate = [sys.executable, "-m", "app", "migrate"]
        subprocess.run(migrate, env=env, cwd=directory, check=True, capture_output=True)
        server = [sys.executable, "-P", "-m", "app.server", "-c", "python:app.gunicorn_conf", application]
        with Process(server, log=directory / "web.log", env=env, cwd=directory) as web:
            web.wait_for_port(port)
            yield Web(port, directory, env)


def _serves(pid: int) -> bool:
    return b"app.server" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _stored(url: str, keys: str) -> int:
    """How many events are in the log whose key is like that."""
    if url.startswith("sqlite"):
        import sqlite3

        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            return int(
                database.execute("SELECT count(*) FROM geo_events WHERE event_key LIKE ?", (keys,)).fetchone()[0]
            )
    with psycopg.connect(url) as postgres:
        row = postgres.execute("SELECT count(*) FROM geo_events WHERE event_key LIKE %s", (keys,)).fetchone()
        return int(row[0]) if row else 0


def _filled(primary: DistributionRegistry, number: int) -> Corpus:
    corpus = Corpus(size=number * LAYER)
    with Client(primary) as client:
        for each in range(number):
            repository, image = f"scale/app-{each:04}", images.image(count=1, size=LAYER)
            client.push(repository, "v1", image)
            corpus.tags.append(Tag.of(repository, "v1", image))
    return corpus
