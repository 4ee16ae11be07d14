"""A child process that never outlives the tests."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tests.support.wait import wait_until

#: How much of a log an error message shows.
TAIL = 4000


class Process:
    """One program in a session of its own, its output in a log file.

    The kernel kills it when the thread that started it ends (PR_SET_PDEATHSIG), so start it from the test's or the
    fixture's own thread, never from one that ends before the program should. `setpriv` sets that: a `preexec_fn`
    forks a process that has threads, which Python 3.12 warns of.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Describe the process; `start` starts it.

        :param env: the whole environment; the default is that of the tests.
        :param user: run as this user (needs root).
        :param stop_signal: what `stop` asks it by to end.
        """
        self.command = [str(part) for part in command]
        self.log = log
        self.env = env
        self.cwd = cwd
        self.user = user
        self.stop_signal = stop_signal
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError(f"{self.command[0]} is not started")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._ended() is False

    @property
    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def start(self) -> Self:
        """Start the program; its output is appended to the log. Does not wait for an answer."""
        if self._child is not None:
            raise RuntimeError(f"{self.command[0]} is already started")
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [*leash(self.user), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if self.env is None else dict(self.env),
                cwd=self.cwd,
                start_new_session=True,
            )
        return self

    def serve(self, url: str, *, timeout: float = 20, verify: bool | str = True) -> Self:
        """Start it and wait for its answer there; where none comes, it is killed."""
        self.start()
        try:
            self.wait_for_http(url, timeout=timeout, verify=verify)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, timeout: float = 10) -> int:
        """Ask it to end, kill it after `timeout` seconds; return the exit status (negative: the signal).

        Whatever it left running in its process group is killed.
        """
        return self._end(self.stop_signal, timeout)

    def ask_to_stop(self) -> None:
        """Send what `stop` sends, and do not wait."""
        os.kill(self.pid, self.stop_signal)

    def kill(self) -> int:
        """End it by SIGKILL, at once, and whatever it left running in its process group."""
        return self._end(signal.SIGKILL, 10)

    def pause(self) -> None:
        """Stop it where it stands (SIGSTOP); `resume` continues it."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def wait(self, timeout: float = 20) -> int:
        """Wait until it ends by itself; return the exit status."""
        wait_until(lambda: not self.running, timeout, lambda: f"{self.command[0]} still runs\n{self._tail()}")
        return self._reap()

    def wait_for_port(self, port: int, *, host: str = "127.0.0.1", timeout: float = 20) -> None:
        """Wait until it accepts connections; AssertionError with the log's end if it ends or does not."""
        self._wait_for(lambda: _accepts(host, port), timeout, f"{host}:{port}")

    def wait_for_http(
        self, url: str, *, timeout: float = 20, status: int | None = None, verify: bool | str = True
    ) -> None:
        """Wait for an HTTP answer, of status `status` if given."""
        self._wait_for(lambda: _answers(url, status, verify), timeout, url)

    def __enter__(self) -> Self:
        return self if self._child is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_for(self, answer: Callable[[], bool], timeout: float, what: str) -> None:
        def answered_or_ended() -> bool:
            return answer() or not self.running

        wait_until(answered_or_ended, timeout, lambda: f"no answer from {what}\n{self._tail()}")
        if not self.running:
            raise AssertionError(f"{self.command[0]} ended with {self._reap()}\n{self._tail()}")

    def _ended(self) -> bool:
        # WNOWAIT leaves the zombie, and with it the process group's number, until _reap: a group that is killed
        # after that could be somebody else's.
        if self._child is None or self._child.returncode is not None:
            return True
        return os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def _end(self, number: int, timeout: float) -> int:
        if self._child is None:
            return 0
        if not self._ended():
            os.kill(self._child.pid, number)
            # A stopped process takes SIGTERM only when it is continued.
            os.kill(self._child.pid, signal.SIGCONT)
            with contextlib.suppress(AssertionError):
                wait_until(self._ended, timeout)
        return self._reap()

    def _reap(self) -> int:
        child = self._child
        if child is None:
            return 0
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        self._child = None
        return child.wait(timeout=10)

    def _tail(self) -> str:
        return self.log_text[-TAIL:]


def leash(user: str | None = None) -> list[str]:
    """Return the words before a command that tie it to this thread's life and run it as `user`, if given."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    words = [setpriv, "--pdeathsig", "KILL"]
    if user is not None:
        group = pwd.getpwnam(user).pw_gid
        words += [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    # Whoever started it may have ended before setpriv asked for the signal.
    guard = f'[ "$PPID" = {os.getpid()} ] || exit 1; exec "$@"'
    return [*words, "--", "sh", "-c", guard, "sh"]


def clean_environment(**extra: str) -> dict[str, str]:
    """Return an environment for a child: PATH, HOME, language and `extra`, and nothing that would configure it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **extra}


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def _answers(url: str, status: int | None, verify: bool | str) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        try:
            with session.get(url, timeout=2, verify=verify, allow_redirects=False) as answer:
                return status is None or answer.status_code == status
        except requests.RequestException:
            return False
