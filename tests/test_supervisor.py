from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.processes import Child
from app.supervisor import KILL_AFTER, Program, Supervisor
from tests.support.clock import Clock
from tests.support.root import ROOT
from tests.support.wait import wait_until

#: Seconds after which a condition that should hold by now fails the test.
PATIENCE = 20.0

SLEEPS = "import time; time.sleep(60)"
IGNORES_SIGTERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)"


def python(name: str, code: str, **settings: object) -> Program:
    return Program(name, [sys.executable, "-c", code], **settings)  # type: ignore[arg-type]


def notes_signals(log: Path, *, work: float = 0.0, name: str = "") -> str:
    """A program that writes ``up``, and on SIGTERM, works on for ``work`` seconds and writes ``done``."""
    return f"""
import signal, time
def note(text):
    with open({str(log)!r}, "a") as log:
        log.write({name!r} + text + "\\n")
def stop(*_):
    note("SIGTERM")
    end = time.monotonic() + {work}
    while time.monotonic() < end:
        time.sleep(0.01)
    note("done")
    raise SystemExit
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, lambda *_: note("SIGINT"))
note("up")
while True:
    time.sleep(60)
"""


def until(condition: Callable[[], object], supervisor: Supervisor | None = None) -> None:
    """Wait for ``condition``, polling ``supervisor`` meanwhile."""

    def look() -> object:
        if supervisor is not None:
            supervisor.poll()
        return condition()

    wait_until(look, PATIENCE)


def ended(pid: int) -> bool:
    """Whether there is no such process, or it only waits for its parent, not ours, to collect it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def reaped(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


class Script:
    """A supervisor in a process of its own, to send signals to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.process: subprocess.Popen[str] | None = None

    def start(self, programs: str) -> subprocess.Popen[str]:
        """Run the programs of a Python expression, in which ``python`` is as above."""
        script = self._directory / "supervise.py"
        script.write_text(
            "import sys\n"
            "from app.supervisor import Program, Supervisor\n"
            "def python(name, code, **settings):\n"
            "    return Program(name, [sys.executable, '-c', code], **settings)\n"
            f"sys.exit(Supervisor({programs}, out=sys.stdout).run())\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, str(script)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self.process


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    script = Script(tmp_path)
    yield script
    if script.process is not None:
        script.process.kill()
        script.process.communicate()


def test_programs_start_in_order_once_the_one_before_is_ready(tmp_path: Path, out: io.StringIO) -> None:
    # Given a second program that waits for the first one to be ready
    opened = tmp_path / "opened"
    programs = [python("broker", SLEEPS, ready=opened.exists), python("web", SLEEPS)]
    with Supervisor(programs, out=out) as supervisor:
        # When the first one runs but is not ready
        for _ in range(5):
            supervisor.poll()
        # Then the second one is not started
        assert list(supervisor.pids) == ["broker"]
        assert not supervisor.ready
        # And when the first one is ready, it is
        opened.touch()
        supervisor.poll()
        assert list(supervisor.pids) == ["broker", "web"]
        assert supervisor.ready


def test_a_program_that_does_not_get_ready_is_named(out: io.StringIO) -> None:
    clock = Clock()
    supervisor = Supervisor([python("broker", SLEEPS, ready=lambda: False)], out=out, clock=clock)
    supervisor.start()
    clock.now += 10
    supervisor.poll()
    supervisor.stop()
    assert "geo    | broker is not ready yet" in out.getvalue()


def test_what_dies_is_started_again_with_backoff(out: io.StringIO) -> None:
    # Given a program that dies at once
    clock = Clock()
    supervisor = Supervisor([python("web", "raise SystemExit(3)")], out=out, clock=clock)
    supervisor.start()
    waited = []
    # When it dies again and again
    for _ in range(7):
        until(lambda: not supervisor.pids, supervisor)
        died = clock.now
        while not supervisor.pids:
            clock.now += 0.25
            supervisor.poll()
        waited.append(clock.now - died)
    supervisor.stop()
    # Then the wait before each new start doubles up to ten seconds, and each is said
    assert waited == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert "web exited with status 3 after 0.0 s; starting it again in 0.5 s" in out.getvalue()


def test_a_minute_of_health_resets_the_backoff(out: io.StringIO) -> None:
    clock = Clock()
    supervisor = Supervisor([python("web", SLEEPS)], out=out, clock=clock)
    for uptime in (1, 1, 60):
        supervisor.start()
        os.kill(supervisor.pids["web"], signal.SIGKILL)
        clock.now += uptime
        until(lambda: not supervisor.pids, supervisor)
        clock.now += 10
    supervisor.stop()
    said = [line.partition("; ")[2] for line in out.getvalue().splitlines() if "SIGKILL" in line]
    assert said == ["starting it again in 0.5 s", "starting it again in 1 s", "starting it again in 0.5 s"]


def test_a_command_that_does_not_exist_is_named(out: io.StringIO) -> None:
    supervisor = Supervisor([Program("web", ["no-such-command"])], out=out)
    supervisor.start()
    until(lambda: "status 127" in out.getvalue(), supervisor)
    supervisor.stop()
    assert "web | cannot run no-such-command: No such file or directory" in out.getvalue()


def test_programs_stop_in_order_and_work_in_flight_is_finished_first(tmp_path: Path, out: io.StringIO) -> None:
    # Given a worker that needs a moment for what it is doing, and the broker that it needs for that
    log = tmp_path / "log"
    supervisor = Supervisor(
        [
            python("broker", notes_signals(log, name="broker "), stop_order=1),
            python("worker", notes_signals(log, name="worker ", work=0.3)),
        ],
        out=out,
    )
    supervisor.start()
    until(lambda: len(lines(log)) == 2, supervisor)
    pids = supervisor.pids
    # When all is asked to stop
    supervisor.stop()
    # Then the worker ends its work before the broker is told, and nothing remains to be collected
    assert lines(log)[2:] == ["worker SIGTERM", "worker done", "broker SIGTERM", "broker done"]
    assert all(reaped(pid) for pid in pids.values())


def test_what_ignores_sigterm_is_killed_with_its_process_group(out: io.StringIO) -> None:
    # Given a program and its child that both ignore SIGTERM
    code = f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {IGNORES_SIGTERM!r}]); " + (
        "print('child', child.pid, flush=True); import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('deaf', flush=True); child.wait()"
    )
    supervisor = Supervisor([python("worker", code, stop_timeout=0.2)], out=out)
    supervisor.start()
    until(lambda: "deaf" in out.getvalue() and "up" in out.getvalue(), supervisor)
    child = int(out.getvalue().partition("child ")[2].split()[0])
    # When it is asked to stop
    supervisor.stop()
    # Then both are killed once its time is up
    assert "killing worker (still running 0.2 s after SIGTERM)" in out.getvalue()
    until(lambda: ended(child))


