"""A progress bar with speed and remaining time: one line that moves on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from app.speed import Speed
from app.units import duration, size

#: Seconds between two looks at what a bar shows.
TICK = 0.2

#: Seconds between lines where there is no terminal.
QUIET_INTERVAL = 5.0

#: What is counted in bytes.
BYTES = "bytes"

WIDTH = 24


class Progress:
    """Shows `done` of `total` things called `unit`; `BYTES` are told as such."""

    def __init__(self, unit: str, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._unit = unit
        self._out = sys.stderr if out is None else out
        self._clock = clock
        self._moving = self._out.isatty()
        self._last = ""
        self._said_at = float("-inf")
        self._speed = Speed(clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._moving and self._last:
            self._out.write("\n")
            self._out.flush()

    @property
    def shown(self) -> bool:
        """Whether anything was drawn."""
        return bool(self._last)

    def show(self, done: float, total: float, note: str = "") -> None:
        """Draw the bar; `note` stands behind it."""
        share = min(1.0, done / total) if total else 1.0
        speed = self._speed.at(done)
        parts = [f"[{'█' * int(share * WIDTH):·<{WIDTH}}]", self._count(done, total)]
        if speed and share < 1.0:
            parts += [f"{self._number(speed)}/s,", f"{duration((total - done) / speed)} left"]
        line = " ".join(parts)
        line = f"{line}, {note}" if note else line
        if line == self._last:
            return
        now = self._clock()
        if self._moving:
            # One that is broken by the terminal could not be drawn over.
            room = max(1, shutil.get_terminal_size().columns - 1)
            self._out.write(f"\r\x1b[2K{line[:room]}")
        elif now - self._said_at >= QUIET_INTERVAL or share >= 1.0:
            self._out.write(f"{line}\n")
            self._said_at = now
        self._out.flush()
        self._last = line

    def _count(self, done: float, total: float) -> str:
        if self._unit == BYTES:
            return f"{size(done)} of {size(total)}"
        return f"{done:.0f}/{total:.0f} {self._unit}"

    def _number(self, speed: float) -> str:
        if self._unit == BYTES:
            return size(speed)
        return f"{speed:.0f}" if speed >= 10 else f"{speed:.1f}"
