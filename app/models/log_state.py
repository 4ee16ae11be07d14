"""What is to be known of the event log as a whole."""

from __future__ import annotations

from peewee import BigIntegerField, CharField, IntegerField

from app.models.base import BaseModel


class LogState(BaseModel):
    """One row. It is replicated with the events, so who reads a standby reads it there."""

    id = IntegerField(primary_key=True)
    #: Tells this log from every other: a position of another one means nothing here.
    identity = CharField()
    #: The highest id that was ever pruned; who has not read so far has missed something.
    pruned_to = BigIntegerField(default=0)
    #: Every transaction that drew an id up to `fenced_to` has a transaction id below `fence`. A standby cannot draw
    #: one for itself. 0: never set.
    fenced_to = BigIntegerField(default=0)
    fence = BigIntegerField(default=0)

    class Meta:
        table_name = "geo_event_log_state"
