"""The id of a request, by Flask's test client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient

from app import correlation
from app.database import connection
from app.models import Event
from app.replication.context import Nobody
from app.web.application import create_app
from tests.support.deployment import SECRET, Deployment, offline_environment
from tests.support.envelopes import envelope, push_event
from tests.support.running import WEBHOOK


class Asked(Nobody):
    """Notes for which occasion it is asked to wake somebody."""

    def __init__(self) -> None:
        self.ids: list[str | None] = []

    def events(self) -> None:
        self.ids.append(correlation.current())

    def rows(self, count: int) -> None: ...

    def bulk(self, count: int, busy: int = 0) -> None: ...

    def verifications(self, count: int) -> None: ...


@dataclass
class Intake:
    """The application's client, the deployment behind it, and who was woken for what."""

    client: FlaskClient
    state: Deployment
    asked: Asked


@pytest.fixture
def intake(database_url: str) -> Iterator[Intake]:
    state, asked = Deployment.start(offline_environment(database_url)), Asked()
    # The application binds the models anew, and nobody would close what the first binding opened.
    state.close()
    app = create_app(state.context.settings, asked)
    try:
        yield Intake(app.test_client(), state, asked)
    finally:
        app.extensions["geo"].close()
        state.close()


def test_the_callers_id_goes_with_its_events(intake: Intake) -> None:
    client, asked, state = intake.client, intake.asked, intake.state

    # When a registry, or the proxy before us, names its request
    headers = {"Authorization": SECRET, "X-Request-ID": "proxy-1"}
    answer = client.post(WEBHOOK, json=envelope(push_event("team/app", "v1")), headers=headers)

    # Then it is answered, stored, and with whoever is woken
    assert answer.headers["X-Request-ID"] == "proxy-1"
    with connection():
        assert [event.correlation_id for event in Event.select()] == ["proxy-1"]
    assert asked.ids == ["proxy-1"]

    # And with what has to be done
    state.mark()
    (reference,) = state.references("team/app").values()
    assert reference.correlation_id == "proxy-1"

    # And the next event of the same tag brings its own
    again = client.post(WEBHOOK, json=envelope(push_event("team/app", "v1")), headers={"Authorization": SECRET})
    state.mark()
    (reference,) = state.references("team/app").values()
    assert reference.correlation_id == again.headers["X-Request-ID"] != "proxy-1"


@pytest.mark.parametrize("sent", [None, "", "two words", "x" * 129, "é", "a;b"])
def test_without_a_usable_one_it_gets_a_new_one(intake: Intake, sent: str | None) -> None:
    headers = {} if sent is None else {"X-Request-ID": sent}
    ids = [intake.client.get("/-/liveness", headers=headers).headers["X-Request-ID"] for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{32}", id_) for id_ in ids)
    assert ids[0] != ids[1]


def test_the_callers_trace_is_its_id_unless_it_gives_one(intake: Intake) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    assert intake.client.get("/-/liveness", headers=headers).headers["X-Request-ID"] == trace
    answer = intake.client.get("/-/liveness", headers=headers | {"X-Request-ID": "mine"})
    assert answer.headers["X-Request-ID"] == "mine"


@pytest.mark.parametrize(("path", "status"), [("/-/liveness", 200), ("/nowhere", 404), ("/api/v4/geo_sites", 403)])
def test_every_answer_has_one(intake: Intake, path: str, status: int) -> None:
    answer = intake.client.get(path, headers={"X-Request-ID": "mine"})
    assert (answer.status_code in {status, 401}, answer.headers["X-Request-ID"]) == (True, "mine")


def test_it_ends_with_the_request(intake: Intake) -> None:
    intake.client.get("/-/liveness", headers={"X-Request-ID": "mine"})
    assert correlation.current() is None
