"""What a site with a deployment of its own last said of itself."""

from __future__ import annotations

from peewee import ForeignKeyField, JSONField

from app.database import UTCDateTimeField
from app.models.base import BaseModel
from app.models.site import Site


class SiteReport(BaseModel):
    """One a site, in the primary's deployment; the next takes its place."""

    site_id: int

    site = ForeignKeyField(Site, primary_key=True, on_delete="CASCADE")
    #: As `replication.site_reports` has read and written it, never as it came.
    document = JSONField()
    received_at = UTCDateTimeField()

    class Meta:
        table_name = "geo_site_reports"
