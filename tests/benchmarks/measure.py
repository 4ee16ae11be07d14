"""What one run took: time, processor time, memory and requests, measured from outside."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.support.registries import DistributionRegistry

TIMED_OUT = "timed out"

#: Seconds between two looks at the memory of a running command.
_LOOK = 0.02

_TICKS = os.sysconf("SC_CLK_TCK")

_REQUESTS = re.compile(
    r'^registry_http_requests_total\{code="(\d+)",handler="(\w+)",method="(\w+)"\} ([0-9.e+]+)$', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Timed:
    """A command, or several, that ran to their end or to the time limit."""

    #: From before the first was started until the last had ended.
    seconds: float
    #: Seconds since the epoch at which it began.
    began_at: float
    #: Processor seconds of all of them.
    cpu: float
    #: Bytes: the most that any one of them held.
    memory: int
    #: What went wrong; None when all ended with status 0.
    failure: str | None = None


@dataclass(slots=True)
class Run:
    """One run of one tool in one round."""

    tool: str
    round: int
    #: What is compared; None for a run that failed.
    seconds: float | None
    failure: str | None = None
    #: From start to end of the command.
    command_seconds: float = 0.0
    #: From the start of the command until the last tag stood in the destination's storage.
    landed_seconds: float | None = None
    #: What the tool itself knows: seconds from the start of the command to what happened.
    phases: dict[str, float] = field(default_factory=dict)
    #: Processor seconds: `tool`, `primary`, `destination`, `line`.
    cpu: dict[str, float] = field(default_factory=dict)
    #: Bytes: the most that any process of the tool held; of a service, any worker.
    memory: int = 0
    #: Requests by registry, and there by method, resource and status: `GET blob 200`.
    requests: dict[str, dict[str, int]] = field(default_factory=dict)

    def count(self, registry: str) -> int:
        return sum(self.requests.get(registry, {}).values())


class _Command:
    """One running command with its output in a file."""

    def __init__(self, words: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path) -> None:
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        self.handle = os.pidfd_open(self.process.pid)
        self.memory = 0

    def look(self) -> None:
        self.memory = max(self.memory, peak_memory(self.process.pid))

    def reap(self) -> tuple[int, float]:
        """Return exit status and processor seconds; only once it has ended, or by ending it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        os.close(self.handle)
        return self.process.returncode, usage.ru_utime + usage.ru_stime


def run_commands(
    commands: Iterable[Sequence[str]],
    *,
    log: Path,
    env: Mapping[str, str],
    cwd: Path,
    timeout: float,
    at_once: int = 1,
) -> Timed:
    """Run all commands, `at_once` at a time, and wait for them; past `timeout` seconds all are killed."""
    waiting = list(commands)[::-1]
    running: dict[int, _Command] = {}
    cpu, memory, failure = 0.0, 0, None
    began_at, began = time.time(), time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                command = _Command(waiting.pop(), log, env, cwd)
                running[command.handle] = command
            # A process's handle is readable once it has ended: no polling interval in what is measured.
            ended, _, _ = select.select(list(running), [], [], _LOOK)
            for command in running.values():
                command.look()
            for handle in ended:
                status, used = running[handle].reap()
                cpu, memory = cpu + used, max(memory, running[handle].memory)
                del running[handle]
                if status != 0:
                    failure = failure or f"exit {status}: {_last_line(log)}"
            if time.monotonic() - began > timeout:
                failure = TIMED_OUT
                break
        return Timed(time.monotonic() - began, began_at, cpu, memory, failure)
    finally:
        for command in running.values():
            command.reap()


def peak_memory(pid: int) -> int:
    """Bytes that the process held at most so far; 0 once it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def cpu_seconds(*pids: int) -> float:
    """Processor seconds that these processes, and the children they have waited for, took so far."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            # The name may hold blanks and brackets: what counts comes after the last bracket.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / _TICKS


def requests_to(registry: DistributionRegistry) -> Counter[str]:
    """What was asked of the registry so far, by method, resource and status: `GET blob 200`."""
    with requests.Session() as session:
        session.trust_env = False
        text = session.get(f"http://127.0.0.1:{registry.debug_port}/metrics", timeout=10).text
    return Counter(
        {f"{method.upper()} {handler} {code}": int(float(n)) for code, handler, method, n in _REQUESTS.findall(text)}
    )


def since(before: Counter[str], after: Counter[str]) -> dict[str, int]:
    """What was added, largest first."""
    return dict((after - before).most_common())


def last_tag_written(registry: DistributionRegistry) -> float | None:
    """Seconds since the epoch at which the newest tag was written into the registry's storage; None without tags."""
    tags = registry.storage.glob("docker/registry/v2/repositories/**/_manifests/tags/*/current/link")
    return max((path.stat().st_mtime for path in tags), default=None)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][-300:] if lines else "it said nothing"
