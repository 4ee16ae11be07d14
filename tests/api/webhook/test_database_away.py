"""The webhook while its database is away, locked or full: it asks for the event again, and loses none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app import database, postgresql
from app.notifications import parse
from app.replication import event_log
from tests.api.webhook.intake import (
    Intake,
    counts,
    running,
    stored,
)
from tests.support.deployment import offline_environment
from tests.support.envelopes import (
    blob_event,
    envelope,
    mount_event,
    pull_event,
    push_event,
)
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.sessions import Session
from tests.support.wait import wait_until
from tests.support.web import Web


@pytest.mark.long
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


@pytest.mark.long
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


def test_a_database_locked_for_longer_is_asked_again(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a writer who does not let go within the time that we wait
    monkeypatch.setattr(database, "LOCK_TIMEOUT", 1)
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT", 1)
    event = push_event()
    with running(offline_environment(database_url)) as intake:
        with Session() as writer:
            writer.begin()
            writer.execute("INSERT INTO container_repositories (path, created_at) VALUES ('team/app', '2026-01-01')")

            # Then the registry is asked to send it again
            assert intake.post(envelope(event)).status_code == 503

        # And then it is stored
        assert intake.post(envelope(event)).get_json() == counts(accepted=1)


def test_an_event_that_a_lost_machine_was_writing_is_taken_from_another(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a transaction that has written the event, and of which nothing more is heard
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT", 0.3)
    monkeypatch.setattr(postgresql, "IDLE_TIMEOUT", 1.5)
    url, event, unrelated = postgres.create_database(), push_event(), push_event(repository="team/other")
    events = parse("distribution", json.dumps(envelope(event)).encode(), None, {}).events
    with running(offline_environment(url)) as intake:
        with Session() as other:
            other.begin()
            other.do(lambda: event_log.append(events))

            # When the registry sends it to another process, then that asks for it again, and takes others in meanwhile
            answer = intake.post(envelope(event))
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert intake.post(envelope(unrelated)).get_json() == counts(accepted=1)

            # And takes it once the server has ended that transaction
            wait_until(lambda: intake.post(envelope(event)).get_json() == counts(accepted=1))
            other.lost()
        assert stored() == (2, 0)
    postgres.drop_database(url)


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
        with filler.open("wb", buffering=0) as file, suppress(OSError):
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
