"""Every dialect over HTTP: who is let in, what is counted, and that nothing else ever comes out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from app.api import webhook
from app.notifications import DIALECTS
from tests.api.webhook.intake import Intake, counts, quarantined, running, stored
from tests.notifications.delivering import HEADERS, raw
from tests.support.deployment import SECRET, offline_environment
from tests.support.identity import identity_token, key_set, serving
from tests.support.running import WEBHOOK

AUDIENCE, EMAIL = "https://geo.example.com/gar", "push@my-project.iam.gserviceaccount.com"
IDENTITY = {"GEO_NOTIFICATION_AUDIENCE": AUDIENCE, "GEO_NOTIFICATION_EMAIL": EMAIL}
NEXT = "the-next-secret"

#: A recorded body of each dialect, and how many events it makes.
BODIES = {
    "acr": ("acr-push", 1),
    "distribution": ("distribution-2.8-push", 1),
    "docker-hub": ("docker-hub-push", 1),
    "ecr": ("ecr-delete", 2),
    "gar": ("gar-insert", 1),
    "ghcr": ("ghcr-package", 1),
    "gitlab": ("distribution-2.8-push", 1),
    "harbor": ("harbor-push", 1),
    "quay": ("quay-push", 2),
    "zot": ("zot-updated", 1),
}

ADDRESSED = ("docker-hub", "quay")

each_dialect = pytest.mark.parametrize("dialect", sorted(DIALECTS))


@pytest.fixture(scope="module")
def intake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Intake]:
    database = tmp_path_factory.mktemp("senders") / "geo.db"
    secrets = f"{SECRET},{NEXT}"
    with serving(200, key_set("a"), Cache_Control="max-age=600") as url:
        env = offline_environment(f"sqlite:///{database}", GEO_NOTIFICATION_SECRET=secrets)
        with running(env | IDENTITY | {"GEO_NOTIFICATION_KEYS_URL": url}) as intake:
            yield intake


def credentials(dialect: str, body: bytes, secret: str = SECRET) -> tuple[dict[str, str], str]:
    """Headers and query by which this vendor proves itself."""
    if dialect in ADDRESSED:
        return {}, f"?secret={quote(secret)}"
    if dialect == "ghcr":
        return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}, ""
    if dialect == "gar":
        return {"Authorization": f"Bearer {identity_token(AUDIENCE, EMAIL)}"}, ""
    return {"Authorization": f"Bearer {secret}"}, ""


def deliver(intake: Intake, dialect: str, body: bytes, secret: str = SECRET) -> TestResponse:
    headers, query = credentials(dialect, body, secret)
    beside = {**HEADERS.get(dialect, {}), **headers}
    return intake.client.post(f"{WEBHOOK}/{dialect}{query}", data=body, headers=beside, content_type="application/json")


@each_dialect
def test_a_delivery_is_taken_in_once(tmp_path: Path, dialect: str) -> None:
    name, number = BODIES[dialect]
    with serving(200, key_set("a")) as url:
        env = offline_environment(f"sqlite:///{tmp_path / 'geo.db'}") | IDENTITY
        with running(env | {"GEO_NOTIFICATION_KEYS_URL": url}) as intake:
            # When it comes
            assert deliver(intake, dialect, raw(name)).get_json() == counts(accepted=number)
            assert intake.wakes.event_wakes == 1

            # Then its repetition is one; Quay's cannot be told
            again = deliver(intake, dialect, raw(name)).get_json()
            assert again == (counts(accepted=number) if dialect in ("quay", "docker-hub") else counts(duplicate=number))

            # And what is half known is kept, not refused
            assert deliver(intake, dialect, b"{}").get_json() == counts(quarantined=1)
            assert quarantined()[0].dialect == dialect


@each_dialect
def test_another_s_proof_is_none(intake: Intake, dialect: str) -> None:
    body = raw(BODIES[dialect][0])
    before = stored()
    attempts: list[tuple[dict[str, str], str]] = [({}, ""), credentials(dialect, body, "wrong")]
    if dialect == "gar":
        # The shared secret opens this door no more than somebody else's token does.
        other = identity_token(AUDIENCE, "somebody@else.example")
        attempts = [({}, ""), ({"Authorization": SECRET}, ""), ({"Authorization": f"Bearer {other}"}, "")]
    if dialect == "ghcr":
        attempts += [({"Authorization": SECRET}, ""), credentials("ghcr", body + b" ")]
    if dialect not in ADDRESSED:
        attempts.append(({}, f"?secret={quote(SECRET)}"))
    for headers, query in attempts:
        answer = intake.client.post(f"{WEBHOOK}/{dialect}{query}", data=body, headers=headers)
        assert answer.status_code == 401
        assert "GEO_NOTIFICATION" in answer.get_json()["detail"]
        assert SECRET not in answer.text
    assert stored() == before


@pytest.mark.parametrize("dialect", sorted(DIALECTS.keys() - {"gar"}))
def test_both_secrets_are_good_while_rotating(intake: Intake, dialect: str) -> None:
    for secret in (SECRET, NEXT):
        assert deliver(intake, dialect, raw(BODIES[dialect][0]), secret).status_code == 200


@pytest.mark.parametrize("dialect", ADDRESSED)
def test_a_name_and_password_in_the_address_are_taken_as_they_arrive(intake: Intake, dialect: str) -> None:
    basic = base64.b64encode(f"geo:{SECRET}".encode()).decode()
    answer = intake.client.post(
        f"{WEBHOOK}/{dialect}", data=raw(BODIES[dialect][0]), headers={"Authorization": f"Basic {basic}"}
    )
    assert answer.status_code == 200


def test_an_api_destination_may_name_its_header(intake: Intake) -> None:
    answer = intake.client.post(f"{WEBHOOK}/ecr", data=raw("ecr-push"), headers={"X-Api-Key": SECRET})
    assert answer.status_code == 200


def test_artifact_registry_is_refused_until_it_is_set_up(tmp_path: Path) -> None:
    with running(offline_environment(f"sqlite:///{tmp_path / 'geo.db'}")) as intake:
        answer = deliver(intake, "gar", raw("gar-insert"))
    assert answer.status_code == 401
    assert "GEO_NOTIFICATION_AUDIENCE" in answer.get_json()["detail"]


def test_while_googles_keys_cannot_be_had_it_is_asked_again(tmp_path: Path) -> None:
    # Given an address where nobody is
    with serving(200, b"") as url:
        pass
    env = offline_environment(f"sqlite:///{tmp_path / 'geo.db'}") | IDENTITY | {"GEO_NOTIFICATION_KEYS_URL": url}
    with running(env) as intake:
        answer = deliver(intake, "gar", raw("gar-insert"))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "10"


def test_a_signed_body_beyond_what_is_parsed_is_kept_by_its_head(intake: Intake) -> None:
    # Given more than is parsed, and less than is read of somebody who is not known yet
    body = b'{"action": "' + b"x" * webhook.MAX_BODY + b'"}'

    # Then with a signature it is taken, and without it is not
    assert deliver(intake, "ghcr", body).get_json() == counts(quarantined=1)
    assert deliver(intake, "ghcr", body, "wrong").status_code == 413


def test_nobody_makes_us_read_for_ever_who_only_says_that_he_signs(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "MAX_UNPROVEN", 1000)
    body = b" " * 1001
    assert deliver(intake, "ghcr", body).status_code == 413
    # A secret in a header is proof enough.
    assert deliver(intake, "harbor", body).status_code == 200


HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=80)


@each_dialect
@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data())
def test_nothing_but_these_answers_comes_out(intake: Intake, dialect: str, data: st.DataObject) -> None:
    # Given anything at all, from somebody who is let in or who only tries
    body = data.draw(st.binary(max_size=60) | st.sampled_from([raw(name) for name, _ in BODIES.values()]))
    headers, query = credentials(dialect, body)
    if data.draw(st.booleans()):
        names = st.sampled_from(["Authorization", "X-Hub-Signature-256", "X-Api-Key", "Ce-Type", "Ce-Id"])
        headers |= data.draw(st.dictionaries(names, HEADER, max_size=2))
        query = "?secret=" + quote(data.draw(st.text(max_size=10)), errors="replace")
    kinds = st.sampled_from(["application/json", "application/x-www-form-urlencoded", "multipart/form-data", ""])

    # When it is sent
    answer = intake.client.post(
        f"{WEBHOOK}/{dialect}{query}", data=body, headers=headers, content_type=data.draw(kinds | HEADER)
    )

    # Then
    assert answer.status_code in {200, 401}
    document: Any = json.loads(answer.data)
    assert answer.status_code == 401 or set(document) == set(counts())
