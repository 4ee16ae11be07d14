"""Finding repositories: by the primary's catalog, and by their names where it has none."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from app.database import connection
from app.models import Site
from app.registry import ServerError
from app.replication import backfill, survey
from app.replication.catalog import NoCatalog
from tests.support import images
from tests.support.deployment import Deployment, environment
from tests.support.keys import TokenAuth
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.sessions import at_work
from tests.support.wire import push, tags

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def alone(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, token_auth: TokenAuth, database_url: str
) -> Iterator[tuple[Deployment, DistributionRegistry, Proxy]]:
    """A deployment whose primary, and so its catalog, is its own."""
    primary = registry_factory("primary", token=token_auth)
    with Proxy(primary) as proxy:
        env = environment(primary, secondary, database_url)
        env["GEO_REGISTRY_REPLICATION_PRIMARY_API_URL"] = proxy.url
        geo = Deployment.start(env)
        yield geo, primary, proxy
        geo.close()


def test_a_backfill_finds_what_was_there_before(
    alone: tuple[Deployment, DistributionRegistry, Proxy], secondary: DistributionRegistry, repository: str
) -> None:
    # Given repositories on the primary that no event ever named, and a site that leaves one of them out
    geo, primary, _ = alone
    paths = [f"{repository}/{name}" for name in ("a", "b", "secret")]
    for path in paths:
        push(primary, path, "v1", images.image())
    with connection():
        Site.update(repositories=f"{repository}/**\n!{repository}/secret").where(Site.id == geo.site.id).execute()

    # When they are looked for
    assert backfill.mark_all(geo.fresh_site(), geo.context.primary) == 2

    # Then they are synced
    assert geo.settle() == 2
    assert [tags(secondary, path) for path in paths] == [["v1"], ["v1"], []]
    site = geo.fresh_site()
    assert (site.reconcile_requested_at, site.reconcile_reason) == (None, None)
    assert site.reconciled_at is not None


def test_a_catalog_that_breaks_off_leaves_the_backfill_owed(
    alone: tuple[Deployment, DistributionRegistry, Proxy], repository: str
) -> None:
    geo, primary, proxy = alone
    for name in "abc":
        push(primary, f"{repository}/{name}", "v1", images.image())
    page = json.dumps({"repositories": [f"{repository}/a"]}).encode()
    proxy.rule("_catalog", status=500)
    proxy.rule("_catalog", status=200, body=page, headers={"Link": '</v2/_catalog?last=a&n=1>; rel="next"'}, times=1)
    with pytest.raises(ServerError):
        backfill.mark_all(geo.fresh_site(), geo.context.primary)

    # What was found until then is marked; the request stands.
    assert geo.due() == 1
    assert geo.fresh_site().reconcile_requested_at is not None


def test_a_backfill_asked_for_during_a_backfill_stays_asked_for(
    alone: tuple[Deployment, DistributionRegistry, Proxy], repository: str
) -> None:
    # Given a backfill that is under way
    geo, primary, proxy = alone
    push(primary, repository, "v1", images.image())
    slow = proxy.rule("_catalog", delay=0.4)
    with at_work(lambda: backfill.mark_all(geo.fresh_site(), geo.context.primary), slow) as running:
        # When something asks for another
        backfill.request("events were lost")
        assert running.result(30) == 1

    # Then it is still due
    site = geo.fresh_site()
    assert site.reconcile_reason == "events were lost"
    assert site.reconcile_requested_at is not None


def test_without_a_catalog_the_repositories_named_are_taken(
    alone: tuple[Deployment, DistributionRegistry, Proxy], repository: str
) -> None:
    geo, primary, proxy = alone
    push(primary, repository, "v1", images.image())
    refused = json.dumps({"errors": [{"code": "UNSUPPORTED", "message": "no catalog"}]}).encode()
    proxy.rule("_catalog", status=405, body=refused)
    with pytest.raises(NoCatalog, match="GEO_REPOSITORIES") as raised:
        backfill.mark_all(geo.fresh_site(), geo.context.primary)
    assert "deletion" not in str(raised.value)
    with connection():
        Site.update(repositories=f"{repository}\nteam/**").where(Site.id == geo.site.id).execute()
    assert backfill.mark_all(geo.fresh_site(), geo.context.primary) == 1


def test_a_catalog_for_administrators_alone_is_told_with_the_way_round_it(
    alone: tuple[Deployment, DistributionRegistry, Proxy], repository: str
) -> None:
    # Given a primary that refuses its catalog with 401, and a repository that is known
    geo, primary, proxy = alone
    geo.event("push", repository, "v1", push(primary, repository, "v1", images.image()))
    geo.mark()
    proxy.rule("_catalog", status=401)

    # When everything is looked for, Then it may be our keys, or a right that we do not get
    with pytest.raises(NoCatalog, match=r"check issuer.*administrators alone.*GEO_REPOSITORIES"):
        backfill.mark_all(geo.fresh_site(), geo.context.primary)
    with pytest.raises(NoCatalog, match="GEO_REPOSITORIES"):
        survey.in_scope(geo.fresh_site(), geo.context.primary)
    assert geo.fresh_site().reconciled_at is None


def test_repositories_that_are_all_named_need_no_catalog(
    alone: tuple[Deployment, DistributionRegistry, Proxy], repository: str
) -> None:
    # Given a registry that refuses its catalog, and a list of repositories
    geo, primary, proxy = alone
    push(primary, repository, "v1", images.image())
    refused = proxy.rule("_catalog", status=401)
    with connection():
        Site.update(repositories=repository).where(Site.id == geo.site.id).execute()

    # When everything is looked for
    assert backfill.mark_all(geo.fresh_site(), geo.context.primary) == 1

    # Then nobody asked for the catalog, and the request is settled
    assert not refused.arrived.is_set()
    assert geo.fresh_site().reconcile_requested_at is None


@pytest.mark.parametrize("status", [404, 405])
def test_without_a_catalog_what_is_known_is_looked_at(
    alone: tuple[Deployment, DistributionRegistry, Proxy], repository: str, status: int
) -> None:
    geo, primary, proxy = alone
    proxy.rule("_catalog", status=status)

    # Given nothing to go by
    with pytest.raises(NoCatalog, match="GEO_REPOSITORIES"):
        backfill.mark_all(geo.fresh_site(), geo.context.primary)

    # When one repository is known
    digest = push(primary, repository, "v1", images.image())
    geo.event("push", repository, "v1", digest)
    geo.mark()

    # Then that is looked at
    assert backfill.mark_all(geo.fresh_site(), geo.context.primary) == 1
