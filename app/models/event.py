"""The event log's rows, and what could not become one."""

from __future__ import annotations

from peewee import BigAutoField, BigIntegerField, CharField, ForeignKeyField, IntegerField, TextField

from app.database import UTCDateTimeField
from app.models.base import BaseModel
from app.models.container_repository import ContainerRepository


class Event(BaseModel):
    """ "This repository changed", with tag and digest as hints. Ids never repeat: a cursor compares them."""

    container_repository_id: int

    id = BigAutoField()
    #: The registry's own id of the event. Registries repeat an event until it is answered.
    event_key = CharField(unique=True)
    #: GitLab's names: `container_repository`, `updated`.
    replicable_name = CharField(default="container_repository", index=True)
    event_name = CharField(default="updated")
    container_repository = ForeignKeyField(ContainerRepository, on_delete="CASCADE")
    #: `push` or `delete`.
    action = CharField()
    tag = CharField(null=True)
    digest = CharField(null=True)
    media_type = CharField(null=True)
    #: When it happened by the registry's clock; by ours where the registry does not say.
    occurred_at = UTCDateTimeField()
    actor = CharField(null=True)
    user_agent = CharField(null=True)
    source_instance_id = CharField(null=True)
    #: Of the request that brought it (app.correlation); what it leads to carries it on.
    correlation_id = CharField(null=True)
    created_at = UTCDateTimeField(index=True)

    class Meta:
        table_name = "geo_events"

    def __repr__(self) -> str:
        """One line, as a person at the console wants to see an event."""
        what = f"{self.tag or ''}{f'@{self.digest}' if self.digest else ''}"
        return (
            f"<Event id: {self.id}, {self.replicable_name} {self.event_name},"
            f" container_repository_id: {self.container_repository_id}, {self.action} {what}, {self.occurred_at}>"
        )


class QuarantinedEvent(BaseModel):
    """Something authenticated that could not be read. Kept, counted and shown; never refused."""

    id = BigAutoField()
    dialect = CharField()
    #: Bounded; see `notifications`.
    reason = CharField()
    content_type = CharField(null=True)
    remote_address = CharField(null=True)
    size = BigIntegerField()
    #: The head of what came, at most 64 KiB.
    excerpt = TextField()
    #: How often the very same thing was quarantined.
    occurrences = IntegerField(default=1)
    fingerprint = CharField(unique=True)
    created_at = UTCDateTimeField(index=True)
    last_seen_at = UTCDateTimeField()

    class Meta:
        table_name = "geo_quarantined_events"
