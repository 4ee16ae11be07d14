"""What is examined: registries that are wrong in one thing, and a database of the deployment's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import pytest

from app import database
from app.replication import sites
from app.replication.check import Examination, Finding, Id, Severity
from app.settings import Settings
from tests.support.answering import Answer, Request, Server
from tests.support.deployment import environment
from tests.support.registries import DistributionRegistry


class Examine(Protocol):
    def __call__(
        self, primary: DistributionRegistry, secondary: DistributionRegistry, options: Any = None, **env: str
    ) -> Examination: ...


@pytest.fixture
def examine(sqlite_database: str) -> Iterator[Examine]:
    """An examination of a migrated deployment between two registries; `options` are the examination's own."""

    def make(
        primary: DistributionRegistry, secondary: DistributionRegistry, options: Any = None, **env: str
    ) -> Examination:
        settings = Settings.from_env(environment(primary, secondary, sqlite_database) | env)
        database.configure(sqlite_database)
        database.database.obj.autoconnect = False
        sites.apply_environment(settings)
        return Examination(settings, **(options or {}))

    yield make
    if database.database.obj is not None:
        database.database.close_all()


def troubles(findings: Sequence[Finding]) -> list[Id]:
    """What is not in order, in the order in which it was found."""
    return [finding.id for finding in findings if finding.severity is not Severity.OK]


def only(findings: Sequence[Finding]) -> Finding:
    """The one thing that is not in order."""
    (found,) = [finding for finding in findings if finding.severity is not Severity.OK]
    return found


@contextmanager
def answering(serve: Callable[[Request], Answer]) -> Iterator[str]:
    """The address of a server that answers so."""
    server = Server(serve)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()
