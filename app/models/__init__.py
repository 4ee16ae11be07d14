"""The state, as rows. Models know the database and each other, nothing above."""

from __future__ import annotations

from app.models.base import BaseModel
from app.models.catalog_walk import CatalogWalk
from app.models.container_repository import ContainerRepository
from app.models.cursor import Cursor
from app.models.event import Event, QuarantinedEvent
from app.models.follower import Follower
from app.models.handover import Handover
from app.models.lease import Lease
from app.models.log_state import LogState
from app.models.metric_value import MetricValue
from app.models.reference_count import ReferenceCount
from app.models.registry import ContainerRepositoryRegistry, Reference, SyncAttempt, SyncState, VerificationState
from app.models.registry_instance import RegistryInstance
from app.models.repository_count import RepositoryCount
from app.models.site import Site
from app.models.site_report import SiteReport

#: In the order in which foreign keys allow them to be made.
MODELS: tuple[type[BaseModel], ...] = (
    Site,
    ContainerRepository,
    Event,
    QuarantinedEvent,
    ContainerRepositoryRegistry,
    Reference,
    ReferenceCount,
    Handover,
    RepositoryCount,
    SyncAttempt,
    Cursor,
    LogState,
    Follower,
    SiteReport,
    CatalogWalk,
    RegistryInstance,
    Lease,
    MetricValue,
)

__all__ = [
    "MODELS",
    "BaseModel",
    "CatalogWalk",
    "ContainerRepository",
    "ContainerRepositoryRegistry",
    "Cursor",
    "Event",
    "Follower",
    "Handover",
    "Lease",
    "LogState",
    "MetricValue",
    "QuarantinedEvent",
    "Reference",
    "ReferenceCount",
    "RegistryInstance",
    "RepositoryCount",
    "Site",
    "SiteReport",
    "SyncAttempt",
    "SyncState",
    "VerificationState",
]
