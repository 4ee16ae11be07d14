"""A small disk: a file system of the test's own whose size can be changed while it is used."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.chaos.network import missing
from tests.support import parts

#: Bytes that it has while it is not full. Only what is written takes memory.
ROOM = 4 * 1024**3


class Disk:
    """`with Disk(tmp_path / "disk") as disk:`: a tmpfs at `disk.path`. Needs root, or is a part that is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mount = parts.require("mount", "/usr/bin/mount", "/bin/mount")
        self.umount = parts.require("umount", "/usr/bin/umount", "/bin/umount")
        path.mkdir(parents=True, exist_ok=True)

    @property
    def used(self) -> int:
        """Bytes."""
        status = os.statvfs(self.path)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    @property
    def free(self) -> int:
        """Bytes."""
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def fill(self, room: int = 0) -> None:
        """Leave so many bytes, on whatever is being written as well."""
        for _ in range(100):
            # Smaller than what is used it cannot be made, and somebody may just be writing.
            if self._remount(max(self.used + room, 4096)):
                return
        raise AssertionError(f"the disk at {self.path} could not be filled")

    def clear(self) -> None:
        """Let there be room again."""
        assert self._remount(ROOM)

    def __enter__(self) -> Self:
        done = subprocess.run(
            [self.mount, "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(self.path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            missing(f"a file system of its own ({done.stderr.strip()})")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(AssertionError):
            self.clear()
        # Lazily: who still has a file open there is being ended.
        subprocess.run([self.umount, "-l", str(self.path)], capture_output=True, check=True)

    def _remount(self, size: int) -> bool:
        command = [self.mount, "-o", f"remount,size={size}", str(self.path)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
