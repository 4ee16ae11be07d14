"""A clock that stands still until it is told to go."""

from __future__ import annotations


class Clock:
    """Seconds; `sleep` lets them pass."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
