"""Waiting for a condition with a deadline, in place of sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two looks.
INTERVAL = 0.015


def wait_until(
    predicate: Callable[[], T],
    timeout: float = 20,
    message: str | Callable[[], str] = "the condition did not come true",
) -> T:
    """Call `predicate` until what it returns is truthy, and return that.

    :param timeout: seconds; past them AssertionError with `message` (called if it is callable) and the last value.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            text = message() if callable(message) else message
            raise AssertionError(f"{text} (after {timeout:g} s; last seen: {value!r})")
        time.sleep(INTERVAL)
