"""What the webhook takes in: an envelope's events, each once, and nothing of what changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from app.database import connection
from app.models import ContainerRepository, Event, RegistryInstance
from tests.api.webhook.intake import (
    Intake,
    counts,
    stored,
)
from tests.support.deployment import SECRET
from tests.support.envelopes import (
    V1,
    V2,
    blob_event,
    delete_event,
    envelope,
    mount_event,
    pull_event,
    push_event,
)
from tests.support.running import WEBHOOK
from tests.support.sessions import at_once


@pytest.mark.parametrize("content_type", [V1, V2, "application/json", "text/plain", None])
def test_an_envelope_is_stored_whatever_it_is_called(intake: Intake, content_type: str | None) -> None:
    # When
    answer = intake.post(envelope(push_event(tag="v1"), delete_event(tag="old")), content_type=content_type)

    # Then
    assert answer.status_code == 200
    assert answer.get_json() == counts(accepted=2)
    assert answer.content_type == "application/json"
    with connection():
        assert [(e.action, e.tag) for e in Event.select().order_by(Event.id)] == [("push", "v1"), ("delete", "old")]
    assert intake.wakes.event_wakes == 1


@pytest.mark.parametrize("path", [WEBHOOK, f"{WEBHOOK}/", f"{WEBHOOK}/distribution", f"{WEBHOOK}/distribution/"])
def test_the_address_may_end_as_it_likes(intake: Intake, path: str) -> None:
    assert intake.post(envelope(push_event()), path=path).get_json() == counts(accepted=1)


@pytest.mark.parametrize(
    ("path", "host"),
    [
        (f"/{WEBHOOK}", None),
        (WEBHOOK.replace("/events", "//events"), None),
        (f"{WEBHOOK}//distribution", None),
        ("/", None),
        ("", None),
        (f"{WEBHOOK}/a/b", None),
        (WEBHOOK, "somewhere.else.example:99"),
        (WEBHOOK, "bad host"),
        (f"/API{WEBHOOK[4:]}", None),
    ],
)
@pytest.mark.parametrize("secret", [SECRET, "wrong"])
def test_nothing_is_ever_redirected(sqlite_intake: Intake, path: str, host: str | None, secret: str) -> None:
    # When a registry is configured with an address that is nearly right
    headers = {"Authorization": secret} | ({"Host": host} if host else {})
    answer = sqlite_intake.post(envelope(push_event()), path=path, headers=headers)

    # Then it is told so: it would follow a redirect without the body, and take the answer for a delivery
    assert not 300 <= answer.status_code < 400
    assert "Location" not in answer.headers
    assert (answer.status_code == 200) == (stored()[0] == 1)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_deliver_nothing(sqlite_intake: Intake, method: str) -> None:
    answer = sqlite_intake.client.open(WEBHOOK, method=method, headers={"Authorization": SECRET})
    assert answer.status_code == (200 if method == "OPTIONS" else 405)
    assert stored() == (0, 0)


def test_a_repeated_event_is_a_duplicate(intake: Intake) -> None:
    # Given
    event = push_event()
    assert intake.post(envelope(event)).get_json() == counts(accepted=1)

    # When it comes again, and beside a new one, and twice in one envelope
    again = intake.post(envelope(event))
    beside = intake.post(envelope(event, push_event(tag="v2")))
    other = push_event(tag="v3")
    twice = intake.post(envelope(other, other))

    # Then
    assert again.get_json() == counts(duplicate=1)
    assert beside.get_json() == counts(accepted=1, duplicate=1)
    assert twice.get_json() == counts(accepted=1, duplicate=1)
    assert stored() == (3, 0)
    assert intake.wakes.event_wakes == 3


def test_an_event_posted_many_times_at_once_is_accepted_once(intake: Intake) -> None:
    # Given
    event = push_event()
    app = intake.client.application

    # When eight deliver it at the same instant
    def deliver(_: int) -> Any:
        return app.test_client().post(WEBHOOK, json=envelope(event), headers={"Authorization": SECRET})

    answers = at_once(8, deliver)

    # Then
    assert [answer.status_code for answer in answers] == [200] * 8
    assert sum(answer.get_json()["accepted"] for answer in answers) == 1
    assert sum(answer.get_json()["duplicate"] for answer in answers) == 7
    assert stored() == (1, 0)


def test_what_changes_nothing_is_ignored(intake: Intake) -> None:
    answer = intake.post(envelope(pull_event(), mount_event(), blob_event(), push_event(), pull_event()))
    assert answer.get_json() == counts(accepted=1, ignored=4)
    assert stored() == (1, 0)


def test_an_envelope_is_one_transaction(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a database that fails at the very end of an envelope
    from peewee import OperationalError

    from app.replication import event_log

    def fail(*_: object) -> None:
        raise OperationalError("the disk is gone")

    monkeypatch.setattr(event_log, "_quarantine", fail)

    # When
    document = envelope(*[push_event(repository=f"team/app{n}") for n in range(30)], {"action": "push"})
    answer = intake.post(document)

    # Then nothing of it is stored, and all of it is when it comes again
    assert answer.status_code == 503
    assert stored() == (0, 0)
    with connection():
        assert ContainerRepository.select().count() == 0
    monkeypatch.undo()
    assert intake.post(document).get_json() == counts(accepted=30, quarantined=1)


def test_a_new_registry_process_is_noted_once_and_only_with_what_is_stored(intake: Intake) -> None:
    def spoke(event: Any, instance: str) -> Any:
        return envelope(event | {"source": {"addr": "registry:5000", "instanceID": instance}})

    def known() -> dict[str, bool]:
        with connection():
            return {row.instance_id: row.reconcile_owed for row in RegistryInstance.select()}

    # Given a process that is known
    assert intake.post(spoke(push_event(), "one")).status_code == 200
    assert known() == {"one": False}

    # When a new one is only pulled from, then nothing is noted
    assert intake.post(spoke(pull_event(), "two")).get_json() == counts(ignored=1)
    assert known() == {"one": False}

    # When something is pushed there, then a reconcile is owed
    assert intake.post(spoke(push_event(), "two")).get_json() == counts(accepted=1)
    assert known() == {"one": False, "two": True}

    # And those that are known cost no further statement
    with connection():
        RegistryInstance.delete().execute()
    assert intake.post(spoke(push_event(), "one")).status_code == 200
    assert known() == {}
