from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.api import site_auth
from app.api.resources import guard
from app.web.rate_limit import RateLimit
from app.web.throttle import Throttle
from tests.api.asking import Asking
from tests.support.face import Face, face
from tests.support.seed import Seeded, seed


@pytest.fixture(autouse=True)
def fresh_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test asked does not count for the next."""
    monkeypatch.setattr(guard, "throttle", Throttle(limit=100))
    monkeypatch.setattr(guard, "rate_limit", RateLimit())
    monkeypatch.setattr(site_auth, "throttle", Throttle(limit=60))


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[Face]:
    """The web application on each kind of database."""
    with face(database_url, tmp_path / "state") as started:
        yield started


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    """A client with the admin token; the database is SQLite's."""
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state") as started:
        yield Asking(started)


@pytest.fixture
def rows(asking: Asking) -> Seeded:
    return seed(asking.face.site, synced=3)