def test_everything_is_killed_before_twenty_seconds_are_over(out: io.StringIO) -> None:
    # Given programs that ignore SIGTERM and would have more time than there is
    clock = Clock()
    programs = [python(name, IGNORES_SIGTERM, stop_order=order, stop_timeout=100) for order, name in enumerate("ab")]
    supervisor = Supervisor(programs, out=out, clock=clock)
    supervisor.start()
    until(lambda: out.getvalue().count("up") == 2, supervisor)
    # When they still run just before the limit
    supervisor.request_stop()
    supervisor.poll()
    clock.now += KILL_AFTER - 0.1
    supervisor.poll()
    assert len(supervisor.pids) == 2
    # Then at the limit all are killed, the order notwithstanding
    clock.now += 0.1
    until(lambda: not supervisor.poll())
    supervisor.stop()
    assert out.getvalue().count("killing") == 2


def test_what_a_dead_leader_leaves_in_its_group_is_killed(out: io.StringIO) -> None:
    code = (
        f"import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', {IGNORES_SIGTERM!r}]); "
        "print('child', child.pid, flush=True); time.sleep(60)"
    )
    with Supervisor([python("worker", code)], out=out) as supervisor:
        until(lambda: "up" in out.getvalue(), supervisor)
        child = int(out.getvalue().partition("child ")[2].split()[0])
        # When the leader dies
        os.kill(supervisor.pids["worker"], signal.SIGKILL)
        # Then its orphan dies too
        until(lambda: ended(child), supervisor)


def test_a_signal_to_our_group_reaches_each_program_once_as_sigterm(tmp_path: Path, script: Script) -> None:
    # Given a running supervisor, alone in the group that a terminal would interrupt
    log = tmp_path / "log"
    process = script.start(f"[python('worker', {notes_signals(log, work=0.2)!r})]")
    until(lambda: lines(log) == ["up"])
    # When Ctrl-C is typed
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    # Then the program hears one SIGTERM, finishes, and the supervisor leaves with 0
    assert lines(log) == ["up", "SIGTERM", "done"]
    assert process.returncode == 0
    assert "geo    | stopping (SIGINT)" in output
    assert output.endswith("geo    | stopped\n")


def test_sigterm_may_come_twice(tmp_path: Path, script: Script) -> None:
    log = tmp_path / "log"
    process = script.start(f"[python('worker', {notes_signals(log, work=0.5)!r})]")
    until(lambda: lines(log) == ["up"])
    # When SIGTERM comes again while the work in flight is being finished
    process.send_signal(signal.SIGTERM)
    until(lambda: "SIGTERM" in lines(log))
    process.send_signal(signal.SIGTERM)
    # Then it is finished all the same
    assert process.wait(timeout=PATIENCE) == 0
    assert lines(log) == ["up", "SIGTERM", "done"]


