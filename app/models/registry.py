"""Tracking rows: how far a secondary is with one repository, and with each reference in it."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, ClassVar, Protocol

from peewee import (
    AutoField,
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    DoubleField,
    ForeignKeyField,
    IntegerField,
    TextField,
)

from app.database import UTCDateTimeField
from app.models.base import BaseModel
from app.models.container_repository import ContainerRepository
from app.models.site import Site


class Replicator(Protocol):
    """What `registry.replicator` gives: GitLab's door for a person at the console."""

    def sync(self) -> Any:
        """Make the secondary equal to the primary, here and now."""

    def verify(self, level: str | None = None) -> Any:
        """Look whether the secondary holds everything, here and now."""


class SyncState(IntEnum):
    """GitLab's numbers."""

    PENDING = 0
    STARTED = 1
    SYNCED = 2
    FAILED = 3


class VerificationState(IntEnum):
    """GitLab's numbers."""

    PENDING = 0
    STARTED = 1
    SUCCEEDED = 2
    FAILED = 3
    #: Verification is switched off.
    DISABLED = 4


class ContainerRepositoryRegistry(BaseModel):
    """One per secondary site and container repository; GitLab's name, kept for its console.

    `generation` counts what asked for work; a sync closes only at the generation it saw. `lease_token` is the fencing
    token of whoever holds the row until `lease_expires_at`, a time by the database's clock.
    """

    site_id: int
    container_repository_id: int

    id = AutoField()
    site = ForeignKeyField(Site, backref="registries", on_delete="CASCADE")
    container_repository = ForeignKeyField(ContainerRepository, backref="registries", on_delete="CASCADE")
    state = IntegerField(default=SyncState.PENDING)
    retry_count = IntegerField(default=0)
    last_sync_failure = TextField(null=True)
    retry_at = UTCDateTimeField(null=True)
    last_synced_at = UTCDateTimeField(null=True)
    created_at = UTCDateTimeField()
    generation = BigIntegerField(default=0)
    #: The next sync lists the whole repository instead of looking only at the references marked.
    full_sync = BooleanField(default=False)
    #: The generation at which that was last asked for: a listing begun before it does not settle it.
    full_sync_generation = BigIntegerField(default=0)
    #: When that was last asked for: a walk of the catalog marks nothing twice.
    full_sync_requested_at = UTCDateTimeField(null=True)
    #: Where it stands in the queue: fresh pushes before backfill. Lower goes first.
    priority = IntegerField(default=0)
    #: Since when something has been waiting here.
    pending_since = UTCDateTimeField(null=True)
    lease_owner = CharField(null=True)
    lease_token = BigIntegerField(default=0)
    lease_expires_at = UTCDateTimeField(null=True)
    #: Claims since the row was last closed, counted when it is claimed: a sync that kills its worker must count too.
    attempts = IntegerField(default=0)
    started_at = UTCDateTimeField(null=True)
    #: Whether the site still replicates this repository. What it does not is left as it is, and nobody takes it up.
    in_scope = BooleanField(default=True)

    verification_state = IntegerField(default=VerificationState.PENDING)
    #: GitLab's checksum of the primary's tags as they stand on the secondary, when each was last looked at; None: not
    #: all of them were.
    verification_checksum = CharField(null=True)
    #: The same as they stand on the primary, where the two differ.
    verification_checksum_mismatched = CharField(null=True)
    checksum_mismatch = BooleanField(default=False)
    verification_failure = TextField(null=True)
    #: `mismatch`, or why it could not be told; what the primary did not say begins with `primary_`.
    verification_failure_reason = CharField(null=True)
    verification_retry_count = IntegerField(default=0)
    verification_retry_at = UTCDateTimeField(null=True)
    verification_started_at = UTCDateTimeField(null=True)
    #: When it last succeeded, and how far it went; and when everything in it was last looked at in one go.
    verified_at = UTCDateTimeField(null=True)
    verification_level = CharField(null=True)
    fully_verified_at = UTCDateTimeField(null=True)
    #: Everything is to be looked at, not only what no verification has seen yet; since when, and how far.
    verification_full = BooleanField(default=False)
    verification_requested_at = UTCDateTimeField(null=True)
    verification_requested_level = CharField(null=True)
    #: Held beside the lease on the row itself: whoever verifies keeps nobody from syncing.
    verification_lease_owner = CharField(null=True)
    verification_lease_token = BigIntegerField(default=0)
    verification_lease_expires_at = UTCDateTimeField(null=True)
    verification_attempts = IntegerField(default=0)

    class Meta:
        table_name = "container_repository_registry"
        indexes = (
            (("site", "container_repository"), True),
            (("state", "retry_at"), False),
            (("verification_state", "verification_retry_at"), False),
            # Of it a backfill can be counted without the rows, each of which is a hundred times as long.
            (("site", "in_scope", "state", "full_sync", "full_sync_requested_at"), False),
            (("site", "last_synced_at"), False),
        )

    #: Set by `replication.replicator`: a model calls nothing above itself, yet GitLab's console lines must work.
    replicator_for: ClassVar[Callable[[ContainerRepositoryRegistry], Replicator]]
    replication_switch: ClassVar[Callable[[], bool]]

    @classmethod
    def replication_enabled(cls) -> bool:
        """GitLab's question: is replication switched on in this deployment?"""
        return cls.replication_switch()

    @property
    def replicator(self) -> Replicator:
        return type(self).replicator_for(self)

    def reload(self) -> ContainerRepositoryRegistry:
        """Read the row again, in place.

        Raises:
            ContainerRepositoryRegistry.DoesNotExist: when it is gone.
        """
        self.__data__ = type(self).get_by_id(self.id).__data__
        self._dirty.clear()  # type: ignore[attr-defined]  # the stub leaves it out
        return self

    def __repr__(self) -> str:
        """As GitLab's console prints it, so that a person sees the state without asking field by field."""
        shown: dict[str, Any] = {
            "id": self.id,
            "container_repository_id": self.container_repository_id,
            "state": self.state,
            "retry_count": self.retry_count,
            "last_sync_failure": self.last_sync_failure,
            "retry_at": self.retry_at,
            "last_synced_at": self.last_synced_at,
            "created_at": self.created_at,
        }
        return "<ContainerRepositoryRegistry\n " + ",\n ".join(f"{k}: {v!s}" for k, v in shown.items()) + ">"


