"""Leases: who may act as the one cursor or the one scheduler."""

from __future__ import annotations

from peewee import BigIntegerField, CharField

from app.database import UTCDateTimeField
from app.models.base import BaseModel


class Lease(BaseModel):
    """A named right that ends by itself. `token` grows with every new holder and fences off the former one."""

    name = CharField(primary_key=True)
    owner = CharField(null=True)
    token = BigIntegerField(default=0)
    expires_at = UTCDateTimeField()

    class Meta:
        table_name = "geo_leases"
