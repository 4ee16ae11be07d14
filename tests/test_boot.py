from __future__ import annotations

from pathlib import Path

import pytest

from app import database
from app.boot import bind_database, boot
from app.registry import InvalidKey
from app.replication.context import current
from app.settings import Settings, SettingsError
from tests.support.deployment import offline_environment
from tests.support.ports import free_port


def settings(url: str, **extra: str) -> Settings:
    return Settings.from_env(offline_environment(url, **extra))


def test_booting_asks_nobody(tmp_path: Path) -> None:
    # Given a database and registries that are all down
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/geo"

    # When
    context = boot(settings(url))

    # Then the process is ready, and has opened nothing
    assert current() is context
    assert database.database.is_closed()
    context.close()


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        bind_database(
            settings(
                "sqlite://", GEO_REPOSITORIES="Team/APP", GEO_TAGS="semver:new", GEO_PROTECTED_TAGS="stable, regex:("
            )
        )
    assert len(caught.value.problems) == 4
    assert "DATABASE_URL" in caught.value.problems[0]
    assert "GEO_REPOSITORIES" in caught.value.problems[1]
    assert "GEO_TAGS: 'new' is no version" in caught.value.problems[2]
    assert "GEO_PROTECTED_TAGS: 'regex:('" in caught.value.problems[3]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        bind_database(settings(f"sqlite:///{tmp_path}/file/geo.db"))


def test_a_key_that_is_none(tmp_path: Path) -> None:
    key = tmp_path / "registry.key"
    key.write_text("not a key")
    with pytest.raises(InvalidKey):
        boot(settings(f"sqlite:///{tmp_path}/geo.db", GEO_REGISTRY_KEY_PATH=str(key)))
