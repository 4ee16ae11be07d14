"""The state, as rows. Models know the database and each other, nothing above."""

from __future__ import annotations

from app.models.base import BaseModel
from app.models.container_repository import ContainerRepository
from app.models.cursor import Cursor
from app.models.event import Event, QuarantinedEvent
from app.models.lease import Lease
from app.models.metric_value import MetricValue
from app.models.registry import ContainerRepositoryRegistry, Reference, SyncAttempt, SyncState
from app.models.site import Site

#: In the order in which foreign keys allow them to be made.
MODELS: tuple[type[BaseModel], ...] = (
    Site,
    ContainerRepository,
    Event,
    QuarantinedEvent,
    ContainerRepositoryRegistry,
    Reference,
    SyncAttempt,
    Cursor,
    Lease,
    MetricValue,
)

__all__ = [
    "MODELS",
    "BaseModel",
    "ContainerRepository",
    "ContainerRepositoryRegistry",
    "Cursor",
    "Event",
    "Lease",
    "MetricValue",
    "QuarantinedEvent",
    "Reference",
    "Site",
    "SyncAttempt",
    "SyncState",
]
