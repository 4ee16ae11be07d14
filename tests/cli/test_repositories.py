"""`geo repositories`, `why` and `events` between real registries, and where there is nothing."""

from __future__ import annotations

import json
from dataclasses import replace

from app import database
from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, Site, SyncState
from app.replication import cursor, event_log, membership
from app.replication.event_log import Origin
from tests.cli.conftest import Geo, stored
from tests.support import images
from tests.support.deployment import event
from tests.support.registries import DistributionRegistry
from tests.support.wire import push


def test_where_nothing_is_known_commands_say_what_to_do(geo: Geo) -> None:
    assert "geo sync --all" in geo("repositories").stdout
    assert json.loads(geo("repositories", "--json").stdout) == []
    assert "geo registry-config" in geo("events").stdout
    assert json.loads(geo("events", "--json").stdout) == []
    assert "Nothing" in geo("events", "--quarantined").stdout
    why = geo("why", "team/app:v1")
    assert why.exit_code == 1
    assert "geo sync team/app" in why.stdout


def test_a_registry_that_does_not_answer_is_named(geo: Geo) -> None:
    # Given registries that nobody listens for
    for arguments in (("sync", "team/app"), ("sync", "--all")):
        result = geo(*arguments)
        assert result.exit_code == 1
        assert result.stderr.startswith("geo: ")
        assert "127.0.0.1:9" in result.stderr
        assert "Traceback" not in result.output


def test_events_are_listed(geo: Geo) -> None:
    # Given
    database.configure(geo.env["DATABASE_URL"])
    event_log.store([event(tag="v1"), event("delete", tag="old")], [], Origin("distribution", 0))
    with connection():
        cursor.drain(Site.get(~Site.primary))
    database.database.close_all()

    # Then the newest comes first
    rows = json.loads(geo("events", "--json").stdout)
    assert [(row["action"], row["tag"], row["repository"]) for row in rows] == [
        ("delete", "old", "team/app"),
        ("push", "v1", "team/app"),
    ]
    assert len(json.loads(geo("events", "--json", "-n", "1").stdout)) == 1
    assert "team/app" in geo("events").stdout

    # And an image whose event waits is known, though not there
    why = geo("why", "team/app:v1")
    assert why.exit_code == 1
    assert "pending" in why.stdout
    assert geo("why", "team/app:never").exit_code == 1


def test_strangers_move_no_cursor(geo: Geo) -> None:
    # Given an actor, and a registry's message, that a terminal would obey
    forged = "ci\x1b[1A\rroot"
    database.configure(geo.env["DATABASE_URL"])
    event_log.store([replace(event(tag="v1"), actor=forged)], [], Origin("distribution", 0))
    with connection():
        cursor.drain(Site.get(~Site.primary))
        Reference.update(state=SyncState.FAILED, failure=forged, failure_reason="unauthorized").execute()
        Registry.update(state=SyncState.FAILED, last_sync_failure=forged).execute()
    database.database.close_all()
    # Then what people read shows it and obeys nothing; scripts get it as it is
    for command in (("events",), ("why", "team/app:v1"), ("repositories",)):
        output = geo(*command).output
        assert "ci\\u001b[1A\\u000droot" in output
        assert not {"\x1b", "\r"} & set(output)
    assert json.loads(geo("events", "--json").stdout)[0]["actor"] == forged


def test_what_is_out_of_scope_is_shown_as_such(wired: Geo, primary: DistributionRegistry) -> None:
    # Given a repository that was replicated and is left out now
    push(primary, "team/app", "v1", images.image())
    assert wired("sync", "team/app").exit_code == 0
    wired.env |= {"GEO_REPOSITORIES": "!team/*", "GEO_TAGS": "semver:>=1.2 <2, !*-rc*"}
    assert wired("migrate").exit_code == 0
    with stored():
        membership.settle(Site.get(~Site.primary))

    # Then
    (site,) = (each for each in json.loads(wired("sites", "--json").stdout) if each["role"] == "secondary")
    assert site["tags"] == ["semver:>=1.2 <2", "!*-rc*"]
    assert "semver:>=1.2 <2 !*-rc*" in wired("sites").stdout
    assert "out of scope" in wired("repositories").stdout
    assert [row["in_scope"] for row in json.loads(wired("repositories", "--json").stdout)] == [False]
    assert "1 repositories, 1 tags" in wired("status").stdout
    why = wired("why", "team/app:v1")
    assert "out of scope" in why.stdout
    assert "is kept there" in why.stdout
    assert wired("sync", "team/app").exit_code == 2