class Reference(BaseModel):
    """One tag, or one digest pushed without a tag, of one tracking row: what is wanted and what was seen."""

    registry_id: int

    id = AutoField()
    registry = ForeignKeyField(ContainerRepositoryRegistry, backref="references", on_delete="CASCADE")
    #: The tag, or the digest.
    name = CharField()
    is_tag = BooleanField()
    #: Whether the site still replicates it. What left the scope is kept, and settled; nothing is owed to it.
    in_scope = BooleanField(default=True)
    state = IntegerField(default=SyncState.PENDING)
    #: Counts what asked for this reference; closed by compare-and-set like the row.
    generation = BigIntegerField(default=0)
    #: Digest on the primary: an event's hint until a sync has asked, the truth after it. None: absent.
    desired_digest = CharField(null=True)
    #: Digest on the secondary that we wrote or found equal. It is the proof that the tag there is ours to delete.
    observed_digest = CharField(null=True)
    media_type = CharField(null=True)
    #: The second witness for a deletion: `event` or `listing`; None means nobody said it was deleted.
    delete_witness = CharField(null=True)
    #: Digest of the throw-away manifest that is about to overwrite the tag so that it can be deleted.
    throwaway_digest = CharField(null=True)
    #: Digest on the secondary that is not ours: shown, not touched. None: not asked; a listing names tags alone.
    drift_digest = CharField(null=True)
    #: Since when the secondary is known to hold something here that is not ours and that the primary does not have.
    drift_since = UTCDateTimeField(null=True)
    #: When its deletion was counted by the brake.
    deletion_reserved_at = UTCDateTimeField(null=True, index=True)
    #: When a person let it pass that the brake held: it goes whatever the count.
    deletion_released_at = UTCDateTimeField(null=True)
    event_id = BigIntegerField(null=True)
    #: That event's (app.correlation): here too, so that a sync need not look the event up.
    correlation_id = CharField(null=True)
    #: When the newest event that asked for this happened, by the registry's clock.
    event_at = UTCDateTimeField(null=True)
    pending_since = UTCDateTimeField(null=True)
    trigger = CharField(default="event")
    retry_count = IntegerField(default=0)
    retry_at = UTCDateTimeField(null=True)
    failure = TextField(null=True)
    failure_reason = CharField(null=True)
    synced_at = UTCDateTimeField(null=True)
    #: The digest whose graph was last found whole on the secondary, and when. None: a verification is owed.
    verified_digest = CharField(null=True)
    verified_at = UTCDateTimeField(null=True)
    #: How far the next verification has to go at least: as far as the one that found something wrong.
    verification_level = CharField(null=True)
    created_at = UTCDateTimeField()

    class Meta:
        table_name = "container_repository_references"
        indexes = ((("registry", "name"), True), (("registry", "state", "retry_at"), False))


class SyncAttempt(BaseModel):
    """What was done about one reference, once: the answer to "why is this not there?"."""

    registry_id: int

    id = BigAutoField()
    registry = ForeignKeyField(ContainerRepositoryRegistry, backref="attempts_log", on_delete="CASCADE")
    reference = CharField()
    #: `copy`, `delete`, `keep` (nothing to do).
    action = CharField()
    #: `event`, `retry`, `full`, `manual`, `repair`; `released`: a deletion that the brake held until a person's word.
    trigger = CharField()
    event_id = BigIntegerField(null=True)
    #: `synced` or `failed`.
    outcome = CharField()
    reason = CharField(null=True)
    message = TextField(null=True)
    old_digest = CharField(null=True)
    new_digest = CharField(null=True)
    bytes_copied = BigIntegerField(default=0)
    lag_seconds = DoubleField(null=True)
    worker = CharField()
    started_at = UTCDateTimeField()
    finished_at = UTCDateTimeField(index=True)

    class Meta:
        table_name = "sync_attempts"
        indexes = ((("registry", "reference"), False),)
