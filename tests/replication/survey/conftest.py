from __future__ import annotations

import pytest


@pytest.fixture
def database_url(sqlite_database: str) -> str:
    """SQLite alone: what is asked of the registries has nothing to do with the database."""
    return sqlite_database
