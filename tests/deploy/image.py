"""The image of deploy/Dockerfile without a container engine: its steps are taken by hand, over this machine's own root.

What it says of its base is the one thing that is not tried: this machine's Debian and Python stand in for it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.chaos.network import missing
from tests.deploy.dockerfile import Stage, context, copied, stages
from tests.support import parts
from tests.support.processes import Process, clean_environment
from tests.support.root import ROOT
from tests.support.wait import wait_until

#: Mounts that a container has beside its root; only what a namespace of its own sees.
_DEVICES = """
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount -t tmpfs -o size=64m tmpfs {root}/dev/shm
"""

#: What the kernel says of a process without any right.
NO_CAPABILITIES = "0000000000000000"


class Image:
    """`Image(disk).build()`: its layers are below `disk`, which must not be on this machine's root file system."""

    def __init__(self, disk: Path) -> None:
        self.disk = disk
        self.stages = stages()
        self.unshare = parts.require("unshare")
        parts.require("setpriv")

    @property
    def final(self) -> Stage:
        return self.stages[-1]

    @property
    def layer(self) -> Path:
        """What the image has beside its base."""
        return self._upper(self.final)

    def build(self) -> Self:
        """Take all steps. Needs root, or is a part that is missing."""
        sent = self.disk / "context"
        for path in context():
            (sent / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, sent / path)
        script = self.disk / "build.sh"
        script.write_text("set -eu\n" + "".join(self._steps(stage, sent) for stage in self.stages))
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        done = subprocess.run(
            [self.unshare, "--mount", "--pid", "--fork", "sh", str(script)],
            env=clean_environment(**kept),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if "mount" in done.stderr.partition("\n")[0]:
            missing(f"a file system of its own ({done.stderr.strip()})")
        if "No matching distribution found" in done.stderr and not parts.required_here():
            pytest.skip(f"the packages cannot be fetched here: {done.stderr[-300:]}")
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return self

    def _steps(self, stage: Stage, sent: Path) -> str:
        root, workdir = self._root(stage), "/"
        lines = [
            f"mkdir -p {root} {self._upper(stage)} {root}.work",
            f"mount -t overlay overlay -o lowerdir=/,upperdir={self._upper(stage)},workdir={root}.work {root}",
            _DEVICES.format(root=root),
        ]
        for each in stage.instructions:
            if each.word == "WORKDIR":
                workdir = each.text
                lines.append(f"mkdir -p {root}{workdir}")
            elif each.word == "COPY":
                # From the context, or from the root of another stage.
                named = [one for one in self.stages if one.name == each.flags.get("from")]
                source = self._root(named[0]) if named else sent
                for name, target in copied(each, Path(workdir)):
                    lines.append(f"cp -a --no-target-directory {source}/{name.lstrip('/')} {root}{target}")
            elif each.word == "RUN":
                variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in stage.environment.items())
                lines.append(
                    f"chroot {root} env --chdir={workdir} HOME=/root TMPDIR=/tmp {variables}"
                    f" sh -ec {shlex.quote(each.text)}"
                )
        return "\n".join(lines) + "\n"

    def _root(self, stage: Stage) -> Path:
        return self.disk / f"root-{stage.name or 'final'}"

    def _upper(self, stage: Stage) -> Path:
        return self.disk / f"layer-{stage.name or 'final'}"


class Container:
    """A command in the image: alone in its process namespace, with no right at all, as the image's user and in its
    directory. Only /data, which is `data`, and /tmp can be written; `keys` are in /mnt. The network is this machine's.
    """

    def __init__(
        self,
        image: Image,
        command: Sequence[str],
        *,
        data: Path,
        keys: Path,
        log: Path,
        env: Mapping[str, str],
        user: str = "",
    ) -> None:
        """`user`: another one than the image's, as `--user` has it, by numbers."""
        root = image.disk / "root-run"
        root.mkdir(exist_ok=True)
        user, _, group = (user or image.final.last("USER").text).partition(":")
        script = [
            "set -eu",
            f"mount -t overlay overlay -o lowerdir={image.layer}:/ {root}",
            _DEVICES.format(root=root),
            f"mount -t tmpfs -o size=256m,mode=1777 tmpfs {root}/tmp",
            f"mount --bind {data} {root}/data",
            f"mount --bind {keys} {root}/mnt",
            f"mount -o remount,bind,ro {root}/mnt",
            f"exec chroot {root} setpriv --reuid {user} --regid {group} --clear-groups --no-new-privs"
            ' --bounding-set=-all --inh-caps=-all --pdeathsig KILL env -i "$@"',
        ]
        variables = [f"{name}={value}" for name, value in {**image.final.environment, **env}.items()]
        workdir = image.final.last("WORKDIR").text
        self._process = Process(
            [
                *(image.unshare, "--mount", "--pid", "--fork", "sh", "-c", "\n".join(script), "sh"),
                *(f"--chdir={workdir}", *variables, *command),
            ],
            log=log,
            env=clean_environment(),
        )

    @property
    def pid(self) -> int:
        """Its first process, as this machine counts them: in the container it is 1."""
        pid = self._process.pid

        def children() -> list[str]:
            return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

        return int(wait_until(children, message="the container has no process")[0])

    @property
    def log_text(self) -> str:
        return self._process.log_text

    @property
    def pids(self) -> list[int]:
        """All of its processes."""
        namespace = Path(f"/proc/{self.pid}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "ns/pid").readlink() == namespace:
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    @property
    def memory(self) -> int:
        """Bytes that all of its processes have for themselves, and their share of what they have together."""
        pages = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.pids]
        return sum(int(text.split("\nPss:")[1].split()[0]) * 1024 for text in pages)

    def status(self, name: str) -> str:
        """What the kernel says of its first process."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))

    def wait(self, timeout: float = 60) -> int:
        """Until it ends by itself; its exit status."""
        return self._process.wait(timeout)

    def wait_for_http(self, url: str) -> None:
        self._process.wait_for_http(url, timeout=60, status=200)

    def stop(self, timeout: float = 20) -> int:
        """SIGTERM to the first process and to no other, as container engines do it; its exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return self._process.wait(timeout)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.running:
            # With the first process of its namespace everything in it ends.
            os.kill(self.pid, signal.SIGKILL)
        self._process.kill()
