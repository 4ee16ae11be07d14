"""Disasters: whatever was lost or mixed up, nothing is deleted for it, and it is said."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app import database
from app.boot import boot
from app.database import connection
from app.models import CatalogWalk, Site, SyncState
from app.replication import backfill, brake, sites, status, work
from app.replication.sites import ExchangedRegistries, NotApplied
from app.settings import Settings
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, environment
from tests.support.keys import TokenAuth
from tests.support.postgres import Postgres
from tests.support.registries import DistributionRegistry, RegistryFactory, Version
from tests.support.replicated import replicated
from tests.support.wire import delete_digest, delete_tag, digest_of, push, tags

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]


@dataclass
class World:
    """Two registries of its own, and deployments between them one after the other."""

    primary: DistributionRegistry
    secondary: DistributionRegistry
    database_url: str
    stack: ExitStack = field(default_factory=ExitStack)

    def env(self, **extra: str) -> dict[str, str]:
        return environment(self.primary, self.secondary, self.database_url, **extra)

    def exchanged(self, **extra: str) -> dict[str, str]:
        return environment(self.secondary, self.primary, self.database_url, **extra)

    def start(self, env: dict[str, str] | None = None) -> Deployment:
        """Begin anew, the former deployment being ended."""
        self.stack.close()
        try:
            geo = Deployment.start(env or self.env())
        except Exception:
            database.database.close_all()
            raise
        self.stack.callback(geo.close)
        return geo


@pytest.fixture(params=["2.8", "3"])
def version(request: pytest.FixtureRequest) -> Version:
    chosen: Version = request.param
    return chosen


@pytest.fixture
def world(
    request: pytest.FixtureRequest,
    registry_factory: RegistryFactory,
    token_auth: TokenAuth,
    version: Version,
    tmp_path: Path,
) -> Iterator[World]:
    """Each version with a database of another kind: starting registries takes its time."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'geo.db'}"
        if version == "2.8":
            server: Postgres = request.getfixturevalue("postgres")
            url = server.create_database(request.getfixturevalue("postgresql_template"))
            stack.callback(server.drop_database, url)
        made = World(
            registry_factory("primary", version=version, token=token_auth),
            registry_factory("secondary", version=version, token=token_auth),
            url,
        )
        stack.enter_context(made.stack)
        yield made


def reconcile(geo: Deployment) -> None:
    """Look at everything, as the scheduler does when it is due, and as often as it takes."""
    backfill.mark_all(geo.fresh_site(), geo.context.primary)
    geo.settle()


def drift(geo: Deployment) -> int:
    with connection():
        return status.status().sites[0].drift


# --- all went, truly --------------------------------------------------------------------------------------------------


def test_after_the_last_tag_is_deleted_all_go(world: World, version: Version, repository: str) -> None:
    # Given a repository of which everything is deleted on the primary, and no event says so
    geo = world.start()
    digests = replicated(geo, world.primary, repository, "v1", "v2", "v3")
    for name, digest in digests.items():
        if version == "3":
            delete_tag(world.primary, repository, name)
        else:
            delete_digest(world.primary, repository, digest)

    # When the registry says that there are no tags
    assert geo.context.primary.list_tags(repository) == []
    assert geo.row(repository).replicator.sync().state == SyncState.SYNCED

    # Then all go
    assert tags(world.secondary, repository) == []
    assert geo.references(repository) == {}


# --- what was there before --------------------------------------------------------------------------------------------


def test_a_secondary_that_held_images_before_keeps_what_is_not_ours(world: World, repository: str) -> None:
    # Given a secondary with an image that the primary has too, one that differs, and one of its own
    same = images.image()
    for registry in (world.primary, world.secondary):
        push(registry, repository, "same", same)
    push(world.primary, repository, "moved", images.image())
    push(world.secondary, repository, "moved", images.image())
    theirs = push(world.secondary, repository, "theirs", images.image())

    # When a deployment is set up between them
    geo = world.start()
    reconcile(geo)

    # Then the primary's are there, the equal one taken over without a copy, and the extra shown
    assert_same(world.primary, world.secondary, repository, "moved")
    assert [each.action for each in geo.attempts(repository, "same")] in (["keep"], [])
    assert geo.references(repository)["same"].observed_digest == same.digest
    assert digest_of(world.secondary, repository, "theirs") == theirs
    assert drift(geo) == 1
    assert "delete" not in {each.action for each in geo.attempts(repository)}


def test_a_lost_state_database_deletes_nothing(world: World, tmp_path: Path, repository: str) -> None:
    # Given a replicated repository, and the state lost
    geo = world.start(world.env(DATABASE_URL=f"sqlite:///{tmp_path / 'lost.db'}"))
    digests = replicated(geo, world.primary, repository, "v1", "v2", "gone")
    geo = world.start()

    # And meanwhile one tag deleted on the primary
    delete_digest(world.primary, repository, digests["gone"])

    # When everything is looked for anew
    reconcile(geo)

    # Then nothing is deleted or copied; what is equal is ours again, the rest is drift
    assert tags(world.secondary, repository) == ["gone", "v1", "v2"]
    assert {each.action for each in geo.attempts(repository)} <= {"keep"}
    assert geo.references(repository)["gone"].drift_since is not None
    assert drift(geo) == 1

    # And what is deleted from now on goes
    delete_digest(world.primary, repository, digests["v2"])
    geo.event("delete", repository, digest=digests["v2"])
    geo.settle()
    assert tags(world.secondary, repository) == ["gone", "v1"]


