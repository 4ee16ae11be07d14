"""What the webhook cannot read is kept to be looked at, and never refused: a registry would send it for ever."""

from __future__ import annotations

import json

import pytest

from app import database
from app.database import connection
from app.notifications import Quarantined
from tests.api.webhook.intake import (
    MIB,
    Intake,
    counts,
    forget_new_site,
    quarantined,
    reconcile_is_due,
    running,
    stored,
)
from tests.support import images
from tests.support.deployment import offline_environment
from tests.support.envelopes import (
    V1,
    envelope,
    pull_event,
    push_event,
)
from tests.support.postgres import Postgres
from tests.support.running import WEBHOOK


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"rubbish", "not_json"),
        (b"\xff\xfe\x00", "not_utf8"),
        (b"{}", "no_events"),
        (b'{"events": [{"action": "push"}]}', "bad_event"),
        (b'{"events": [{"action": "push", "id": "1", "target": {"repository": "../etc"}}]}', "bad_repository"),
        (b'{"events": [{"action": "explode", "id": "1"}]}', "unknown_action"),
        (b"[" * 100_000, "too_deep"),
        (b'{"events": ["\\ud800\\u0000", 1]}', "bad_event"),
    ],
)
def test_rubbish_is_quarantined_and_never_refused(intake: Intake, body: bytes, reason: str) -> None:
    # When
    answer = intake.post(data=body, content_type="application/json; " + "x" * 400)

    # Then
    assert answer.status_code == 200
    assert answer.get_json()["quarantined"] >= 1
    assert {item.reason for item in quarantined()} == {reason}
    assert stored()[0] == 0

    # And the same again is counted, not kept twice
    before = stored()
    assert intake.post(data=body).status_code == 200
    assert stored() == before
    assert {item.occurrences for item in quarantined()} == {2}


def test_a_bad_event_costs_none_of_the_others(intake: Intake) -> None:
    answer = intake.post(envelope(push_event(), {"action": "push"}, push_event(tag="v2"), pull_event()))
    assert answer.get_json() == counts(accepted=2, ignored=1, quarantined=1)


@pytest.mark.parametrize("dialect", ["no-such", "x" * 2000, "%00", "%F0%9F%90%8D", "DISTRIBUTION"])
def test_an_unknown_dialect_is_quarantined(intake: Intake, dialect: str) -> None:
    # When
    answer = intake.post(envelope(push_event()), path=f"{WEBHOOK}/{dialect}")

    # Then
    assert answer.status_code == 200
    assert answer.get_json() == counts(quarantined=1)
    assert quarantined()[0].reason == "unknown_dialect"


def test_seven_megabytes_are_parsed(intake: Intake) -> None:
    # Given a push whose event lists all that its manifest refers to
    references = [
        {"mediaType": "application/octet-stream", "digest": images.sha256(str(n).encode()), "size": n}
        for n in range(55_000)
    ]
    event = push_event()
    event["target"]["references"] = references
    body = json.dumps(envelope(event)).encode()
    assert len(body) > 7_000_000

    # Then
    assert intake.post(data=body, content_type=V1).get_json() == counts(accepted=1)


def test_what_is_too_large_is_kept_by_its_head_and_a_reconcile_is_due(intake: Intake) -> None:
    # Given
    forget_new_site()
    event = push_event()
    event["padding"] = "x" * (17 * MIB)
    body = json.dumps(envelope(event)).encode()

    # When
    answer = intake.post(data=body)

    # Then
    assert answer.get_json() == counts(quarantined=1)
    kept = quarantined()[0]
    assert kept.reason == "too_large"
    assert kept.size == len(body)
    assert body.startswith(kept.excerpt[:1000].encode())
    assert 1000 < len(kept.excerpt) <= 64 * 1024
    assert reconcile_is_due()


def test_exactly_the_limit_is_still_parsed(sqlite_intake: Intake) -> None:
    event = push_event()
    event["padding"] = ""
    missing = 16 * MIB - len(json.dumps(envelope(event)))
    event["padding"] = "x" * missing
    body = json.dumps(envelope(event)).encode()
    assert len(body) == 16 * MIB
    assert sqlite_intake.post(data=body).get_json() == counts(accepted=1)


def test_a_reader_that_breaks_does_not_stop_the_registry(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a mistake of ours in reading
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("app.api.webhook.parse", broken)

    # When
    answer = intake.post(envelope(push_event()))

    # Then the registry is let go on, and the body is there to be looked at
    assert answer.get_json() == counts(quarantined=1)
    assert isinstance(quarantined()[0].excerpt, str)
    assert "team/app" in quarantined()[0].excerpt


def test_values_that_the_database_refuses_do_not_stop_the_registry(postgres: Postgres) -> None:
    # Given a database whose columns are narrower than what a registry says
    url = postgres.create_database()
    with running(offline_environment(url)) as intake:
        forget_new_site()
        with connection():
            database.database.execute_sql("ALTER TABLE geo_events ALTER COLUMN tag TYPE varchar(3)")

        # When
        answer = intake.post(envelope(push_event(tag="v1"), push_event(tag="too-long")))

        # Then it is not asked for again for ever
        assert answer.get_json() == counts(quarantined=1)
        assert stored() == (0, 1)
        assert reconcile_is_due()
    postgres.drop_database(url)


def test_the_quarantine_has_reasons_of_a_bounded_set() -> None:
    # A body that never reaches a dialect still has a reason that a metric may carry.
    assert Quarantined("too_large", "").reason == "too_large"
