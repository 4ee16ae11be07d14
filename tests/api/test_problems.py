"""Errors, wherever they come from, are problem documents (RFC 9457)."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Blueprint

from app.api import webhook
from app.replication import site_reports
from tests.api.asking import Asking
from tests.support.deployment import ADMIN_TOKEN, SECRET
from tests.support.face import face

WEBHOOK = "/api/v4/container_registry_event/events"


def check(response: object, status: int) -> None:
    assert response.status_code == status  # type: ignore[attr-defined]
    assert response.content_type == "application/problem+json"  # type: ignore[attr-defined]
    document = response.get_json()  # type: ignore[attr-defined]
    assert (document["type"], document["status"]) == ("about:blank", status)
    assert document["title"]


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("GET", "/api", 404),
        ("GET", "/api/v4/nothing", 404),
        ("GET", "/api/v4/geo_sites/x", 404),
        ("GET", "/api/v4/geo_sites/1/", 200),
        ("PUT", "/api/v4/geo_sites", 405),
        ("DELETE", "/api/v4/geo/events", 405),
        ("TRACE", "/api/v4/geo_sites", 405),
        ("GET", WEBHOOK, 405),
        ("POST", "/-/health", 405),
        ("POST", "/openapi.json", 405),
        ("GET", "/api/v4/geo/container_repositories?per_page=x", 400),
        ("GET", "/api/v4/geo/container_repositories?after=%FF%FE", 400),
        ("POST", "/api/v4/geo/container_repositories/resync", 400),
        ("GET", "/nowhere", 404),
    ],
)
def test_what_is_asked_wrongly(asking: Asking, method: str, address: str, status: int) -> None:
    response = asking.send(method, address)
    if status == 200:
        assert response.status_code == 200
        return
    check(response, status)
    if status == 405:
        assert response.headers["Allow"]


def test_too_large_a_body(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "MAX_BODY", 10)
    check(asking.face.client.post(WEBHOOK, data=b"x" * 100), 413)
    # A form that is too large for any position
    check(asking.face.client.post("/api/v4/geo/site_status", data=b"x" * (site_reports.REPORT_LIMIT + 1)), 401)


def test_a_body_where_none_is_read(asking: Asking) -> None:
    check(asking.send("POST", "/api/v4/geo/container_repositories/resync?all=true", data="{}"), 415)


def test_a_mistake_of_ours(tmp_path: Path) -> None:
    # Given a view that fails
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state") as started:
        broken = Blueprint("broken", __name__)

        @broken.get("/api/v4/broken")
        def fail() -> str:
            raise RuntimeError("a secret detail")

        started.app.register_blueprint(broken)
        started.app.testing = False
        # Then it is a problem, too, and nothing of ours is told
        response = started.client.get("/api/v4/broken")
        check(response, 500)
        assert "secret" not in response.text


def test_a_database_that_is_down(tmp_path: Path) -> None:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state", migrated=False) as started:
        asking = Asking(started)
        for address in ("/api/v4/geo_sites", "/api/v4/geo/event_log", "/-/readiness"):
            check(asking.send("GET", address), 503)
        check(asking.send("POST", "/api/v4/geo/container_repositories/resync?all=true"), 503)
        event = {"events": [{"id": "1", "action": "push", "target": {"repository": "a/b", "tag": "v1"}}]}
        check(started.client.post(WEBHOOK, json=event, headers={"Authorization": SECRET}), 503)


def test_wrong_secrets_are_problems_too(asking: Asking) -> None:
    check(asking.face.client.post(WEBHOOK, json={}), 401)
    check(asking.face.client.get("/api/v4/geo/events", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}), 401)
