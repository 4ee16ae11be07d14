"""What all models share."""

from __future__ import annotations

from peewee import Model

from app.database import database


class BaseModel(Model):
    """A row of our own schema. Table names are written out: migrations and people's queries rely on them."""

    class Meta:
        database = database
        legacy_table_names = False
