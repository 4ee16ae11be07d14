"""Runs several programs as one: in order, restarted when they die, stopped together."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Self, TextIO

from app.output import OWN_NAME, PrefixedOutput
from app.processes import Child, Program, describe_exit, die_with_parent, signals_held

__all__ = ["Program", "Supervisor", "die_with_parent"]

log = logging.getLogger(__name__)

#: Seconds before a program that died is started again: the first time, and at most after doubling.
FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0

#: Seconds of life after which a program counts as healthy and the delay starts anew.
HEALTHY_AFTER = 60.0

#: Seconds after the request to stop at which all that still lives is killed. Platforms kill us after 30, and
#: the promise is 20; the rest is for what a kill and the last lines of output need.
KILL_AFTER = 18.0

#: Seconds after the request to stop at which we leave even what a SIGKILL has not ended (it hangs in the kernel).
GIVE_UP_AFTER = 19.0

#: Seconds that the kernel gets to end what was killed before we return without it.
ABANDON_TIMEOUT = 0.5

#: Seconds between two looks at the children.
TICK = 0.05

#: Seconds after which we say that a program is still not ready.
READY_NOTICE_AFTER = 10.0

#: The exit status after a second Ctrl-C: 128 + SIGINT, as the shell has it.
EXIT_FORCED = 130


@dataclass(slots=True)
class _Slot:
    """One program and what became of it."""

    program: Program
    child: Child | None = None
    ready: bool = False
    started_at: float = 0.0
    start_at: float = 0.0
    delay: float = FIRST_DELAY
    notice_at: float | None = None
    terminated_at: float | None = None
    killed: bool = False


class Supervisor:
    """Starts ``programs`` in their order, each once the one before it is ready, and keeps them running.

    Either `run`, which returns after SIGTERM, SIGINT or SIGHUP; or, embedded, `start`, then `poll` every now and
    then (it never waits), and `stop` (as a context manager: start and stop). All from the main thread, see
    `app.processes.Child`.

    Stopping takes 20 s at most: SIGTERM to the leaders by ``stop_order``, SIGKILL to a process group after its
    program's ``stop_timeout`` and to all that is left after `KILL_AFTER`.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        out: TextIO | None = None,
        as_json: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``out`` is standard error by default; ``as_json`` makes each line of it an object.

        Raises:
            ValueError: for no programs, or two of one name.
        """
        names = [program.name for program in programs]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"programs need different names: {names}")
        self._slots = [_Slot(program) for program in programs]
        self._output = PrefixedOutput(sys.stderr if out is None else out, [*names, OWN_NAME], as_json=as_json)
        self._clock = clock
        self._sleep = sleep
        # Set by signal handlers, so nothing but plain assignments; acted on by the next poll.
        self._stop_reason: str | None = None
        self._kill_reason: str | None = None
        self._stopping_since: float | None = None

    @property
    def ready(self) -> bool:
        """Whether every program has been started and was ready once."""
        return all(slot.ready for slot in self._slots)

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of what runs now, by program."""
        return {slot.program.name: slot.child.pid for slot in self._slots if slot.child is not None}

    def start(self) -> None:
        """Start what can be started now; `poll` starts the rest. Does not wait."""
        self.poll()

    def poll(self) -> bool:
        """Do what is due: reap, start, restart, stop. Never waits; False once all is down after a stop."""
        now = self._clock()
        for slot in self._slots:
            self._reap(slot, now)
        if self._stop_reason is None:
            self._start_due(now)
            return True
        if self._stopping_since is None:
            self._stopping_since = now
            self._say(f"stopping ({self._stop_reason})")
        self._stop_due(now, now - self._stopping_since)
        return bool(self.pids) and now - self._stopping_since < GIVE_UP_AFTER

    def request_stop(self, reason: str = "asked to") -> None:
        """Have the following polls stop everything in order. Asking again changes nothing."""
        if self._stop_reason is None:
            self._stop_reason = reason

    def request_kill(self, reason: str = "asked to") -> None:
        """Have the next poll kill everything."""
        self.request_stop(reason)
        self._kill_reason = reason

    def stop(self) -> None:
        """Stop everything in order and wait until it is down: 20 s at most."""
        self.request_stop()
        try:
            while self.poll():
                self._sleep(TICK)
        finally:
            self._abandon()

    def run(self) -> int:
        """Run until a signal asks to stop; the exit status: 0, or 130 after a second Ctrl-C.

        Only SIGINT, once stopping, means "at once": platforms send SIGTERM several times.
        """
        with self._signals_stop():
            try:
                self.start()
                while self.poll():
                    self._sleep(TICK)
                self._say("stopped")
            finally:
                self._abandon()
        return 0 if self._kill_reason is None else EXIT_FORCED

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._abandon()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _reap(self, slot: _Slot, now: float) -> None:
        if slot.child is None or (status := slot.child.poll()) is None:
            return
        slot.child = None
        ended = f"{slot.program.name} {describe_exit(status)}"
        if self._stop_reason is None:
            self._retry_later(slot, ended, now)
        elif status != 0:
            self._say(ended)

    def _retry_later(self, slot: _Slot, ended: str, now: float) -> None:
        uptime = now - slot.started_at
        if uptime >= HEALTHY_AFTER:
            slot.delay = FIRST_DELAY
        self._say(f"{ended} after {uptime:.1f} s; starting it again in {slot.delay:g} s")
        slot.start_at = now + slot.delay
        slot.delay = min(slot.delay * 2, LONGEST_DELAY)

    def _start_due(self, now: float) -> None:
        for slot in self._slots:
            if slot.child is None and now >= slot.start_at:
                self._start(slot, now)
            if not slot.ready and not self._became_ready(slot, now):
                return

    def _start(self, slot: _Slot, now: float) -> None:
        slot.started_at = now
        with signals_held():
            try:
                slot.child = Child(slot.program)
            except OSError as error:
                self._retry_later(slot, f"{slot.program.name} could not be started ({error})", now)
                return
            self._output.follow(slot.program.name, slot.child.output)

    def _became_ready(self, slot: _Slot, now: float) -> bool:
        if slot.notice_at is None:
            slot.notice_at = now + READY_NOTICE_AFTER
        slot.ready = slot.child is not None and (slot.program.ready is None or slot.program.ready())
        if not slot.ready and now >= slot.notice_at:
            slot.notice_at = now + READY_NOTICE_AFTER
            self._say(f"{slot.program.name} is not ready yet; what comes after it waits")
        return slot.ready

    def _stop_due(self, now: float, elapsed: float) -> None:
        alive = [(slot, slot.child) for slot in self._slots if slot.child is not None]
        if self._kill_reason is not None or elapsed >= KILL_AFTER:
            for slot, child in alive:
                self._kill(slot, child, self._kill_reason or f"still running after {KILL_AFTER:g} s")
            return
        first = min((slot.program.stop_order for slot, _ in alive), default=0)
        for slot, child in alive:
            if slot.program.stop_order != first:
                continue
            if slot.terminated_at is None:
                slot.terminated_at = now
                child.terminate()
            elif now - slot.terminated_at >= slot.program.stop_timeout:
                self._kill(slot, child, f"still running {slot.program.stop_timeout:g} s after SIGTERM")

    def _kill(self, slot: _Slot, child: Child, reason: str) -> None:
        if not slot.killed:
            slot.killed = True
            self._say(f"killing {slot.program.name} ({reason})")
            child.kill()

    def _abandon(self) -> None:
        """Whatever happened: leave no child, and let the last lines out."""
        for slot in self._slots:
            if slot.child is not None:
                slot.child.kill()
        deadline = time.monotonic() + ABANDON_TIMEOUT
        while self.pids and time.monotonic() < deadline:
            for slot in self._slots:
                if slot.child is not None and slot.child.poll() is not None:
                    slot.child = None
            time.sleep(0.01)
        self._output.close()

    def _say(self, text: str) -> None:
        self._output.line(OWN_NAME, text)
        # Where there is a log file, it is told there too.
        log.info("%s", text)

    @contextlib.contextmanager
    def _signals_stop(self) -> Iterator[None]:
        """SIGTERM, SIGINT and SIGHUP ask to stop, unless we were started to ignore them (`nohup`, `&`)."""

        def on_signal(number: int, _: FrameType | None) -> None:
            if self._stop_reason is not None and number == signal.SIGINT:
                self.request_kill("second Ctrl-C")
            self.request_stop(signal.Signals(number).name)

        wanted = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
        before = {number: signal.getsignal(number) for number in wanted}
        installed = [number for number in wanted if before[number] is not signal.SIG_IGN]
        for number in installed:
            signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number in installed:
                signal.signal(number, before[number] or signal.SIG_DFL)
