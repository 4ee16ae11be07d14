"""The Procfile, run by a runner of Procfiles: honcho, which signals as Heroku does."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from app.cli import COMMANDS
from app.deployment import QUEUES
from tests.support import images, parts
from tests.support.compare import assert_same
from tests.support.deployment import environment
from tests.support.keys import TokenAuth
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.registries import RegistryFactory
from tests.support.root import ROOT
from tests.support.running import endpoint, processes_of
from tests.support.valkey import Valkey
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

PROCFILE = ROOT / "Procfile"

#: What the Procfile needs of a checkout.
CHECKOUT = ("Procfile", "app", "workers", "migrations")

#: What honcho, as a shell does, makes of its own end by SIGTERM.
ENDED_BY_SIGTERM = 128 + 15


def processes() -> dict[str, str]:
    return dict(re.findall(r"^([a-z-]+): (.+)$", PROCFILE.read_text(), re.MULTILINE))


def honcho() -> str:
    """The program: of the environment that the tests run in, or else on PATH."""
    locked = re.search(r"^honcho==", (ROOT / "tests/requirements.txt").read_text(), re.MULTILINE)
    look = parts.require if locked else parts.optional
    return look("honcho", str(Path(sys.executable).with_name("honcho")))


def test_every_process_is_a_command_of_ours_that_runs_uninstalled() -> None:
    for name, command in processes().items():
        *words, argument = command.split()
        assert words == ["python", "-m", "app"], name
        assert argument in COMMANDS
    # What platforms know: it is run before a release, and it alone is sent requests.
    assert {"release", "web"} <= processes().keys()


def test_its_examples_of_workers_of_their_own_serve_every_queue_once() -> None:
    # Given the lines that are commented out
    examples = re.findall(r"^# ([a-z-]+): python -m app worker --queues (\S+)$", PROCFILE.read_text(), re.MULTILINE)

    # Then together they do what `worker` does
    assert sorted(queue for _, queues in examples for queue in queues.split(",")) == sorted(QUEUES)
    assert len({name for name, _ in examples} | set(processes())) == len(examples) + len(processes())


class Checkout:
    """A directory as a platform makes it: the sources, and no package of ours installed."""

    def __init__(self, path: Path, **env: str) -> None:
        self.path = path
        path.mkdir()
        for name in CHECKOUT:
            (path / name).symlink_to(ROOT / name)
        (path / ".env").write_text("".join(f"{name}={value}\n" for name, value in env.items()))
        self._honcho = honcho()
        self.env = {
            # Its processes begin with `python`.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(path),
            "PYTHONUNBUFFERED": "1",
        }

    def command(self, *words: str) -> list[str]:
        return [self._honcho, *words]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_its_processes_replicate_and_end(
    tmp_path: Path, registry_factory: RegistryFactory, token_auth: TokenAuth, valkey: Valkey
) -> None:
    # Given registries, a queue, and a checkout with its variables
    port, database = free_port(), tmp_path / "geo.db"
    primary = registry_factory("primary", token=token_auth, notify=[endpoint(port, ignore=True)])
    secondary = registry_factory("secondary", token=token_auth)
    env = environment(primary, secondary, f"sqlite:///{database}", PORT=str(port), GEO_BIND="127.0.0.1")
    env |= {"REDIS_URL": valkey.url, "BROKER_URL": valkey.broker_url, "WORKER_PROCESSES": "1", "LOG_FORMAT": "json"}
    checkout = Checkout(tmp_path / "checkout", **env)

    # When the release is prepared
    done = subprocess.run(
        checkout.command("start", "release"),
        env=checkout.env,
        cwd=checkout.path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    # Then the database is there
    assert done.returncode == 0, done.stdout + done.stderr
    with closing(sqlite3.connect(database)) as made:
        assert made.execute("SELECT count(*) FROM geo_events").fetchone() == (0,)

    # When everything else is started, with two of the workers
    # The first one gets the port that the variables say, the next one a hundred more.
    others = ["web", *sorted(processes().keys() - {"release", "web"})]
    process = Process(
        checkout.command("start", "-c", "worker=2", *others),
        log=tmp_path / "honcho.log",
        env=checkout.env,
        cwd=checkout.path,
    )
    with process:
        process.wait_for_http(f"http://127.0.0.1:{port}/-/readiness", timeout=60, status=200)
        wait_until(lambda: process.log_text.count("Worker process is ready") == 2, 60, lambda: process.log_text[-4000:])

        # Then images arrive
        push(primary, "team/app", "v1", images.index([images.image(), images.image(architecture="arm64")]))
        wait_until(
            lambda: digest_of(secondary, "team/app", "v1") == digest_of(primary, "team/app", "v1"),
            message=lambda: process.log_text[-4000:],
        )
        assert_same(primary, secondary, "team/app", "v1")

        # And SIGTERM, which reaches every process of each group, ends all of them
        assert process.stop(timeout=20) == ENDED_BY_SIGTERM
    wait_until(lambda: processes_of(checkout.path) == [], message=lambda: process.log_text[-4000:])
    assert "Traceback" not in process.log_text
