"""`geo demo` as a person runs it. Its ports are fixed, so it is left out where somebody else has them."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.parts import required_here
from tests.support.ports import DEMONSTRATION, free_port, listening
from tests.support.processes import Process, clean_environment
from tests.support.root import ROOT
from tests.support.running import processes_of
from tests.support.skopeo import skopeo_copy
from tests.support.wait import wait_until

#: Colours and the like.
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    taken = [port for port in DEMONSTRATION if listening(port)]
    if taken and not required_here():
        pytest.skip(f"somebody has the demonstration's ports: {taken}")
    assert not taken
    return tmp_path


def demo(*options: str) -> list[str]:
    return [sys.executable, "-m", "app", "demo", *options]


def environ() -> dict[str, str]:
    return clean_environment(PYTHONPATH=str(ROOT), TERM="xterm")


def assert_nothing_is_left(home: Path, *ports: int) -> None:
    assert processes_of(home) == []
    assert not [port for port in (*DEMONSTRATION, *ports) if listening(port)]


def test_once(home: Path) -> None:
    # When
    port = free_port()
    done = subprocess.run(
        demo("--once", "--port", str(port)),
        env=environ(),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    # Then it has shown what it should, in plain text
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"On the secondary \d+ ms after", done.stdout)
    assert done.stdout.count("equal") >= 7
    assert "DIFFERENT" not in done.stdout
    assert re.search(r"\] 7/7 blobs and manifests$", done.stderr, re.MULTILINE)
    assert "\x1b" not in done.stdout + done.stderr

    # And nothing is left running, and a second run starts as the first did
    assert_nothing_is_left(home, port)


@pytest.mark.long
def test_it_stays_until_ctrl_c(home: Path) -> None:
    # Given the demonstration on a terminal
    port = free_port()
    terminal = Terminal(demo("--port", str(port)), home)
    with terminal:
        wait_until(lambda: "Ctrl-C ends it." in terminal.text, timeout=90, message=lambda: terminal.text)
        assert re.search(r"\[█+\] 7/7 blobs and manifests\r?\n", terminal.text)

        # When a person pushes an image by the line that is printed
        line = re.search(r"skopeo copy (--all .*?)my/image:v1", terminal.text.replace("\\\r\n", ""), re.DOTALL)
        assert line is not None
        options = ["--src-creds", "demo:demo", "--dest-creds", "demo:demo"]
        skopeo_copy("docker://127.0.0.1:5001/demo/hello:latest", "docker://127.0.0.1:5001/my/image:v1", *options)

        # Then it is on the secondary
        def there() -> bool:
            command = ["skopeo", "inspect", "--raw", "--tls-verify=false", "--creds", "demo:demo"]
            return (
                subprocess.run(
                    [*command, "docker://127.0.0.1:5002/my/image:v1"], capture_output=True, check=False
                ).returncode
                == 0
            )

        wait_until(there)

        # And when Ctrl-C is pressed, everything ends
        os.write(terminal.descriptor, b"\x03")
        assert terminal.wait(30) == 0, terminal.text
    assert terminal.text.rstrip().endswith("Everything has stopped.")
    assert "Traceback" not in terminal.text
    assert_nothing_is_left(home, port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_may_be_ended_while_it_starts(home: Path, number: signal.Signals) -> None:
    # Given a demonstration that has just begun
    port = free_port()
    with Process(demo("--port", str(port)), log=home / "demo.log", env=environ(), cwd=home) as process:
        wait_until(lambda: "Starting" in process.log_text)
        wait_until(lambda: listening(DEMONSTRATION[0]), timeout=60, message=lambda: process.log_text)

        # When
        os.kill(process.pid, number)

        # Then
        assert process.wait(30) == 130
        assert "Traceback" not in process.log_text
    assert_nothing_is_left(home, port)


def test_it_says_which_port_is_taken(home: Path) -> None:
    # Given somebody on the secondary's port and on the web's
    web = free_port()
    with socket.create_server(("127.0.0.1", DEMONSTRATION[1])), socket.create_server(("127.0.0.1", web)):
        done = subprocess.run(
            demo("--once", "--port", str(web)),
            env=environ(),
            cwd=home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    # Then
    assert done.returncode == 1
    assert f"{DEMONSTRATION[1]} (secondary)" in done.stderr
    assert f"{web} (web)" in done.stderr
    assert f"{DEMONSTRATION[0]}" not in done.stderr
    assert "Traceback" not in done.stderr
    assert_nothing_is_left(home)


def test_it_says_that_there_is_no_registry(home: Path) -> None:
    env = {**environ(), "PATH": "/nonexistent"}
    done = subprocess.run(demo("--once"), env=env, cwd=home, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "docker-registry" in done.stderr
    assert "Traceback" not in done.stderr


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command: list[str], home: Path) -> None:
        self._command = command
        self._home = home
        self._said = b""

    def __enter__(self) -> Terminal:
        pid, self.descriptor = pty.fork()
        if pid == 0:
            os.chdir(self._home)
            os.execve(self._command[0], self._command, environ())
        self.pid = pid
        os.set_blocking(self.descriptor, False)
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)
            self.wait(30)
        os.close(self.descriptor)

    @property
    def text(self) -> str:
        """What it has said so far, without colours."""
        try:
            while data := os.read(self.descriptor, 65536):
                self._said += data
        except (BlockingIOError, OSError):
            # Nothing at the moment, or nothing ever again.
            pass
        return ESCAPES.sub("", self._said.decode(errors="replace"))

    def wait(self, timeout: float) -> int:
        """Wait for its end; the exit status."""
        ended: list[int] = []

        def over() -> bool:
            _ = self.text
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                ended.append(os.waitstatus_to_exitcode(status))
            return bool(pid)

        wait_until(over, timeout, lambda: self.text)
        self.pid = 0
        return ended[0]
