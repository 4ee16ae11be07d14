from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.processes import Child, Program, describe_exit
from tests.support.root import ROOT
from tests.support.wait import wait_until

#: A process that forks one that dies with it, and waits. `{body}` is what the fork does before it prints its pid.
PARENT = """
import os, signal, time
from app.processes import die_with_parent
if os.fork() == 0:
    {body}
    die_with_parent(interval=0.05, grace=0.3)
    os.write(1, f"{{os.getpid()}}\\n".encode())
while True:
    time.sleep(60)
"""


def exit_status(program: Program) -> tuple[int, str]:
    child = Child(program)
    with child.output as output:
        text = output.read().decode()
    wait_until(lambda: child.poll() is not None)
    status = child.poll()
    assert status is not None
    return status, text


@contextmanager
def parent_and_child(body: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run PARENT; yield it and the pid of its fork, once that watches its parent. Leaves neither."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(body=body)], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    ) as parent:
        try:
            assert parent.stdout is not None
            yield parent, int(parent.stdout.readline())
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_a_child_leads_a_session_of_its_own() -> None:
    status, text = exit_status(
        Program("id", [sys.executable, "-c", "import os; print(os.getpid(), os.getpgrp(), os.getsid(0))"])
    )
    assert status == 0
    assert len(set(text.split())) == 1


def test_a_child_has_the_environment_and_the_arguments_that_it_was_given() -> None:
    code = "import os, sys; print(sys.argv[1:], os.environ.get('GEO_TEST'), 'HOME' in os.environ)"
    status, text = exit_status(Program("env", [sys.executable, "-c", code, "", "a b", "--save"], env={"GEO_TEST": "1"}))
    assert (status, text) == (0, "['', 'a b', '--save'] 1 False\n")


def test_a_child_takes_broken_pipes_as_other_programs_do() -> None:
    # Given that Python ignores SIGPIPE and that an ignored signal stays ignored in the program that is run
    status, text = exit_status(Program("sh", ["sh", "-c", "kill -s PIPE $$; echo ignored"]))
    # Then it was put back
    assert (status, text) == (-signal.SIGPIPE, "")


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "exited with status 0"), (-9, "was ended by SIGKILL"), (-200, "was ended by signal 200")],
)
def test_an_exit_status_is_said_in_words(status: int, words: str) -> None:
    assert describe_exit(status) == words


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "", "argv": ["true"]}, "name"),
        ({"name": "web", "argv": []}, "words of a command"),
        ({"name": "web", "argv": "true"}, "words of a command"),
        ({"name": "web", "argv": ["true"], "stop_timeout": 0}, "stop_timeout"),
    ],
)
def test_a_program_validates_itself(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Program(**settings)  # type: ignore[arg-type]


def test_a_process_whose_parent_is_killed_asks_itself_to_stop(tmp_path: Path) -> None:
    # Given a process that notes a SIGTERM and ends
    note = tmp_path / "note"
    body = f"""
    def stop(*_):
        open({str(note)!r}, "w").close()
        os._exit(0)
    signal.signal(signal.SIGTERM, stop)"""
    with parent_and_child(body) as (parent, pid):
        # When its parent is killed
        parent.kill()
        # Then it was asked by SIGTERM
        wait_until(lambda: gone(pid))
        assert note.exists()


def test_a_process_whose_parent_is_killed_dies_even_if_it_ignores_sigterm() -> None:
    with parent_and_child("signal.signal(signal.SIGTERM, signal.SIG_IGN)") as (parent, pid):
        parent.kill()
        wait_until(lambda: gone(pid))


def test_a_process_lives_while_its_parent_does() -> None:
    # Given several looks at a living parent (the interval is 50 ms)
    with parent_and_child("pass") as (_, pid), pytest.raises(AssertionError):
        wait_until(lambda: gone(pid), 0.5)
