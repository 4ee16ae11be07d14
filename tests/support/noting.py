"""A limiter that lets everything through and notes how it was asked."""

from __future__ import annotations

from app.registry.connections import Deadline
from app.registry.limits import NoLimit, is_bulk


class Noting(NoLimit):
    """`bulk` says of each exchange whether it was asked for as bulk."""

    def __init__(self) -> None:
        self.bulk: list[bool] = []

    def enter(self, size: int | None, deadline: Deadline | None = None, waited: float = 0.0) -> NoLimit:
        self.bulk.append(is_bulk())
        return super().enter(size, deadline, waited)
