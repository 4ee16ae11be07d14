"""The schema as another version leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.database import database, transaction
from app.migrate import watch

#: A migration that this version has not.
LATER = "9999_later"


@contextmanager
def migrated_further() -> Iterator[str]:
    """While inside, the bound database has been migrated by a newer version; the name of its migration."""
    with transaction():
        database.execute_sql(f"INSERT INTO schema_migration (name, applied) VALUES ('{LATER}', '2030-01-01 00:00:00')")
    watch.forget()
    try:
        yield LATER
    finally:
        with transaction():
            database.execute_sql(f"DELETE FROM schema_migration WHERE name = '{LATER}'")
        watch.forget()
