from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from app.deployment import ROOT, Deployment, environment, web_command, worker_command
from app.embedded import EmbeddedValkey
from app.settings import Settings
from tests.support.deployment import offline_environment
from tests.support.ports import free_port


def settings(**extra: str) -> Settings:
    return Settings.from_env(offline_environment("sqlite:///unused/geo.db", **extra))


def names(deployment: Deployment) -> list[str]:
    return [program.name for program in deployment.programs()]


def test_what_runs_depends_on_the_role_and_the_broker(tmp_path: Path) -> None:
    assert names(Deployment(settings(), {})) == ["worker", "scheduler", "web"]
    assert names(Deployment(settings(GEO_ROLE="primary"), {})) == ["scheduler", "web"]
    with EmbeddedValkey(tmp_path / "valkey") as valkey:
        deployment = Deployment(settings(), {}, valkey)
        programs = deployment.programs()
        assert names(deployment) == ["valkey", "worker", "scheduler", "web"]

        # The broker ends after all who use it, and they know where it is.
        assert programs[0].stop_order > max(program.stop_order for program in programs[1:])
        for program in programs[1:]:
            assert program.env is not None
            assert program.env["REDIS_URL"] == valkey.url
            assert program.env["BROKER_URL"] == valkey.broker_url


def test_a_broker_of_ones_own_stays(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "valkey") as valkey:
        given = {"BROKER_URL": "amqp://127.0.0.1"}
        web = Deployment(settings(**given), given, valkey).programs()[-1]
        assert web.env is not None
        assert web.env["BROKER_URL"] == "amqp://127.0.0.1"


def test_children_find_our_modules_first() -> None:
    assert environment({})["PYTHONPATH"] == str(ROOT)
    assert environment({"PYTHONPATH": "/elsewhere"})["PYTHONPATH"] == f"{ROOT}{os.pathsep}/elsewhere"
    assert environment({"dramatiq_worker_timeout": "500"})["dramatiq_worker_timeout"] == "500"
    assert int(environment({})["dramatiq_worker_timeout"]) <= 50


def test_processes_keep_few_heaps() -> None:
    assert int(environment({})["MALLOC_ARENA_MAX"]) <= 2
    assert environment({"MALLOC_ARENA_MAX": "8"})["MALLOC_ARENA_MAX"] == "8"


def test_workers_are_as_many_as_asked_for() -> None:
    command = worker_command(settings(WORKER_PROCESSES="3", WORKER_THREADS="5"))
    assert command[command.index("--processes") + 1] == "3"
    assert command[command.index("--threads") + 1] == "5"
    assert "--queues" not in command


def test_a_worker_may_be_told_what_to_serve() -> None:
    command = worker_command(settings(), ["events", "sync"])
    assert command[command.index("--queues") :] == ["--queues", "events", "sync"]


@pytest.mark.parametrize("decoy", ["app", "workers", "migrations", "gunicorn.conf.py"])
def test_the_web_process_takes_nothing_out_of_the_working_directory(tmp_path: Path, decoy: str) -> None:
    # Given a directory with something of somebody else's in it
    text = "raise RuntimeError('this is another project')\n"
    if decoy.endswith(".py"):
        (tmp_path / decoy).write_text(text)
    else:
        (tmp_path / decoy).mkdir()
        (tmp_path / decoy / "__init__.py").write_text(text)

    # When gunicorn loads the application there
    env = environment({"PATH": os.environ["PATH"], **offline_environment(f"sqlite:///{tmp_path}/geo.db")})
    done = subprocess.run(
        [*web_command(), "--check-config"], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    # Then it is ours
    assert done.returncode == 0, done.stderr
    assert "another project" not in done.stderr


def test_a_web_process_that_does_not_answer_is_not_ready() -> None:
    deployment = Deployment(settings(PORT=str(free_port())), {})
    assert not deployment.answers()
