from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment
from tests.support.root import ROOT
from tests.support.wait import wait_until

#: Any WSGI application: only the configuration is under test.
APPLICATION = "wsgiref.simple_server:demo_app"


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "gunicorn", "-c", "python:app.gunicorn_conf", *words, APPLICATION]


def printed_settings(**environment: str) -> dict[str, str]:
    output = subprocess.run(
        command("--print-config"),
        cwd=ROOT,
        env=clean_environment(**environment),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    pairs = (line.partition("=") for line in output.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def test_a_bare_environment_has_the_documented_defaults() -> None:
    settings = printed_settings()
    assert settings["bind"] == "['0.0.0.0:8000']"
    assert (settings["workers"], settings["threads"], settings["worker_class"]) == ("2", "16", "app.server.Worker")
    assert settings["control_socket_disable"] == "True"


@pytest.mark.parametrize(
    ("environment", "bind"),
    [
        ({"PORT": "5000"}, "['0.0.0.0:5000']"),
        ({"GEO_BIND": "127.0.0.1"}, "['127.0.0.1:8000']"),
        ({"GEO_BIND": "::1", "PORT": "81"}, "['[::1]:81']"),
    ],
)
def test_the_environment_says_where_to_listen(environment: dict[str, str], bind: str) -> None:
    assert printed_settings(**environment)["bind"] == bind


def test_a_port_that_is_no_number_is_named() -> None:
    run = subprocess.run(
        command("--print-config"),
        cwd=ROOT,
        env=clean_environment(PORT="many"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "PORT must be a positive whole number, not 'many'" in run.stderr
    assert "Traceback" not in run.stderr


def test_it_serves(tmp_path: Path) -> None:
    port = free_port()
    environment = clean_environment(PORT=str(port), GEO_BIND="127.0.0.1", HOME=str(tmp_path))
    with Process(command(), log=tmp_path / "log", env=environment, cwd=ROOT) as web:
        url = f"http://127.0.0.1:{port}/"
        web.wait_for_http(url)
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(url, timeout=10).status_code == 200
        # A control socket would be here
        assert [path.name for path in tmp_path.iterdir()] == ["log"]
        assert web.stop() == 0


def test_a_stop_while_a_worker_starts_is_not_lost(tmp_path: Path) -> None:
    # Given a second worker that is forked and has no signal handlers of its own yet
    gate = tmp_path / "gate"
    (tmp_path / "slow.py").write_text(
        "import os, time\n"
        "from app.gunicorn_conf import *\n"
        "def post_fork(arbiter, worker):\n"
        "    if worker.age == 2:\n"
        f"        os.mkfifo({str(gate)!r})\n"
        f"        open({str(gate)!r}).close()\n"
    )
    port = free_port()
    environment = clean_environment(PORT=str(port), GEO_BIND="127.0.0.1", HOME=str(tmp_path))
    words = [sys.executable, "-m", "gunicorn", "-c", str(tmp_path / "slow.py"), APPLICATION]
    with Process(words, log=tmp_path / "log", env=environment, cwd=ROOT) as web:
        web.wait_for_http(f"http://127.0.0.1:{port}/")
        wait_until(gate.exists, 10, lambda: web.log_text)
        # When it is asked to stop, and that worker goes on
        web.ask_to_stop()
        wait_until(lambda: "Worker exiting" in web.log_text, 10, lambda: web.log_text)
        gate.write_bytes(b"")
        # Then it ends by itself, well before gunicorn would kill that worker
        assert web.wait(timeout=10) == 0
        assert web.log_text.count("Worker exiting") == 2