def test_a_second_ctrl_c_kills_at_once(tmp_path: Path, script: Script) -> None:
    log = tmp_path / "log"
    process = script.start(f"[python('worker', {notes_signals(log, work=60)!r})]")
    until(lambda: lines(log) == ["up"])
    process.send_signal(signal.SIGINT)
    until(lambda: "SIGTERM" in lines(log))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE) == 130
    assert lines(log) == ["up", "SIGTERM"]


def test_no_process_outlives_a_supervisor_that_is_killed(tmp_path: Path, script: Script) -> None:
    # Given a program whose worker, forked by itself, dies with its parent, and one that knows of nothing
    pids = tmp_path / "pids"
    leader = f"""
import os, time
from app.supervisor import die_with_parent
if os.fork() == 0:
    die_with_parent(interval=0.05)
with open({str(pids)!r}, "a") as log:
    log.write(f"{{os.getpid()}}\\n")
time.sleep(60)
"""
    plain = f"import os, time; print(os.getpid(), file=open({str(pids)!r}, 'a'), flush=True); time.sleep(60)"
    process = script.start(f"[python('worker', {leader!r}), python('web', {plain!r})]")
    until(lambda: len(lines(pids)) == 3)
    # When the supervisor is killed
    process.kill()
    # Then all of them end
    until(lambda: all(ended(int(pid)) for pid in lines(pids)))


def test_signal_handlers_are_put_back(out: io.StringIO) -> None:
    def handler(*_: object) -> None: ...

    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in wanted}
    signal.signal(signal.SIGTERM, handler)
    try:
        # Given a supervisor that is asked to stop once its program runs
        supervisor = Supervisor([python("web", SLEEPS)], out=out, sleep=lambda _: os.kill(os.getpid(), signal.SIGTERM))
        # When it has run
        assert supervisor.run() == 0
        # Then the signals have the handlers that they had
        assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.getsignal(signal.SIGINT) is before[signal.SIGINT]
        assert signal.getsignal(signal.SIGHUP) is before[signal.SIGHUP]
    finally:
        signal.signal(signal.SIGTERM, before[signal.SIGTERM])


def test_an_ignored_hangup_stays_ignored(script: Script, tmp_path: Path) -> None:
    # Given a supervisor under nohup
    log = tmp_path / "log"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = script.start(f"[python('worker', {notes_signals(log)!r})]")
    finally:
        signal.signal(signal.SIGHUP, before)
    until(lambda: lines(log) == ["up"])
    # When the terminal goes away, and later it is asked to stop
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE)
    # Then only the latter counts
    assert "stopping (SIGTERM)" in output


def test_an_error_in_the_supervisor_leaves_no_child(out: io.StringIO) -> None:
    pids: list[int] = []

    def broken() -> bool:
        pids.extend(supervisor.pids.values())
        raise LookupError("a defect")

    supervisor = Supervisor([python("web", SLEEPS, ready=broken)], out=out)
    with pytest.raises(LookupError):
        supervisor.run()
    assert pids
    assert all(reaped(pid) for pid in pids)


def test_ctrl_c_in_the_middle_of_a_start_leaves_no_child(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a Ctrl-C that comes when the process is there and nobody has it yet
    made: list[Child] = []

    def make(program: Program) -> Child:
        made.append(Child(program))
        signal.raise_signal(signal.SIGINT)
        return made[-1]

    monkeypatch.setattr("app.supervisor.Child", make)

    # When, then it is raised, as always
    with pytest.raises(KeyboardInterrupt), Supervisor([python("sleeper", SLEEPS)], out=out):
        pass

    # And the child is gone
    assert reaped(made[0].pid)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_starting_from_another_thread_is_refused(out: io.StringIO) -> None:
    supervisor = Supervisor([python("web", SLEEPS)], out=out)
    errors: list[RuntimeError] = []

    def start() -> None:
        try:
            supervisor.start()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    supervisor.stop()
    assert "main thread" in str(errors[0])


@pytest.mark.parametrize("names", [[], ["web", "web"]])
def test_programs_need_different_names(names: list[str]) -> None:
    with pytest.raises(ValueError, match="different names"):
        Supervisor([python(name, SLEEPS) for name in names])


def test_programs_go_on_when_nobody_reads_their_output(tmp_path: Path) -> None:
    # Given an output that is paused, as a terminal after Ctrl-S
    written = tmp_path / "written"
    code = f"for i in range(30_000): print('x' * 100)\nopen({str(written)!r}, 'w').close()\nimport time; time.sleep(60)"
    read_end, write_end = os.pipe()
    with open(write_end, "w") as paused:  # noqa: PTH123 - a descriptor
        supervisor = Supervisor([python("web", code)], out=paused)
        supervisor.start()
        # When a program writes far more than a pipe holds
        # Then it is not held up, and neither is the supervisor
        until(written.exists, supervisor)
        supervisor.stop()
        os.close(read_end)
