"""The Dramatiq side. `dramatiq workers` and everybody who sends a message import this: broker first, then actors."""

from __future__ import annotations

from workers.broker import broker
from workers.events import process_events
from workers.sync import backfill_repositories, sync_repository
from workers.verification import verify_repository

__all__ = ["backfill_repositories", "broker", "process_events", "sync_repository", "verify_repository"]
