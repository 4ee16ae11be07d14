"""A command on a terminal of its own, as a person has it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class Terminal:
    """`with Terminal(command, env, cwd) as terminal: ...`; `text` is what it has shown so far, escapes and all."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path, *, columns: int = 80, lines: int = 24
    ) -> None:
        self._command, self._env, self._cwd = list(command), dict(env), cwd
        self._size = struct.pack("HHHH", lines, columns, 0, 0)
        self._shown = b""

    @property
    def text(self) -> str:
        return self._shown.decode(errors="replace")

    def __enter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, self._size)

        def control() -> None:
            # Ctrl-C reaches whoever the terminal belongs to.
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self._process = subprocess.Popen(
            self._command, env=self._env, cwd=self._cwd, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=control
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(10)
        os.close(self._ours)

    def press(self, keys: str) -> None:
        """Type something."""
        os.write(self._ours, keys.encode())

    def wait(self, timeout: float) -> int:
        """Wait for its end, and for all that it has shown; the exit status."""
        status = self._process.wait(timeout)
        self._reader.join(10)
        return status

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # nobody has the other end any more
                return
            if not data:
                return
            self._shown += data
