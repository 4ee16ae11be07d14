"""The secret of the webhook: without it nothing is stored, and nothing large is read."""

from __future__ import annotations

import base64
import json

import pytest

from tests.api.webhook.intake import (
    MIB,
    Intake,
    counts,
    running,
    stored,
)
from tests.support.deployment import SECRET, offline_environment
from tests.support.envelopes import (
    envelope,
    push_event,
)


def test_several_secrets_are_good_while_rotating(database_url: str) -> None:
    with running(offline_environment(database_url, GEO_NOTIFICATION_SECRET="new , old,")) as intake:
        basic = base64.b64encode(b"registry:old").decode()
        for header in ("new", "old", "Bearer new", f"Basic {basic}"):
            answer = intake.post(envelope(push_event()), headers={"Authorization": header})
            assert answer.get_json() == counts(accepted=1)
        for header in ("", "new , old", "new,old", ","):
            assert intake.post(envelope(push_event()), headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "wrong",
        "Bearer wrong",
        "Bearer",
        "Basic",
        "Basic %%%",
        SECRET.upper(),
        f"{SECRET}x",
        "\xe9\xff",
        "x" * 99_999,
    ],
    ids=[
        "absent",
        "empty",
        "wrong",
        "bearer",
        "no-token",
        "no-basic",
        "bad-base64",
        "case",
        "longer",
        "latin1",
        "long",
    ],
)
def test_without_the_secret_nothing_is_stored(intake: Intake, header: str | None) -> None:
    # When
    answer = intake.post(envelope(push_event()), headers={"Authorization": header})

    # Then a problem document says what to change
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    document = json.loads(answer.data)
    assert document["status"] == 401
    assert "GEO_NOTIFICATION_SECRET" in document["detail"]
    assert SECRET not in answer.text
    assert stored() == (0, 0)
    assert intake.wakes.event_wakes == 0


def test_a_large_body_is_refused_only_without_the_secret(sqlite_intake: Intake) -> None:
    body = b"x" * (16 * MIB + 1)
    assert sqlite_intake.post(data=body, headers={"Authorization": "wrong"}).status_code == 413
    assert sqlite_intake.post(data=body[:-1], headers={"Authorization": "wrong"}).status_code == 401
    assert sqlite_intake.post(data=body).status_code == 200
