"""Level: how urgent it is what somebody says of a site."""

from __future__ import annotations

from enum import StrEnum


class Level(StrEnum):
    """How urgent it is."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"
    #: Somebody switched it off.
    PAUSED = "paused"
