"""The web application on a database of its own, with no registry, queue or worker behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import database, migrate
from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site
from app.replication import sites
from app.replication.context import Nobody
from app.settings import Settings
from app.web.application import create_app
from tests.support.deployment import ADMIN_TOKEN

SITE = "europe"


class RecordingWake(Nobody):
    """Wakes nobody and remembers for how many rows it was asked."""

    def __init__(self) -> None:
        self.woken: list[int] = []
        self.verifying: list[int] = []

    def rows(self, count: int) -> None:
        self.woken.append(count)

    def bulk(self, count: int, busy: int = 0) -> None:
        self.woken.append(count)

    def verifications(self, count: int) -> None:
        self.verifying.append(count)


@dataclass
class Face:
    """The application, a browser without cookies, and the secondary site."""

    app: Flask
    site: Site
    wake: RecordingWake
    client: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.app.test_client()

    def sign_in(self, token: str = ADMIN_TOKEN, **form: str) -> TestResponse:
        """Fill in the form on the sign-in page and send it."""
        page = self.client.get("/admin/sign-in").text
        return self.client.post("/admin/sign-in", data={"csrf_token": csrf(page), "token": token, **form})

    def row(self, registry_id: int) -> Registry:
        with connection():
            found: Registry = Registry.get_by_id(registry_id)
            return found


def csrf(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found, "the page has no form of ours"
    return found.group(1)


@contextmanager
def face(database_url: str, state: Path, *, migrated: bool = True, **extra: str) -> Iterator[Face]:
    """Start the application; `extra` changes its environment, an empty value takes a variable away."""
    env = {
        "DATABASE_URL": database_url,
        "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": "http://primary.example.com:5000",
        "GEO_SECONDARY_REGISTRY_URL": "http://secondary.example.com:5000",
        "GEO_SITE_NAME": SITE,
        "GEO_NOTIFICATION_SECRET": "tests-notification-secret",
        "GEO_ADMIN_TOKEN": ADMIN_TOKEN,
        **extra,
    }
    settings = replace(Settings.from_env(env), state_directory=state)
    wake = RecordingWake()
    app = create_app(settings, wake)
    app.testing = True
    try:
        site = Site(name=SITE)
        if migrated:
            migrate.migrate()
            applied = sites.apply_environment(settings)
            assert applied is not None
            site = applied
        yield Face(app, site, wake)
    finally:
        app.extensions["geo"].close()
        database.database.close_all()
