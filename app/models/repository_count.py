"""How many tracking rows there are, kept by the database itself."""

from __future__ import annotations

from peewee import BigAutoField, BigIntegerField, BooleanField, IntegerField

from app.models.base import BaseModel


class RepositoryCount(BaseModel):
    """So many tracking rows of a site are of this kind, more or fewer: what counts is the sum of the rows of a kind.

    Triggers on the tracking rows add to it in the transaction that writes those, as they do for references
    (`ReferenceCount`): they only ever insert, and every 256th sums up what there is. No foreign key: what goes with its
    site is taken off after the site.
    """

    id = BigAutoField()
    site_id = IntegerField()
    in_scope = BooleanField()
    state = IntegerField()
    verification_state = IntegerField()
    #: Whether it has a checksum.
    checksummed = BooleanField()
    #: Whether its last verification could not be made for the primary's sake.
    untold = BooleanField()
    number = BigIntegerField()

    class Meta:
        table_name = "geo_repository_counts"
