"""Shells: a page's commands, typed one after the other, in a scratch directory for each machine that the page names.

What a reader would see is what is run, but for this, which `Stage.localized` does to each block:

- `https://primary.example.com:5050`, any name under `example.com` with a port, is a free port of 127.0.0.1, always the
  same for the same name and port; `127.0.0.1:5001` and `addr: :5050` are one of the machine's own.
  `https://geo.example.com`, which has no port, is the machine's web process over plain http: who ends TLS there is not
  our business.
- A path below `/etc` or `/var` is one below the machine's directory.
- `docker://docker.io/library/alpine` is an image on the local disk.
- `geosite_…` is the token that was shown last.
- `scp FILE HOST:PATH` copies to that machine's directory, and paths in the file are then that machine's.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.docs.markdown import Block
from tests.support import images
from tests.support.ports import free_port
from tests.support.processes import leash
from tests.support.root import ROOT
from tests.support.skopeo import write_layout
from tests.support.wait import wait_until

#: Seconds for a block, and for one that is tried until it succeeds.
TIMEOUT, PATIENCE = 120.0, 90.0

#: Where a block is run that names no machine.
HERE = "here"

_PATH = re.compile(r"(?<![\w./:])/(?=(?:etc|var)/)")
_NAME = r"[a-z0-9.-]+\.example\.com"
_ADDRESS = re.compile(
    rf"https://(?P<web>{_NAME})(?![\w.:-])"
    rf"|(?P<tls>https://)?(?P<host>{_NAME}):(?P<there>\d+)"
    r"|(?P<head>127\.0\.0\.1|localhost|addr: ):(?P<here>\d+)"
)
_TOKEN = re.compile(r"geosite_[\w-]+")
_IMAGE = re.compile(r"docker://docker\.io/library/alpine(?::\w+)?")

#: Copies to the directory of the machine that is named, whose paths are then meant by those in the file. Nothing but
#: `scp FILE HOST:PATH`.
_SCP = r"""#!/bin/sh
set -e
host=${2%%:*} target=$GEO_DOCS_STAGE/${2%%:*}${2#*:}
mkdir -p "$(dirname "$target")"
sed "s#$GEO_DOCS_STAGE/[a-z0-9.-]*/\(etc\|var\)/#$GEO_DOCS_STAGE/$host/\1/#g" "$1" > "$target"
"""


class Stage:
    """`with Stage(tmp_path) as stage:`. `programs` are put on PATH, by name, and `env` is given to every shell.

    Without `tls` the registries are asked over plain http.
    """

    def __init__(
        self,
        path: Path,
        *,
        programs: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        tls: bool = False,
    ) -> None:
        self.path = path
        self._tls = tls
        self._id = uuid.uuid4().hex
        self._env = dict(env or {})
        self._ports: dict[tuple[str, int], int] = {}
        self._shells: dict[str, _Shell] = {}
        self._bin = path / "bin"
        self._bin.mkdir(parents=True)
        self._program("geo", f'#!/bin/sh\nexec {sys.executable} -m app "$@"\n')
        self._program("scp", _SCP)
        for name, target in (programs or {}).items():
            self._program(name, f'#!/bin/sh\nexec {target} "$@"\n')

    def directory(self, machine: str = HERE) -> Path:
        """The root of a machine's files, which is also where its shell begins."""
        made = self.path / machine
        made.mkdir(exist_ok=True)
        return made

    def port(self, machine: str, number: int) -> int:
        """The real port behind a documented one."""
        return self._ports.setdefault((machine, number), 0) or self.use_port(machine, number, free_port())

    def use_port(self, machine: str, number: int, real: int) -> int:
        """Have a documented port be one that is known already."""
        self._ports[machine, number] = real
        return real

    def localized(self, text: str, machine: str) -> str:
        """The text of a block as it is run on this one machine."""
        text = _IMAGE.sub(lambda _: self._image(), text)
        text = text.replace("geosite_…", "".join(self._shown(_TOKEN)[-1:]))
        text = _PATH.sub(f"{self.directory(machine)}/", text)
        return _ADDRESS.sub(lambda found: self._address(found, machine), text)

    def run(self, block: Block) -> None:
        """Run a block as its orders say; AssertionError with what was said if it does not end as it should."""
        machine = block.orders.get("at", HERE)
        if machine not in self._shells:
            self._shells[machine] = _Shell(self.directory(machine), self._environment(machine))
        self._shells[machine].run(block, self.localized(block.text, machine))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, patience in ((signal.SIGTERM, 25.0), (signal.SIGKILL, 10.0)):
            self._end(number, patience)
        for shell in self._shells.values():
            shell.close()

    def _end(self, number: int, patience: float) -> None:
        """Signal what the shells have started and that still runs, and wait for its end.

        Not what that has started in its turn: a supervisor ends its own. Nor a shell, which would leave them behind.
        """
        started = self._started()
        heads = [pid for pid, parent in started.items() if not _is_shell(pid) and _is_shell(parent)]
        for pid in heads if number == signal.SIGTERM else started:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        waiting = [pid for pid in started if number == signal.SIGKILL or not _is_shell(pid)]
        with suppress(AssertionError):
            wait_until(lambda: not any(_parent(pid) for pid in waiting), patience)

    def _environment(self, machine: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        return {
            **kept,
            "PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.directory(machine)),
            "PYTHONPATH": str(ROOT),
            "GEO_DOCS_STAGE": str(self.path),
            "GEO_DOCS_ID": self._id,
            "GEO_BIND": "127.0.0.1",
            "PORT": str(self.port(machine, 8000)),
            "WORKER_PROCESSES": "1",
            **self._env,
        }

    def _address(self, found: re.Match[str], machine: str) -> str:
        if found["web"]:
            return f"http://127.0.0.1:{self.port(found['web'], 8000)}"
        if found["host"]:
            scheme = "" if found["tls"] is None else "https://" if self._tls else "http://"
            return f"{scheme}127.0.0.1:{self.port(found['host'], int(found['there']))}"
        head = "addr: 127.0.0.1" if found["head"].startswith("addr") else found["head"]
        return f"{head}:{self.port(machine, int(found['here']))}"

    def _program(self, name: str, text: str) -> None:
        path = self._bin / name
        path.write_text(text)
        path.chmod(0o755)

    def _image(self) -> str:
        layout = self.path / "alpine"
        if layout.exists():
            return f"oci:{layout}:latest"
        return write_layout(layout, images.index([images.image(), images.image(architecture="arm64")]))

    def _shown(self, what: re.Pattern[str]) -> list[str]:
        return [found for shell in self._shells.values() for found in what.findall(shell.said)]

    def _started(self) -> dict[int, int]:
        """What runs of this stage still, by parent: processes that carry its id, or work in its directory."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with suppress(OSError):
                here = (entry / "cwd").resolve().is_relative_to(self.path.resolve())
                if here or self._id.encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = _parent(int(entry.name))
        return {pid: parent for pid, parent in found.items() if parent}


def _parent(pid: int) -> int:
    """The process that it is a child of; 0 once it has ended."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return 0
    return 0 if state == "Z" else int(parent)


def _is_shell(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() in {"bash", "sh"}
    except OSError:
        return False


class _Shell:
    """One bash that stays, as at a terminal: directory, variables and jobs last from block to block."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self._said = directory / ".said"
        self._script = directory / ".block.sh"
        self._status = directory / ".status"
        bash = shutil.which("bash")
        assert bash is not None
        with self._said.open("ab") as said:
            self._bash = subprocess.Popen(
                [*leash(), bash, "--norc", "--noprofile"],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=directory,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """All that was printed so far, but for what programs in the background wrote elsewhere."""
        return self._said.read_text(errors="replace")

    def run(self, block: Block, text: str) -> None:
        self._script.write_text(text)
        wanted = int(block.orders.get("exit", "0"))
        if "until" in block.orders:
            wait_until(lambda: self._once(block, text) == wanted, PATIENCE, lambda: self._account(block, text))
            return
        background = "background" in block.orders
        status = self._once(block, text, background=background, strict=wanted == 0)
        assert status == wanted, self._account(block, text)

    def close(self) -> None:
        if self._bash.stdin is not None:
            self._bash.stdin.close()
        if self._bash.poll() is None:
            self._bash.kill()
        self._bash.wait(10)

    def _once(self, block: Block, text: str, *, background: bool = False, strict: bool = False) -> int | None:
        """Run the script; its exit status, None where it ended the shell (as `set -e` does at the first failure)."""
        script, status = shlex.quote(str(self._script)), shlex.quote(str(self._status))
        self._status.unlink(missing_ok=True)
        # Not from the shell's own input: what reads that would eat the next line.
        if background:
            line = f". {script} </dev/null & echo 0"
        elif strict:
            line = f"set -e; . {script} </dev/null; set +e; echo 0"
        else:
            line = f". {script} </dev/null; echo $?"
        command = f"{line} > {status}.new; mv {status}.new {status}\n"
        assert self._bash.stdin is not None
        with suppress(BrokenPipeError):
            self._bash.stdin.write(command.encode())
            self._bash.stdin.flush()
        wait_until(
            lambda: self._status.exists() or self._bash.poll() is not None,
            TIMEOUT,
            lambda: self._account(block, text),
        )
        return int(self._status.read_text()) if self._status.exists() else None

    def _account(self, block: Block, text: str) -> str:
        return f"{block} did not end as it should:\n{text}\nwhat was said:\n{self.said[-6000:]}"
