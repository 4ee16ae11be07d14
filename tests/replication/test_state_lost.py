"""The state is lost, the registries are not: that costs a look at everything, and not one byte of a blob."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from app import database, migrate
from app.models import SyncState
from app.replication import backfill
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, environment
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.wire import delete_digest, push, tags

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

BLOB_READ, UPLOAD, MANIFEST = r"GET .*/blobs/", r"(POST|PATCH|PUT) .*/blobs/uploads", r"PUT .*/manifests/"


@pytest.fixture(params=["2.8", "3"])
def registries(
    request: pytest.FixtureRequest, registry_factory: RegistryFactory
) -> tuple[DistributionRegistry, DistributionRegistry]:
    """Two of a version, of their own: the whole catalog is looked at."""
    primary, secondary = (registry_factory(name, version=request.param) for name in ("lost-one", "lost-two"))
    return primary, secondary


def test_a_lost_state_costs_no_copy(
    registries: tuple[DistributionRegistry, DistributionRegistry], database_url: str
) -> None:
    # Given repositories of all kinds that were replicated: shared layers, an index, a signature, a digest without tag
    primary, secondary = registries
    base = images.layer(50_000)
    signed = images.image([base, images.layer(20_000)])
    pushed = [("team/app", f"v{number}", images.image([base, images.layer(20_000)])) for number in range(5)]
    pushed += [("team/app", "signed", signed), ("team/tool", "multi", images.index())]
    pushed += [("team/app", f"{signed.digest.replace(':', '-')}.sig", images.artifact())]
    pushed += [(f"team/other{number}", "v1", images.image([base])) for number in range(3)]
    with ExitStack() as stack:
        before_primary, before_secondary = (stack.enter_context(Proxy(each)) for each in registries)
        env = environment(primary, secondary, database_url)
        env["GEO_REGISTRY_REPLICATION_PRIMARY_API_URL"] = before_primary.url
        env["GEO_SECONDARY_REGISTRY_URL"] = before_secondary.url
        first = Deployment.start(env)
        try:
            for repository, tag, image in pushed:
                first.event("push", repository, tag, push(primary, repository, tag, image))
            first.settle()
        finally:
            first.close()
        assert before_secondary.count(UPLOAD) > 0
        before_primary.clear()
        before_secondary.clear()

        # When all of the state is lost, and a new one is made
        _lose(database_url)
        geo = Deployment.start(env)
        stack.callback(geo.close)
        backfill.mark_all(geo.fresh_site(), geo.context.primary)
        geo.settle()

        # Then everything is known again, and nothing was read, uploaded or written for it
        for repository, tag, image in pushed:
            assert_same(primary, secondary, repository, tag)
            assert geo.references(repository)[tag].observed_digest == image.digest
            assert geo.row(repository).state == SyncState.SYNCED
        assert [before_primary.count(BLOB_READ), before_secondary.count(UPLOAD)] == [0, 0]
        assert before_secondary.count(MANIFEST) == 0

        # And what comes from now on is replicated as before, deletions too
        geo.event("push", "team/app", "new", push(primary, "team/app", "new", images.image([base, images.layer()])))
        _, doomed, image = pushed[0]
        delete_digest(primary, "team/app", image.digest)
        geo.event("delete", "team/app", digest=image.digest)
        geo.settle()
        assert_same(primary, secondary, "team/app", "new")
        assert doomed not in tags(secondary, "team/app")
        assert before_primary.count(BLOB_READ) == 2


def _lose(database_url: str) -> None:
    database.configure(database_url)
    migrate.go_to(migrate.ZERO)
    database.database.close_all()
