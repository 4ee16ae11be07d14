"""Staged: something of several parts that a test begins with `with`, and that undoes itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from types import TracebackType
from typing import Self


class Staged(ABC):
    """What `_start` puts on the `stack` ends with the block, and at once where the rest cannot be started."""

    stack: ExitStack

    def __enter__(self) -> Self:
        self.stack = ExitStack()
        try:
            self._start()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.close()

    @abstractmethod
    def _start(self) -> None:
        """Start the parts, and put each on the `stack`."""
