"""The webhook by Flask's test client on both databases, and in a real gunicorn where the wire matters."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import database
from app.database import connection
from app.models import ContainerRepository, Event, QuarantinedEvent, RegistryInstance, Site
from app.notifications import Quarantined
from app.web import create_app
from tests.support import images
from tests.support.deployment import SECRET, Deployment, offline_environment
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
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.registries import RegistryFactory
from tests.support.running import WEBHOOK, endpoint
from tests.support.sessions import Session, at_once
from tests.support.wait import wait_until
from tests.support.web import Web
from tests.support.wire import push

MIB = 1024 * 1024

#: What a registry gives us, by GitLab's own settings.
REGISTRY_TIMEOUT = 0.5


class Wakes:
    """Counts the wakes instead of sending them."""

    def __init__(self) -> None:
        self.event_wakes = 0

    def events(self) -> None:
        self.event_wakes += 1

    def rows(self, count: int) -> None:
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


@pytest.fixture
def intake(database_url: str) -> Iterator[Intake]:
    with running(offline_environment(database_url)) as intake:
        yield intake


@pytest.fixture
def sqlite_intake(tmp_path: Path) -> Iterator[Intake]:
    with running(offline_environment(f"sqlite:///{tmp_path / 'geo.db'}")) as intake:
        yield intake


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


# --- what is taken in --------------------------------------------------------------------------------------------


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
    document = envelope(*[push_event(repository=f"team/app{n}") for n in range(20)])
    answer = intake.post(document)

    # Then nothing of it is stored, and all of it is when it comes again
    assert answer.status_code == 503
    assert stored() == (0, 0)
    with connection():
        assert ContainerRepository.select().count() == 0
    monkeypatch.undo()
    assert intake.post(document).get_json() == counts(accepted=20)


# --- the secret --------------------------------------------------------------------------------------------------


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


# --- what cannot be read -----------------------------------------------------------------------------------------


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


# --- the database is away ----------------------------------------------------------------------------------------


def test_ignored_events_touch_no_database(tmp_path: Path) -> None:
    # Given a database that is down
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/geo"
    env = offline_environment(url, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    with Web(tmp_path, env, migrate=False) as web:
        # Then ignored events are answered all the same
        answer = web.post(envelope(pull_event(), mount_event(), blob_event()))
        assert answer.status_code == 200
        assert answer.json() == counts(ignored=3)

        # And real ones and rubbish are asked for again
        for document in (envelope(push_event()), "rubbish"):
            answer = web.post(document)
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "1"
            assert answer.headers["Content-Type"] == "application/problem+json"

        # And the probes tell the two apart
        assert web.get("/-/liveness").status_code == 200
        assert web.get("/-/readiness").status_code == 503
        assert web.get("/metrics").status_code == 503


def test_a_database_that_comes_back_takes_the_event(postgres: Postgres, tmp_path: Path) -> None:
    # Given a server that has answered once
    url = postgres.create_database()
    event = push_event()
    with Web(tmp_path, offline_environment(url)) as web:
        assert web.post(envelope(push_event())).status_code == 200

        # When its database is restarted under it
        postgres.kill()
        assert web.post(envelope(event)).status_code == 503
        postgres.start()

        # Then the same event, sent again, is accepted
        wait_until(lambda: web.post(envelope(event)).status_code == 200)
        assert web.post(envelope(event)).json() == counts(duplicate=1)
    postgres.drop_database(url)


def test_a_database_locked_by_another_writer_is_waited_for(intake: Intake) -> None:
    # Given a writer who holds what the event needs for a while
    event = push_event()
    with Session() as writer:
        writer.begin()
        writer.execute("INSERT INTO container_repositories (path, created_at) VALUES ('team/app', '2026-01-01')")

        # When the event comes meanwhile
        with Session() as registry:
            waiting = registry.start(lambda: intake.post(envelope(event)))
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
            writer.commit()

            # Then it is stored as soon as he is done
            assert waiting.result(20).get_json() == counts(accepted=1)
    assert stored() == (1, 0)


def test_a_database_locked_for_longer_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a writer who does not let go within the time that we wait
    monkeypatch.setattr(database, "LOCK_TIMEOUT", 1)
    event = push_event()
    with running(offline_environment(f"sqlite:///{tmp_path / 'geo.db'}")) as intake:
        with Session() as writer:
            writer.begin()
            writer.execute("INSERT INTO container_repositories (path, created_at) VALUES ('team/app', '2026-01-01')")

            # Then the registry is asked to send it again
            assert intake.post(envelope(event)).status_code == 503

        # And then it is stored
        assert intake.post(envelope(event)).get_json() == counts(accepted=1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run([mount, "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine mounts nothing")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    # Given a disk without room
    with running(offline_environment(f"sqlite:///{small_disk / 'geo.db'}")) as intake:
        assert intake.post(envelope(push_event())).status_code == 200
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass

        # When events come until there is not even room in the database's own pages
        documents = [envelope(*[push_event(repository=f"team/app{n}-{m}") for m in range(50)]) for n in range(40)]
        answers = [intake.post(document) for document in documents]
        refused = [d for d, answer in zip(documents, answers, strict=True) if answer.status_code == 503]
        accepted = [answer for answer in answers if answer.status_code == 200]

        # Then some are refused
        assert refused
        assert len(refused) + len(accepted) == 40

        # And when there is room, every one that was accepted is there, whole, and the others are taken
        filler.unlink()
        assert stored()[0] == 1 + 50 * len(accepted)
        again = [intake.post(document).get_json() for document in refused]
        assert again == [counts(accepted=50)] * len(refused)


# --- the wire ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A real web process on SQLite. Its queue refuses connections."""
    path = tmp_path_factory.mktemp("web")
    env = offline_environment(f"sqlite:///{path / 'geo.db'}", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    with Web(path, env) as web:
        yield web


def head(*lines: str) -> bytes:
    fixed = (f"POST {WEBHOOK} HTTP/1.1", "Host: geo", f"Authorization: {SECRET}")
    return "\r\n".join((*fixed, *lines, "", "")).encode()


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer on a bare connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    headers, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in headers.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", b"0")):
        body += _more(connection)
    return int(headers.split()[1]), body


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    assert data, "the connection was closed"
    return data


def chunked(body: bytes, size: int = 65536) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_a_chunked_body_is_read(web: Web) -> None:
    body = json.dumps(envelope(push_event(), push_event(tag="v2"))).encode()
    with web.connect() as wire:
        wire.sendall(head("Transfer-Encoding: chunked") + chunked(body, 7))
        status, answer = read_answer(wire)
    assert (status, json.loads(answer)) == (200, counts(accepted=2))


@pytest.mark.parametrize("encoding", ["chunked", "length"])
def test_a_body_beyond_the_limit_is_read_off_the_connection(web: Web, encoding: str) -> None:
    # Given 17 MiB
    body = b'{"events": [' + b" " * (17 * MIB)

    # When they come, and another event behind them on the same connection
    small = json.dumps(envelope(push_event())).encode()
    with web.connect() as wire:
        if encoding == "chunked":
            wire.sendall(head("Transfer-Encoding: chunked") + chunked(body))
        else:
            wire.sendall(head(f"Content-Length: {len(body)}") + body)
        large = read_answer(wire)
        wire.sendall(head(f"Content-Length: {len(small)}") + small)
        after = read_answer(wire)

    # Then both are answered
    assert (large[0], json.loads(large[1])) == (200, counts(quarantined=1))
    assert (after[0], json.loads(after[1])) == (200, counts(accepted=1))


def test_a_client_that_waits_to_be_asked_for_the_body_is_asked(web: Web) -> None:
    body = json.dumps(envelope(push_event())).encode()
    with web.connect() as wire:
        wire.sendall(head(f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert wire.recv(1000).startswith(b"HTTP/1.1 100")
        wire.sendall(body)
        status, answer = read_answer(wire)
    assert (status, json.loads(answer)) == (200, counts(accepted=1))


def test_a_connection_is_kept_between_notifications(web: Web) -> None:
    with web.connect() as wire:
        for tag in ("v1", "v2", "v3"):
            body = json.dumps(envelope(push_event(tag=tag))).encode()
            wire.sendall(head(f"Content-Length: {len(body)}") + body)
            assert read_answer(wire)[0] == 200


@pytest.mark.parametrize("size", [100, 300_000, 17 * MIB])
def test_a_client_without_the_secret_reads_why_it_is_refused(web: Web, size: int) -> None:
    # When a body comes that nobody will read
    answer = web.post(data=b"x" * size, headers={"Authorization": "wrong"})

    # Then the answer arrives, rather than a broken connection
    assert answer.status_code == (413 if size > 16 * MIB else 401)
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("lines", [[], ["Content-Length: 0"], ["Transfer-Encoding: chunked"]])
def test_an_absent_body_is_quarantined(web: Web, lines: list[str]) -> None:
    with web.connect() as wire:
        wire.sendall(head(*lines) + (b"0\r\n\r\n" if "Transfer-Encoding: chunked" in lines else b""))
        status, answer = read_answer(wire)
    assert (status, json.loads(answer)) == (200, counts(quarantined=1))


def test_a_body_that_breaks_off_is_not_an_event(web: Web) -> None:
    # Given an event of which half arrives
    event = push_event(repository="team/half")
    body = json.dumps(envelope(event)).encode()
    with web.connect() as wire:
        wire.sendall(head(f"Content-Length: {len(body)}") + body[: len(body) // 2])

    # When all of it comes in a second try, then it is new
    assert web.post(envelope(event)).json() == counts(accepted=1)


def test_slow_bodies_keep_no_other_waiting(web: Web) -> None:
    # Given clients that say that they have something to send, and do not: half of what one process has threads for
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            wire = stack.enter_context(web.connect())
            wire.sendall(head("Content-Length: 1000") + b"{")

        # Then others are answered as ever
        started = time.monotonic()
        assert web.post(envelope(push_event())).status_code == 200
        assert time.monotonic() - started < REGISTRY_TIMEOUT * 2


def test_a_queue_that_refuses_costs_no_time(web: Web) -> None:
    _posts_are_quick(web)


def test_a_queue_that_never_answers_costs_no_time(tmp_path: Path) -> None:
    # Given a queue that takes connections and says nothing
    with socket.create_server(("127.0.0.1", 0), backlog=50) as hole:
        url = f"redis://127.0.0.1:{hole.getsockname()[1]}/0"
        env = offline_environment(f"sqlite:///{tmp_path / 'geo.db'}", REDIS_URL=url, BROKER_URL=url)
        with Web(tmp_path, env) as web:
            _posts_are_quick(web)


def _posts_are_quick(web: Web) -> None:
    """A registry takes an answer that comes later for a failure."""
    took = []
    for number in range(10):
        started = time.perf_counter()
        answer = web.post(envelope(push_event(repository=f"team/quick{number}")))
        took.append(time.perf_counter() - started)
        assert answer.json() == counts(accepted=1)
    assert sorted(took)[8] < REGISTRY_TIMEOUT, took


@pytest.mark.long
def test_a_registrys_queue_drains_also_after_we_were_away(tmp_path: Path, registry_factory: RegistryFactory) -> None:
    # Given a Distribution that notifies the web process, pulls and blobs too
    env = offline_environment(f"sqlite:///{tmp_path / 'geo.db'}", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    web = Web(tmp_path, env)
    primary = registry_factory("primary", notify=[endpoint(web.port, timeout="500ms")])
    database.configure(env["DATABASE_URL"])
    with web:
        push(primary, "team/app", "v1", images.image())
        wait_until(lambda: primary.pending_notifications() == 0)
        assert [(e.action, e.tag) for e in _events()] == [("push", "v1")]

    # When it pushes while we are away
    for number in range(5):
        push(primary, "team/app", f"away{number}", images.image())
    assert primary.pending_notifications() > 0

    # Then all of it is delivered once we are back, in order and once
    with web:
        wait_until(lambda: primary.pending_notifications() == 0, message=lambda: web.log_text[-2000:])
        assert [e.tag for e in _events()] == ["v1", *(f"away{number}" for number in range(5))]
    database.database.close_all()


def _events() -> list[Any]:
    with connection():
        return list(Event.select().order_by(Event.id))


def test_our_log_lines_are_json(tmp_path: Path) -> None:
    # Given a web process with a database that is down
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/geo"
    with Web(tmp_path, offline_environment(url), migrate=False) as web:
        assert web.post(envelope(push_event())).status_code == 503
        text = web.log_text

    # Then what it says is for machines
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert any("could not be stored" in line["message"] for line in lines), text
    assert SECRET not in text
