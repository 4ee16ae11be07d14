"""The `geo` command in this process: quick, and with the environment that a test gives it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner, Result

from app import database, metrics
from app.cli import main
from app.database import connection
from tests.support.deployment import ADMIN_TOKEN, SECRET, environment
from tests.support.registries import DistributionRegistry


@dataclass
class Geo:
    """Runs commands in a directory of its own."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, **env: str) -> Result:
        """Run `geo …`; `output` holds both streams, `stdout` and `stderr` each."""
        environ = {"PATH": os.environ["PATH"], **self.env, **env}
        with mock.patch.dict(os.environ, environ, clear=True):
            result = CliRunner().invoke(main, list(arguments), prog_name="geo")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Geo]:
    """Without any settings."""
    monkeypatch.chdir(tmp_path)
    # Commands set the log up; pytest's own handlers are wanted back.
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield Geo(tmp_path)
    root.handlers[:] = handlers
    root.setLevel(level)
    if database.database.obj is not None:
        database.database.close_all()


@pytest.fixture
def geo(bare: Geo, database_url: str) -> Geo:
    """With settings and a migrated database, and registries that nothing is asked of."""
    bare.env.update(settings(database_url))
    result = bare("migrate")
    assert result.exit_code == 0, result.output
    return bare


@pytest.fixture
def wired(
    bare: Geo, primary: DistributionRegistry, secondary: DistributionRegistry, database_url: str
) -> Iterator[Geo]:
    """Commands between two real registries."""
    bare.env.update(environment(primary, secondary, database_url), BROKER_URL="stub://")
    assert bare("migrate").exit_code == 0
    yield bare
    metrics.buffer.close()


@contextmanager
def stored() -> Iterator[None]:
    """The database of the commands, let go of afterwards: the next command opens its own."""
    with connection():
        yield
    database.database.close_all()


def settings(database_url: str) -> Mapping[str, str]:
    return {
        "DATABASE_URL": database_url,
        "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": "http://127.0.0.1:9",
        "GEO_SECONDARY_REGISTRY_URL": "http://127.0.0.1:10",
        "GEO_NOTIFICATION_SECRET": SECRET,
        "GEO_ADMIN_TOKEN": ADMIN_TOKEN,
        # No broker of a deployment in this directory is looked for.
        "BROKER_URL": "stub://",
    }
