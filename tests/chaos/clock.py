"""A clock that can be stepped under running processes, by libfaketime."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support import parts

#: Python's own `time.sleep` waits until an instant of the monotonic clock; libfaketime 0.9.10 passes that on wrongly
#: while it leaves this clock alone, and the kernel refuses it. `select` waits as long, and is passed on rightly.
_SLEEP = """import select
import time


def _sleep(seconds):
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select((), (), (), seconds)


time.sleep = _sleep
"""


class Clock:
    """Processes with `environment` read this clock, which is right until it is stepped. The monotonic one stays right.

    `faketime` missing is a part that is missing.
    """

    def __init__(self, path: Path) -> None:
        """:param path: a directory of its own; it is made."""
        self._library = _library()
        self._path = path
        path.mkdir()
        (path / "sitecustomize.py").write_text(_SLEEP)
        self.step(0)

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """`env`, and what makes a Python process with it read this clock."""
        return {
            **env,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(self._path), env.get("PYTHONPATH")))),
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": str(self._path / "offset"),
            # Read for every look at the clock: a step is seen at once, by all threads.
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: int) -> None:
        """Set it so many seconds before the right time; below zero, behind it."""
        # In one go: a reader never sees half.
        new = self._path / "offset.new"
        new.write_text(f"{seconds:+d}s\n")
        new.rename(self._path / "offset")


def _library() -> str:
    """What the `faketime` program preloads: it knows where its library is."""
    done = subprocess.run(
        [parts.require("faketime"), "-f", "+0", "printenv", "LD_PRELOAD"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    return done.stdout.strip()
