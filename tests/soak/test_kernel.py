"""Figures of real processes; and a process that really leaks is found by the limits of the real run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.soak.kernel import Look, command_line, descendants, entries, entry_of, processor_seconds
from tests.soak.measures import measures

#: At each line that it reads it takes something once, and either keeps it or gives it back.
PROGRAM = """
import os, socket, sys, threading
what, keeps, port = sys.argv[1], sys.argv[2] == "keeps", int(sys.argv[3])
kept, over = [], threading.Event()
for line in sys.stdin:
    if what == "memory":
        taken = os.urandom(512 * 1024)
    elif what == "files":
        taken = open(os.devnull)
    elif what == "connections":
        taken = socket.create_connection(("127.0.0.1", port))
    else:
        over = over if keeps else threading.Event()
        taken = threading.Thread(target=over.wait, daemon=True)
        taken.start()
    if keeps:
        kept.append(taken)
    elif what == "threads":
        over.set()
        taken.join()
    elif what != "memory":
        taken.close()
    taken = None
    print("done", flush=True)
"""

STEPS = 20

MEASURES = {
    "memory": "secondary: worker, PSS",
    "files": "secondary: worker, open files",
    "threads": "secondary: worker, threads",
    "connections": "secondary: worker, open files",
}


@contextmanager
def program(what: str, keeps: str, port: int = 0) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, what, keeps, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def step(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    assert child.stdout.readline() == "done\n"


@pytest.mark.parametrize("keeps", ["keeps", "gives back"])
@pytest.mark.parametrize("what", list(MEASURES))
def test_a_planted_leak_is_found(what: str, keeps: str) -> None:
    # Given a process that at each step takes a little, and keeps it or not
    samples: list[dict[str, Any]] = []
    with socket.create_server(("127.0.0.1", 0), backlog=STEPS + 10) as listener:
        port = int(listener.getsockname()[1])
        with program(what, keeps, port) as child:
            step(child)

            # When it is looked at after each of many steps, as in a run
            for number in range(STEPS):
                step(child)
                entry = entry_of(child.pid)
                assert entry is not None
                figures = Look({port: "feed"}).figures(entry)
                assert figures is not None
                worker = {"site": "secondary", "kind": "worker", **figures.document()}
                samples.append({"t": 90.0 * number, "tables": {}, "processes": [worker]})

    # Then the limits of the long run find what was kept, and that alone
    found = {each.series.name: each.judged() for each in measures(samples, short=False)}
    assert found[MEASURES[what]].holds == (keeps == "gives back"), found[MEASURES[what]]
    assert "nothing was measured" not in found[MEASURES[what]].why
    if keeps == "gives back":
        assert [name for name in MEASURES.values() if not found[name].holds] == []


def test_connections_are_counted_by_whom_they_lead_to() -> None:
    # Given a process with three connections to a server
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        with program("connections", "keeps", port) as child:
            for _ in range(3):
                step(child)
            entry = entry_of(child.pid)
            assert entry is not None

            # When
            figures = Look({port: "feed"}).figures(entry)

    # Then
    assert figures is not None
    assert figures.connections == {"feed": 3}
    assert figures.sockets == 3


def test_who_comes_from_whom() -> None:
    # Given a process that has a child
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(input(), flush=True); input()'])"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("ready\n")
            child.stdin.flush()
            assert child.stdout.readline() == "ready\n"

            # When
            found = descendants(os.getpid(), entries())

            # Then both are ours, parents first, and only one is its own
            pids = [entry.pid for entry in found]
            (grandchild,) = descendants(child.pid, entries())
            assert pids.index(child.pid) < pids.index(grandchild.pid)
            assert "input()" in command_line(grandchild.pid)
            child.stdin.write("end\n")
            child.stdin.flush()
            child.wait(20)
        finally:
            child.kill()


def test_processor_time_of_the_ended_counts() -> None:
    # Given
    before = processor_seconds(os.getpid())

    # When a child has worked and ended
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"], check=True)

    # Then
    assert processor_seconds(os.getpid()) - before >= 0.45


def test_what_has_ended_has_no_figures() -> None:
    # Given
    with program("files", "keeps") as child:
        entry = entry_of(child.pid)
        assert entry is not None

    # When / Then
    assert Look({}).figures(entry) is None
    assert command_line(entry.pid) == ""
    assert entry_of(entry.pid) is None
