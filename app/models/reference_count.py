"""How many references there are, kept by the database itself."""

from __future__ import annotations

from peewee import BigAutoField, BigIntegerField, BooleanField, IntegerField

from app.models.base import BaseModel


class ReferenceCount(BaseModel):
    """So many references of a site are of this kind, more or fewer: what counts is the sum of the rows of a kind.

    Triggers on the references add to it in the transaction that writes those. They only ever insert, since a row that
    all workers update would make them wait for each other; every 256th sums up what there is. No foreign key: what
    goes with its site is taken off after the site.
    """

    id = BigAutoField()
    site_id = IntegerField()
    is_tag = BooleanField()
    in_scope = BooleanField()
    state = IntegerField()
    #: Whether it is not ours.
    drift = BooleanField()
    number = BigIntegerField()

    class Meta:
        table_name = "geo_reference_counts"
