"""The peers, each with the options that serve it best here, and as it comes.

docs/performance.md says why these.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.benchmarks.measure import Timed, run_commands
from tests.support.processes import clean_environment

#: Repositories that the peers copy at a time, where they take a number: on loopback, and over a far line.
NEAR, FAR = 4, 40

#: What the name of a tool ends with that runs as it comes.
AS_IT_COMES = "-defaults"

#: Tags that one `crane cp` copies at a time.
CRANE_JOBS = 5


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be copied: `host:port` of both sides and the repositories, and how many of these at a time by tools
    that want to be told."""

    source: str
    destination: str
    repositories: Sequence[str]
    at_once: int = NEAR


class Session(Protocol):
    """A tool at work between two registries; entered before each run and left after it."""

    def sync(self, timeout: float) -> Timed:
        """Bring the destination in order."""

    def warm(self, timeout: float) -> None:
        """Be as a tool is that has been at work for some time."""

    def cpu(self) -> float:
        """Processor seconds of what runs beside the command itself, so far."""

    def memory(self) -> int:
        """The most bytes that any process beside the command held so far."""

    def phases(self, began_at: float) -> dict[str, float]:
        """What it knows of the run that began then: seconds from there to what happened."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """The command lines that do a job, and how many of them at once."""

    commands: list[list[str]]
    at_once: int = 1


@dataclass(frozen=True)
class Peer:
    """A program that copies images between registries."""

    name: str
    program: str
    version: str
    plan: Callable[[str, Job, Path], Plan] = field(repr=False)
    #: By what is in its own manual for a start; the others have the options that serve them best here.
    as_it_comes: bool = False
    #: The command line that copies one image, if there is one: program, source, destination.
    copy: Callable[[str, str, str], list[str]] | None = field(default=None, repr=False)

    def session(self, job: Job, folder: Path) -> PeerSession:
        return PeerSession(self, job, folder)

    def copy_one(self, source: str, destination: str, folder: Path, timeout: float) -> Timed:
        assert self.copy is not None
        command = self.copy(self.program, source, destination)
        return run_commands([command], log=folder / "copy.log", env=_environment(folder), cwd=folder, timeout=timeout)


class PeerSession:
    """Runs the peer's commands; nothing of it runs in between."""

    def __init__(self, peer: Peer, job: Job, folder: Path) -> None:
        self._folder = folder
        self._plan = peer.plan(peer.program, job, folder)

    def sync(self, timeout: float) -> Timed:
        return run_commands(
            self._plan.commands,
            log=self._folder / "log",
            env=_environment(self._folder),
            cwd=self._folder,
            timeout=timeout,
            at_once=self._plan.at_once,
        )

    def warm(self, timeout: float) -> None:
        pass

    def cpu(self) -> float:
        return 0.0

    def memory(self) -> int:
        return 0

    def phases(self, began_at: float) -> dict[str, float]:
        return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def found() -> list[Peer]:
    """The peers on PATH, or where `go install` puts them."""
    candidates = [
        ("skopeo", ["--version"], _skopeo, _skopeo_copy, None),
        ("crane", ["version"], _crane, _crane_copy, _crane_as_it_comes),
        ("regsync", ["version"], _regsync, None, _regsync_as_it_comes),
    ]
    peers = []
    for name, arguments, plan, copy, plain in candidates:
        program = _find(name)
        if program is not None:
            peers.append(Peer(name, program, version := _version(program, arguments), plan, copy=copy))
            if plain is not None:
                peers.append(Peer(f"{name}{AS_IT_COMES}", program, version, plain, as_it_comes=True))
    return peers


def _skopeo(program: str, job: Job, folder: Path) -> Plan:
    """One process: a repository's path below its first part is what skopeo keeps of it on the other side."""
    listed = {job.source: {"tls-verify": False, "images": {path: [] for path in job.repositories}}}
    (folder / "skopeo.yml").write_text(json.dumps(listed))
    prefix = job.repositories[0].partition("/")[0]
    command = [program, "--insecure-policy", "sync", "--all", "--preserve-digests", "--dest-tls-verify=false"]
    return Plan([[*command, "--src", "yaml", "--dest", "docker", "skopeo.yml", f"{job.destination}/{prefix}"]])


def _skopeo_copy(program: str, source: str, destination: str) -> list[str]:
    options = ["--all", "--quiet", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"]
    return [program, "--insecure-policy", "copy", *options, f"docker://{source}", f"docker://{destination}"]


def _crane(program: str, job: Job, _folder: Path) -> Plan:
    """A process for each repository, as many at once as `xargs -P` would be told."""
    commands = [
        [program, "cp", "--all-tags", "--jobs", str(CRANE_JOBS), f"{job.source}/{path}", f"{job.destination}/{path}"]
        for path in job.repositories
    ]
    return Plan(commands, job.at_once)


def _crane_as_it_comes(program: str, job: Job, _folder: Path) -> Plan:
    """One repository after the other, as a loop in a shell does it."""
    return Plan(
        [
            [program, "cp", "--all-tags", f"{job.source}/{path}", f"{job.destination}/{path}"]
            for path in job.repositories
        ]
    )


def _crane_copy(program: str, source: str, destination: str) -> list[str]:
    return [program, "cp", source, destination]


def _regsync(program: str, job: Job, folder: Path) -> Plan:
    """One process that works on all repositories at the same time."""
    # Its own default is three requests at a time.
    host = {"reqConcurrent": max(job.at_once, NEAR)}
    return _regsync_once(program, job, folder, host, {"parallel": job.at_once, "fastCheck": True})


def _regsync_as_it_comes(program: str, job: Job, folder: Path) -> Plan:
    return _regsync_once(program, job, folder, {}, {})


def _regsync_once(
    program: str, job: Job, folder: Path, host: Mapping[str, object], defaults: Mapping[str, object]
) -> Plan:
    config = {
        "version": 1,
        "creds": [{"registry": name, "tls": "disabled", **host} for name in (job.source, job.destination)],
        "defaults": {"skipDockerConfig": True, **defaults},
        "sync": [
            {"source": f"{job.source}/{path}", "target": f"{job.destination}/{path}", "type": "repository"}
            for path in job.repositories
        ],
    }
    (folder / "regsync.yml").write_text(json.dumps(config))
    return Plan([[program, "once", "--config", "regsync.yml", "--verbosity", "warn"]])


def _environment(folder: Path) -> dict[str, str]:
    # No credentials, and no cache, of whoever runs the benchmark.
    return clean_environment(HOME=str(folder), XDG_DATA_HOME=str(folder / "data"))


def _find(name: str) -> str | None:
    folders = [os.environ.get("GOBIN"), _gopath()]
    path = os.pathsep.join([os.environ.get("PATH", ""), *(folder for folder in folders if folder)])
    return shutil.which(name, path=path)


def _gopath() -> str | None:
    if os.environ.get("GOPATH"):
        return f"{os.environ['GOPATH']}/bin"
    if shutil.which("go") is None:
        return str(Path("~/go/bin").expanduser())
    done = subprocess.run(["go", "env", "GOPATH"], capture_output=True, text=True, check=False, timeout=20)
    return f"{done.stdout.strip()}/bin" if done.returncode == 0 else None


def _version(program: str, arguments: Sequence[str]) -> str:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=20)
    match = re.search(r"v?\d+\.\d+[.\d]*\S*", done.stdout)
    return match[0] if match else "unknown"
