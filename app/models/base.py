"""What all models share."""

from __future__ import annotations

from typing import Self

from peewee import Model

from app.database import database


class BaseModel(Model):
    """A row of our own schema. Table names are written out: migrations and people's queries rely on them."""

    @classmethod
    def first(cls) -> Self | None:
        """The row with the lowest key, or None; for a person at the console."""
        found: Self | None = cls.select().order_by(cls._meta.primary_key).first()
        return found

    class Meta:
        database = database
        legacy_table_names = False
