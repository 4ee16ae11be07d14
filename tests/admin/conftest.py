from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from app.admin import guard
from app.web.throttle import Throttle

# A deployment that really replicates, for what is watched in a browser.
from tests.integration.conftest import deploy as deploy
from tests.support.face import Face, face
from tests.support.parts import require


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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One real browser for the whole run; each test opens a context of its own."""
    program = require("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        # Its sandbox refuses to run as root; it opens nothing but our own pages.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
