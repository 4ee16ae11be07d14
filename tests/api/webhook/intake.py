"""The webhook by Flask's test client, and what it has left in the database."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.database import connection
from app.models import Event, QuarantinedEvent, Site
from app.replication.context import Nobody
from app.web.application import create_app
from tests.support.deployment import SECRET, Deployment
from tests.support.running import WEBHOOK

MIB = 1024 * 1024


class Wakes(Nobody):
    """Counts the wakes instead of sending them."""

    def __init__(self) -> None:
        self.event_wakes = 0

    def events(self) -> None:
        self.event_wakes += 1

    def rows(self, count: int) -> None:
        raise AssertionError("a webhook syncs nothing")

    def bulk(self, count: int, busy: int = 0) -> None:
        raise AssertionError("a webhook syncs nothing")

    def verifications(self, count: int) -> None:
        raise AssertionError("a webhook verifies nothing")


@dataclass
class Intake:
    """The application, its client and the wakes that it sent."""

    client: FlaskClient
    wakes: Wakes

    def post(self, document: Any = None, *, path: str = WEBHOOK, **options: Any) -> TestResponse:
        headers = {"Authorization": SECRET, **options.pop("headers", {})}
        if document is not None:
            options.setdefault("data", json.dumps(document))
        return self.client.post(path, headers={k: v for k, v in headers.items() if v is not None}, **options)


@contextlib.contextmanager
def running(env: dict[str, str]) -> Iterator[Intake]:
    deployment = Deployment.start(env)
    # The application binds the models anew, and nobody would close what the first binding opened.
    deployment.close()
    wakes = Wakes()
    app = create_app(deployment.context.settings, wakes)
    try:
        yield Intake(app.test_client(), wakes)
    finally:
        app.extensions["geo"].close()
        deployment.close()


def counts(accepted: int = 0, duplicate: int = 0, ignored: int = 0, quarantined: int = 0) -> dict[str, int]:
    return {"accepted": accepted, "duplicate": duplicate, "ignored": ignored, "quarantined": quarantined}


def stored() -> tuple[int, int]:
    """How many events and quarantined ones the database holds."""
    with connection():
        return Event.select().count(), QuarantinedEvent.select().count()


def quarantined() -> list[Any]:
    with connection():
        return list(QuarantinedEvent.select().order_by(QuarantinedEvent.id))


def reconcile_is_due() -> bool:
    with connection():
        return Site.get(~Site.primary).reconcile_reason not in {None, "new site"}


def forget_new_site() -> None:
    with connection():
        Site.update(reconcile_requested_at=None, reconcile_reason=None).execute()
