"""Released states: each is led on to this version and back with all its rows, and stays as it was released."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner
from peewee import fn

from app import database, migrate
from app.cli import main
from app.database import connection
from app.models import Event, SyncState
from app.replication import site_tokens
from tests.migrations import later, population
from tests.migrations.population import APP, EXTRA, MARKED, OLD, SYNCED, TOKEN, UNREAD
from tests.migrations.states import CHANGED, Rows, described, load, recorded, tables
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, environment, offline_environment
from tests.support.proxy import Proxy
from tests.support.registries import RegistryFactory
from tests.support.root import ROOT
from tests.support.wire import delete_digest, digest_of, push, tags

pytestmark = pytest.mark.timeout(60)

#: All migrations.
NAMES = sorted(entry.stem for entry in (ROOT / "migrations").glob("[0-9]*.py"))

released = pytest.mark.parametrize("state", recorded())


@pytest.fixture
def empty(database_url: str) -> Iterator[str]:
    database.configure(database_url)
    database.database.obj.autoconnect = False
    yield database_url
    database.database.close_all()


def test_what_is_released_comes_before_what_is_not() -> None:
    # Those with a recorded state are the first of all migrations, and numbered without a gap
    assert recorded() == NAMES[: len(recorded())] != []
    assert [int(name.partition("_")[0]) for name in NAMES] == list(range(1, len(NAMES) + 1))


@released
def test_a_released_migration_is_not_changed(state: str, empty: str) -> None:
    # Given the schema that the migrations lead to today
    migrate.go_to(state)
    today = described()

    # When it is compared with what they led to when the state was released
    migrate.go_to(migrate.ZERO)
    with connection():
        database.database.execute_sql("DROP TABLE schema_migration")
    load(state, empty)

    # Then it is the same: whatever is to be different is a new migration
    assert described() == today


@released
def test_a_recorded_state_has_rows_in_every_table(state: str, empty: str) -> None:
    load(state, empty)
    assert {name for name, rows in Rows.taken().tables.items() if not rows} == set()


@released
def test_an_upgrade_keeps_every_row_and_can_be_undone(state: str, empty: str) -> None:
    led_on_and_back(state, empty, NAMES)


@released
def test_an_upgrade_by_a_version_to_come_keeps_every_row(
    state: str, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest state is led nowhere by the migrations that there are."""
    name = later.released(tmp_path, monkeypatch, later.GOOD)
    newest = led_on_and_back(state, empty, [*NAMES, name])

    # Then what it is for is there
    assert [what for what in ("weight", "geo_events_action_occurred_at") if what not in "".join(newest)] == []


@released
def test_an_upgrade_gives_no_id_twice(state: str, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a database of which the newest event was pruned
    load(state, empty)
    migrate.migrate()
    with connection():
        last = Event.select(fn.MAX(Event.id)).scalar()
        Event.delete().where(Event.id == last).execute()
        values = {**Event.select().first().__data__, "event_key": "another"}

    # When it is upgraded, Then its id is not given to another
    later.released(tmp_path, monkeypatch, later.GOOD)
    migrate.migrate()
    del values["id"]
    with connection():
        assert Event.insert(**values).execute() > last


@released
def test_an_upgrade_that_fails_changes_nothing(
    state: str, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a database of a released version, and one to come whose migration fails at its end
    load(state, empty)
    migrate.migrate()
    schema, rows = described(), Rows.taken()
    name = later.released(tmp_path, monkeypatch, later.BROKEN)

    # When it is upgraded by that, Then a person is told which one it was and why
    database.database.close_all()
    with mock.patch.dict(os.environ, offline_environment(empty)):
        done = CliRunner().invoke(main, ["migrate"])
    database.configure(empty)
    assert done.exit_code == 1
    assert re.match(rf"geo: The migration {name} failed \(.*geo_no_such_table.*\), and the database is as", done.output)

    # And everything is as it was, for this version as for that
    assert migrate.pending() == [name]
    monkeypatch.undo()
    assert migrate.difference() == migrate.Difference()
    assert described() == schema
    assert Rows.taken() == rows


def led_on_and_back(state: str, url: str, names: list[str]) -> list[str]:
    """Lead a released state on through these migrations, and back; the schema that it came to."""
    # Given a database of a released version, with rows in every table
    load(state, url)
    schema, rows = described(), Rows.taken()
    due = names[names.index(state) + 1 :]
    changed = frozenset().union(*(CHANGED.get(name, frozenset()) for name in due))
    assert migrate.pending() == due

    # When it is upgraded, Then no row is lost or changed
    assert migrate.migrate() == due
    assert rows.lost(Rows.taken(), changed) == []
    newest = described()

    # When that is undone, Then it is what it was
    assert migrate.go_to(state) == ([], due[::-1])
    assert described() == schema
    assert rows.lost(Rows.taken(), changed) == []

    # And a new database gets the same schema as the upgraded one
    migrate.go_to(migrate.ZERO)
    assert tables() == []
    assert migrate.migrate() == names
    assert described() == newest
    return newest


@released
@pytest.mark.long
def test_replication_goes_on_after_an_upgrade(state: str, empty: str, registry_factory: RegistryFactory) -> None:
    # Given the registries and the state of a released version, which was stopped in the middle of its work
    primary, secondary = registry_factory("primary"), registry_factory("secondary")
    population.prepare(primary, secondary)
    with ExitStack() as stack:
        before_primary, before_secondary = (stack.enter_context(Proxy(each)) for each in (primary, secondary))
        load(state, empty, primary=before_primary.url, secondary=before_secondary.url)
        env = environment(primary, secondary, empty)
        env["GEO_REGISTRY_REPLICATION_PRIMARY_API_URL"] = before_primary.url
        env["GEO_SECONDARY_REGISTRY_URL"] = before_secondary.url

        # When this version is started on it
        geo = Deployment.start(env)
        stack.callback(geo.close)
        geo.settle()

        # Then what was marked, and what no one had read, is copied, and nothing else is
        for repository, tag, _ in (MARKED, UNREAD):
            assert_same(primary, secondary, repository, tag)
        copied = sum(len(image.blobs) for _, _, image in (MARKED, UNREAD))
        assert before_secondary.count(r"PUT .*/blobs/uploads/") == copied
        assert before_primary.count(r"GET .*/blobs/") == copied
        assert before_secondary.count(r"PUT .*/manifests/") == 2
        assert geo.row("team/app").state == SyncState.SYNCED

        # And what is new is replicated as ever
        push(primary, "team/app", "v2", images.image([APP.blobs[1], images.layer()]))
        geo.event("push", "team/app", "v2")
        geo.settle()
        assert_same(primary, secondary, "team/app", "v2")

        # And what it copied is known to be ours, what somebody else pushed is not
        delete_digest(primary, "team/app", OLD.digest)
        geo.event("delete", "team/app", digest=OLD.digest)
        geo.settle()
        assert "old" not in tags(secondary, "team/app")
        assert digest_of(secondary, "team/app", EXTRA[1]) == EXTRA[2].digest

        # And everything is there, and a site's token is as good as it was
        assert geo.row("team/tool").replicator.verify("content").in_order
        assert {tag for repository, tag, _ in SYNCED if repository == "team/app" and tag} - {"old"} <= set(
            tags(secondary, "team/app")
        )
        site = site_tokens.site_of(TOKEN)
        assert site is not None
        assert site.name == "berlin"
