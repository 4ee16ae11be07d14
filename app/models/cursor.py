"""How far a secondary has read the event log."""

from __future__ import annotations

from peewee import BigIntegerField, ForeignKeyField, JSONField

from app.database import UTCDateTimeField
from app.models.base import BaseModel
from app.models.site import Site


class Cursor(BaseModel):
    """The last id read, and the ids below it that had not appeared yet (id -> xmax when the gap was seen)."""

    site_id: int

    site = ForeignKeyField(Site, primary_key=True, on_delete="CASCADE")
    position = BigIntegerField(default=0)
    gaps = JSONField(default=dict)
    #: The newest event applied, by the registry's clock.
    event_at = UTCDateTimeField(null=True)
    updated_at = UTCDateTimeField()

    class Meta:
        table_name = "geo_cursors"
