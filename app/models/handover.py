"""What a registry that took over as primary held of the former one's."""

from __future__ import annotations

from peewee import CharField, CompositeKey, ForeignKeyField

from app.models.base import BaseModel
from app.models.registry import ContainerRepositoryRegistry


class Handover(BaseModel):
    """One a tag, as far as was known when it took over: what both registries had then.

    It tells who changed a tag since, and so what would be lost. It is no proof of anything for a deletion.
    """

    registry = ForeignKeyField(ContainerRepositoryRegistry, on_delete="CASCADE")
    name = CharField()
    digest = CharField()

    class Meta:
        table_name = "geo_handovers"
        primary_key = CompositeKey("registry", "name")
