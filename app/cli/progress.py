"""A progress bar: one line that moves on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self, TextIO

#: Seconds between lines where there is no terminal.
QUIET_INTERVAL = 5.0

WIDTH = 32


class Progress:
    """Shows `done` of `total` things called `unit`."""

    def __init__(self, unit: str, out: TextIO = sys.stderr) -> None:
        self._unit = unit
        self._out = out
        self._moving = out.isatty()
        self._last = ""
        self._said_at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._moving and self._last:
            self._out.write("\n")
            self._out.flush()

    def show(self, done: float, total: float, note: str = "") -> None:
        """Draw the bar; `note` stands behind it."""
        share = min(1.0, done / total) if total else 1.0
        line = f"[{'█' * int(share * WIDTH):·<{WIDTH}}] {done:.0f}/{total:.0f} {self._unit} {note}".rstrip()
        if line == self._last:
            return
        if self._moving:
            self._out.write(f"\r\x1b[2K{line}")
        elif time.monotonic() - self._said_at >= QUIET_INTERVAL or share >= 1.0:
            self._out.write(f"{line}\n")
            self._said_at = time.monotonic()
        self._out.flush()
        self._last = line
