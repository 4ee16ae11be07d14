from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import parts
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.wait import wait_until

#: Starts a grandchild in its own group, says its number and waits.
PARENT = """
import sys
from pathlib import Path
from tests.support.processes import Process

child = Process(["sleep", "600"], log=Path(sys.argv[1])).start()
print(child.pid, flush=True)
sys.stdin.read()
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_killed_test_run_leaves_no_orphan(tmp_path: Path) -> None:
    # Given a process that has started another
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)

        # When it is killed
        parent.kill()

    # Then so is the other
    wait_until(lambda: not alive(child))


def test_a_process_that_does_not_listen_to_a_signal_is_killed(tmp_path: Path) -> None:
    # Given a process that ignores SIGTERM and has a child
    script = "trap '' TERM; sleep 600 & echo $!; wait; wait"
    process = Process(["sh", "-c", script], log=tmp_path / "log").start()
    wait_until(lambda: process.log_text.endswith("\n"))
    child = int(process.log_text)

    # When
    status = process.stop(timeout=0.1)

    # Then both are gone
    assert status == -signal.SIGKILL
    assert not process.running
    wait_until(lambda: not alive(child))


def test_a_paused_process_stops_in_time(tmp_path: Path) -> None:
    # Given
    process = Process(["sleep", "600"], log=tmp_path / "log").start()
    process.pause()

    # When / Then
    assert process.stop() == -signal.SIGTERM


def test_waiting_for_a_process_that_ended_shows_its_log(tmp_path: Path) -> None:
    # Given a server that ends with a complaint
    process = Process(["sh", "-c", "echo no such option; exit 3"], log=tmp_path / "log").start()

    # When / Then
    with pytest.raises(AssertionError, match=r"ended with 3\nno such option"):
        process.wait_for_port(free_port())


def test_a_process_sees_only_the_environment_it_is_given(tmp_path: Path) -> None:
    # Given / When
    process = Process(["env"], log=tmp_path / "log", env={"PATH": os.environ["PATH"], "A": "1"}).start()

    # Then (the shell adds its directory)
    assert process.wait() == 0
    seen = {line.partition("=")[0] for line in process.log_text.splitlines()}
    assert {"PATH", "A"} <= seen <= {"PATH", "A", "PWD", "_"}


def test_a_condition_that_never_comes_true_fails_with_its_message() -> None:
    # Given / When / Then
    with pytest.raises(AssertionError, match=r"no luck \(after 0.02 s; last seen: 0\)"):
        wait_until(lambda: 0, timeout=0.02, message="no luck")


def test_ports_do_not_repeat() -> None:
    # Given / When
    ports = [free_port() for _ in range(200)]

    # Then
    assert len(set(ports)) == len(ports)


def test_a_missing_part_skips_for_a_person_and_fails_on_the_build_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a program that does not exist
    name = "no-such-program"

    # When / Then
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        parts.require(name)
    with pytest.raises(pytest.skip.Exception):
        parts.optional(name)
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception):
        parts.require(name)


def test_a_part_is_found_by_pattern(tmp_path: Path) -> None:
    # Given two versions of a program
    for version in ("14", "15"):
        program = tmp_path / version / "bin" / "no-such-program"
        program.parent.mkdir(parents=True)
        program.touch(0o755)

    # When
    found = parts.require("no-such-program", f"{tmp_path}/*/bin/no-such-program")

    # Then the newest is taken
    assert found == str(tmp_path / "15" / "bin" / "no-such-program")
