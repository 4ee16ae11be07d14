"""A deployment on one machine: which programs it consists of, and the environment they get."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

import app
from app.embedded import EmbeddedValkey
from app.processes import Program
from app.settings import Settings

#: Where our packages are, in a checkout or installed; children must not take an `app` of the working directory.
ROOT = Path(app.__file__).resolve().parents[1]

#: Milliseconds at most between an idle worker's looks at the queue. Dramatiq's second would be most of the lag.
WORKER_POLL = 50

#: Heaps that glibc keeps for the threads of a process, eight for each processor where nothing is said: a worker has
#: fifty threads that mostly wait, and each heap holds on to the most that its threads ever held at once.
HEAPS = 2

#: What a worker may be told to serve (workers.queues): reading events, syncs of what was just pushed, all other syncs,
#: and verification.
QUEUES = ("events", "sync", "backfill", "verification")

#: Milliseconds that a worker gives what is in flight; a sync gives its rows back after eight seconds.
WORKER_SHUTDOWN = 15_000


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """What our processes need beside what they were given; what is set already stays."""
    environ = dict(given)
    known = environ.get("PYTHONPATH")
    environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{known}" if known else str(ROOT)
    environ.setdefault("dramatiq_worker_timeout", str(WORKER_POLL))
    environ.setdefault("MALLOC_ARENA_MAX", str(HEAPS))
    return environ


def web_command() -> list[str]:
    return [sys.executable, "-P", "-m", "app.server", "-c", "python:app.gunicorn_conf", "app:create_app()"]


def worker_command(settings: Settings, queues: Sequence[str] = ()) -> list[str]:
    """Of a worker that serves these queues; without any, all."""
    return [
        *(sys.executable, "-P", "-m", "dramatiq", "workers"),
        *("--path", str(ROOT)),
        "--skip-logging",
        *("--processes", str(settings.worker_processes)),
        *("--threads", str(settings.worker_threads)),
        *("--worker-shutdown-timeout", str(WORKER_SHUTDOWN)),
        *(("--queues", *queues) if queues else ()),
    ]


@dataclass(frozen=True)
class Deployment:
    """Web, worker and scheduler, and the embedded broker where there is no other."""

    settings: Settings
    environ: Mapping[str, str]
    valkey: EmbeddedValkey | None = None

    def programs(self) -> list[Program]:
        """In the order in which they start; the broker ends last."""
        environ = environment(self.environ)
        environ["GEO_SUPERVISED"] = "1"
        programs = []
        if self.valkey is not None:
            environ["REDIS_URL"] = self.valkey.url
            environ.setdefault("BROKER_URL", self.valkey.broker_url)
            programs.append(self.valkey.program())
        if self.settings.role.replicates:
            programs.append(Program("worker", worker_command(self.settings), environ))
        # Also where nothing is copied: it prunes the event log.
        programs.append(Program("scheduler", [sys.executable, "-P", "-m", "app", "scheduler"], environ))
        programs.append(Program("web", web_command(), environ, ready=self.answers))
        return programs

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def answers(self) -> bool:
        """Whether the web process takes events in."""
        try:
            with requests.Session() as session:
                session.trust_env = False
                return session.get(f"{self.url}/-/readiness", timeout=1).ok
        except requests.RequestException:
            return False