# --- storage and addresses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["tags", "mirror"])
def test_a_primary_with_emptied_storage_deletes_nothing(world: World, repository: str, policy: str) -> None:
    # Given replicated repositories, extras, and a primary whose storage is emptied
    geo = world.start(world.env(GEO_DELETION=policy))
    replicated(geo, world.primary, repository, "v1", "v2")
    replicated(geo, world.primary, f"{repository}/more", "v1")
    push(world.secondary, repository, "theirs", images.image())
    world.primary.stop()
    shutil.rmtree(world.primary.storage)
    world.primary.start()

    # When everything is looked at, more than once
    for _ in range(2):
        reconcile(geo)
        geo.retry(repository)

    # Then nothing is deleted, and each repository says what is wrong
    assert tags(world.secondary, repository) == ["theirs", "v1", "v2"]
    assert tags(world.secondary, f"{repository}/more") == ["v1"]
    for path in (repository, f"{repository}/more"):
        assert geo.row(path).state == SyncState.FAILED
        assert "nothing was deleted" in geo.failure(path)


def test_exchanged_addresses_are_refused(world: World, repository: str, caplog: pytest.LogCaptureFixture) -> None:
    # Given a deployment, and a primary that is ahead: one tag newer, one not there yet, one gone
    geo = world.start()
    digests = replicated(geo, world.primary, repository, "v1", "latest", "gone")
    newer = push(world.primary, repository, "latest", images.image())
    push(world.primary, repository, "new", images.image())
    delete_digest(world.secondary, repository, digests["gone"])

    # When it is started with the two addresses exchanged
    with pytest.raises(ExchangedRegistries, match="geo demote"):
        world.start(world.exchanged())

    # Or a worker is, beside it
    context = boot(Settings.from_env(world.exchanged()))
    world.stack.callback(database.database.obj.close_all)
    world.stack.callback(context.close)
    with connection():
        brake.release(Site.get_by_id(geo.site.id))
    with caplog.at_level(logging.ERROR):
        assert work.run_due(context) == 0
        assert work.run_row(geo.row(repository).id, context) is None
    with pytest.raises(NotApplied, match=world.primary.url):
        geo.row(repository).replicator.sync()

    # Then nothing has changed on the real primary, and all is said
    assert digest_of(world.primary, repository, "latest") == newer
    assert tags(world.primary, repository) == ["gone", "latest", "new", "v1"]
    assert world.primary.url in caplog.text


@pytest.mark.parametrize("policy", ["tags", "mirror"])
def test_a_promoted_secondary_takes_nothing_from_the_former_primary(world: World, repository: str, policy: str) -> None:
    # Given a secondary that really takes over, though the former primary has a tag more
    geo = world.start(world.env(GEO_DELETION=policy))
    digests = replicated(geo, world.primary, repository, "v1", "lost")
    push(world.primary, repository, "more", images.image())
    delete_digest(world.secondary, repository, digests["lost"])
    with connection():
        sites.promote(geo.site.name, geo.context.settings)

    # When it is started with the addresses exchanged
    geo = world.start(world.exchanged(GEO_DELETION=policy))
    fresh = push(world.secondary, repository, "fresh", images.image())
    reconcile(geo)

    # Then it replicates the other way round, and nothing that the former primary has is deleted
    assert digest_of(world.primary, repository, "fresh") == fresh
    assert tags(world.primary, repository) == ["fresh", "lost", "more", "v1"]
    assert "delete" not in {each.action for each in geo.attempts(repository) if each.outcome == "synced"}
    if policy == "tags":
        assert geo.row(repository).state == SyncState.SYNCED
        assert drift(geo) == 2
        return

    # A mirror waits for a person's word
    assert "release-deletions" in geo.failure(repository)
    brake.release(geo.fresh_site())
    geo.settle()
    geo.retry(repository)
    assert tags(world.primary, repository) == ["fresh", "v1"]


def test_another_registry_in_the_secondarys_place_is_not_ours(
    world: World, registry_factory: RegistryFactory, token_auth: TokenAuth, version: Version, repository: str
) -> None:
    # Given a replicated tag, and another registry that happens to hold it too
    geo = world.start()
    made = images.image()
    for registry in (world.primary, other := registry_factory("other", version=version, token=token_auth)):
        push(registry, repository, "v1", made)
    geo.event("push", repository, "v1", made.digest)
    geo.settle()
    walk = {"priority": 10, "started_at": geo.site.created_at, "updated_at": geo.site.created_at}
    with connection():
        CatalogWalk.insert(site=geo.site, **walk).execute()

    # When it takes the secondary's place, and the tag goes from the primary
    delete_digest(world.primary, repository, made.digest)
    world.secondary = other
    geo = world.start()
    geo.event("delete", repository, digest=made.digest)
    reconcile(geo)

    # Then nothing proves that it is ours there
    assert digest_of(other, repository, "v1") == made.digest
    assert drift(geo) == 1
