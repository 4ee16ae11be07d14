from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.webhook.intake import Intake, running
from tests.support.deployment import offline_environment


@pytest.fixture
def intake(database_url: str) -> Iterator[Intake]:
    with running(offline_environment(database_url)) as intake:
        yield intake


@pytest.fixture
def sqlite_intake(tmp_path: Path) -> Iterator[Intake]:
    with running(offline_environment(f"sqlite:///{tmp_path / 'geo.db'}")) as intake:
        yield intake
