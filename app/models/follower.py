"""How far a secondary's own deployment has followed the log of the primary's."""

from __future__ import annotations

from peewee import BigIntegerField, BooleanField, CharField, ForeignKeyField, TextField

from app.database import UTCDateTimeField
from app.models.base import BaseModel
from app.models.site import Site


class Follower(BaseModel):
    """There is one where the role is `secondary`. Its position moves with the events that it copies, or not at all."""

    site_id: int

    site = ForeignKeyField(Site, primary_key=True, on_delete="CASCADE")
    #: As the log handed it out; None: it has not begun.
    position = TextField(null=True)
    #: Ids in the primary's log: the last one read, and the newest that is known of.
    last_event_id = BigIntegerField(default=0)
    source_last_event_id = BigIntegerField(default=0)
    #: The primary has paused this site; it is resumed here when it is there.
    paused = BooleanField(default=False)
    #: The primary's latest reconcile that was taken up.
    reconcile_seen = CharField(null=True)
    #: When the log last answered.
    heard_at = UTCDateTimeField(null=True)
    #: Since when it has not, and why; None while it does.
    failing_since = UTCDateTimeField(null=True)
    failure = TextField(null=True)
    #: When the position was last lost, and why: what was missed then was left to a backfill.
    reset_at = UTCDateTimeField(null=True)
    reset_reason = TextField(null=True)
    #: When the primary's deployment last took our status, and why it did not the last time; None when it did.
    reported_at = UTCDateTimeField(null=True)
    report_failure = TextField(null=True)
    created_at = UTCDateTimeField()

    class Meta:
        table_name = "geo_followers"
