"""A program that runs as our child: in a process group of its own, and never longer than its parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

#: Seconds between two looks at whether the parent is still there.
PARENT_POLL_INTERVAL = 1.0

#: Seconds from the SIGTERM that a process sends itself for want of a parent to the SIGKILL.
ORPHAN_GRACE = 20.0

#: What the shell answers for a command that cannot be run.
EXIT_CANNOT_RUN = 127

# Runs in a fresh interpreter that then becomes the program: arming the parent-death signal between fork and
# exec (`preexec_fn`) would run Python in the fork of a threaded process, which can deadlock. The look at the
# parent afterwards closes the gap in which it died before the signal was armed. Python ignores SIGPIPE and
# SIGXFSZ, and what is ignored stays so across exec: the program gets the system's defaults.
_LAUNCHER = f"""
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, {int(signal.SIGTERM)}, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(0)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    print(f"cannot run {{sys.argv[2]}}: {{error.strerror}}", file=sys.stderr, flush=True)
    os._exit({EXIT_CANNOT_RUN})
"""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, when it counts as ready and how it is stopped.

    ``env`` is the whole environment (None: ours). ``ready`` is asked until it says True once, and whatever comes
    after this program waits for that; it must answer at once and not raise. ``stop_order``: programs of a
    lower one have stopped before a higher one is told to. ``stop_timeout``: seconds from SIGTERM to SIGKILL.
    ``pass_fds`` are open files that the program inherits.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    stop_order: int = 0
    ready: Callable[[], bool] | None = None
    stop_timeout: float = 16.0
    pass_fds: Sequence[int] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a program needs a name")
        if not self.argv or isinstance(self.argv, str):
            raise ValueError(f"{self.name}: argv must be the words of a command, not {self.argv!r}")
        if self.stop_timeout <= 0:
            raise ValueError(f"{self.name}: stop_timeout must be positive, not {self.stop_timeout}")


class Child:
    """A running program: the leader of a session and process group of its own.

    A Ctrl-C at the terminal therefore reaches only us, and we tell the leader alone: Dramatiq's leader passes
    SIGTERM on to its workers, and a worker that hears it twice drops what it is doing.
    """

    def __init__(self, program: Program) -> None:
        """Start it. Raises OSError when the system has no process to give.

        Linux ties the parent-death signal to the thread that forked, not to the process: a child started from
        a passing thread would be told to stop when that thread ends. Hence the main thread only.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a child program must be started from the main thread")
        environment = dict(os.environ if program.env is None else program.env)
        # A pipe makes Python buffer its standard output by the block; the lines should come as they are written.
        environment.setdefault("PYTHONUNBUFFERED", "1")
        self._process = subprocess.Popen(  # noqa: S603 - the programs are the deployment's own
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *program.argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=program.pass_fds,
        )
        assert self._process.stdout is not None
        self.output: IO[bytes] = self._process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status once it has ended (negative: the signal), else None; never waits.

        Whatever it left behind in its process group is killed: nobody would stop it later, and it may hold the
        port that the next one needs.
        """
        if self._process.returncode is None and self._ended():
            self.kill()
            self._process.wait()
        return self._process.returncode

    def _ended(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._process.poll() is not None
        # WNOWAIT leaves the zombie, and with it the number of the process group, until that group is killed:
        # later the number could be another's.
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def terminate(self) -> None:
        """Ask the leader, and only it, to stop."""
        # Not Popen.terminate: it reaps in passing, and `poll` would no longer see what the leader left behind.
        os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the whole process group at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
            os.killpg(self._process.pid, signal.SIGKILL)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Have SIGINT and SIGTERM wait until the end. They come to the main thread: in another, this does nothing.

    A handler that raises (Python's own for SIGINT does) between a fork and the assignment of what it made leaves a
    child that nobody knows. Blocking the signals would not do: another thread's share of them raises here all the same,
    and a child inherits the mask.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    replaced = [number for number, handler in before.items() if callable(handler)]
    for number in replaced:
        signal.signal(number, lambda number, _: held.append(number))
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, before[number])
        for late in dict.fromkeys(held):
            signal.raise_signal(late)


def describe_exit(status: int) -> str:
    """``Popen.returncode`` in words: "exited with status 1", "was ended by SIGKILL"."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def die_with_parent(
    *,
    interval: float = PARENT_POLL_INTERVAL,
    grace: float = ORPHAN_GRACE,
) -> threading.Thread:
    """Stop this process when its parent is gone: SIGTERM, and after ``grace`` seconds SIGKILL.

    For processes that their parent forks without arming a parent-death signal, as Dramatiq does with its
    workers: call it in the worker, after the fork (a thread does not survive one). The parent is the
    one at the time of the call. Polling the parent's pid, unlike Linux's
    parent-death signal, works everywhere and whichever thread forked.
    """
    expected = os.getppid()

    def watch() -> None:
        while os.getppid() == expected:
            time.sleep(interval)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace)
        os.kill(os.getpid(), signal.SIGKILL)

    thread = threading.Thread(target=watch, name="die-with-parent", daemon=True)
    thread.start()
    return thread
