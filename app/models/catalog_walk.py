"""A walk of the primary's catalog, as far as it got."""

from __future__ import annotations

from peewee import ForeignKeyField, IntegerField, TextField

from app.database import UTCDateTimeField
from app.models.base import BaseModel
from app.models.site import Site


class CatalogWalk(BaseModel):
    """There is one for each site whose repositories are being found; it goes when the catalog's end is reached."""

    site_id: int

    site = ForeignKeyField(Site, primary_key=True, on_delete="CASCADE")
    #: With which the repositories are marked, one of `marking`'s.
    priority = IntegerField()
    started_at = UTCDateTimeField()
    #: The registry's own link to the page that comes next; None: the first.
    marker = TextField(null=True)
    #: Repositories marked so far.
    marked = IntegerField(default=0)
    updated_at = UTCDateTimeField()

    class Meta:
        table_name = "geo_catalog_walks"
