from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.admin import guard
from app.api.throttle import Throttle
from tests.admin.face import Face, face


@pytest.fixture(autouse=True)
def fresh_throttle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "throttle", Throttle())


@pytest.fixture
def pages(database_url: str, tmp_path: Path) -> Iterator[Face]:
    """An installation into which nothing was pushed yet, on each kind of database."""
    with face(database_url, tmp_path / "state") as started:
        yield started


@pytest.fixture
def sqlite_pages(tmp_path: Path) -> Iterator[Face]:
    """The same where the kind of database makes no difference."""
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state") as started:
        yield started
