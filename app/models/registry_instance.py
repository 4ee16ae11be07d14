"""A registry process that has sent us notifications."""

from __future__ import annotations

from peewee import BooleanField, CharField

from app.database import UTCDateTimeField
from app.models.base import BaseModel


class RegistryInstance(BaseModel):
    """A registry draws a new id at each start (`source.instanceID`), and keeps its undelivered events in memory."""

    instance_id = CharField(primary_key=True)
    first_seen_at = UTCDateTimeField()
    #: Written once an hour at most.
    last_seen_at = UTCDateTimeField(index=True)
    #: What its predecessor could not deliver any more is still to be found.
    reconcile_owed = BooleanField(default=False)
    #: When the reconcile that finds it was asked for.
    reconcile_asked_at = UTCDateTimeField(null=True)

    class Meta:
        table_name = "geo_registry_instances"
