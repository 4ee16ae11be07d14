"""A repository path on the primary registry."""

from __future__ import annotations

from peewee import AutoField, CharField

from app.database import UTCDateTimeField
from app.models.base import BaseModel


class ContainerRepository(BaseModel):
    """Known by its path; made when an event, a listing or a person first names it."""

    id = AutoField()
    path = CharField(unique=True)
    created_at = UTCDateTimeField()

    class Meta:
        table_name = "container_repositories"
