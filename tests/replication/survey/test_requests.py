"""What a survey asks of the registries: as little as will do, nothing twice, and nothing but questions."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from app.registry import Anonymous, KeyToken, RegistryClient, SigningKey
from app.replication.copying.presence import LocalPresence
from app.replication.plan import Action
from app.replication.survey import Progress, Survey
from tests.replication.conftest import Proxied
from tests.replication.survey.plans import plan_of
from tests.support import images
from tests.support.deployment import Deployment, environment
from tests.support.keys import TokenAuth
from tests.support.noting import Noting
from tests.support.oci_registry import OciRegistry
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.replicated import replicated
from tests.support.schema1 import schema1
from tests.support.wire import delete_digest, push, retag

pytestmark = [pytest.mark.long, pytest.mark.timeout(90)]


@pytest.fixture
def looking(proxied: Proxied, token_auth: TokenAuth) -> Iterator[tuple[Deployment, Proxy, Proxy, Survey]]:
    """A survey whose clients may pull, on both sides, and nothing else."""
    geo, before_primary, before_secondary = proxied
    keys = token_auth.keys
    token = KeyToken(SigningKey.load(keys.key_path, keys.certificate_path), token_auth.issuer, token_auth.service)
    with (
        RegistryClient(before_primary.url, token, actions=("pull",)) as source,
        RegistryClient(before_secondary.url, token, actions=("pull",)) as destination,
    ):
        yield geo, before_primary, before_secondary, Survey(geo.fresh_site(), source, destination, LocalPresence())


def test_nothing_is_touched_and_nothing_is_asked_twice(
    looking: tuple[Deployment, Proxy, Proxy, Survey],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    # Given a repository with something of everything
    geo, before_primary, before_secondary, survey = looking
    digests = replicated(geo, primary, repository, "same", "moved", "gone")
    made = images.index()
    push(primary, repository, "v1", made)
    for number in range(2, 20):
        retag(primary, repository, "v1", f"v{number}")
    push(primary, repository, "moved", images.image())
    delete_digest(primary, repository, digests["gone"])
    push(secondary, repository, "theirs", images.image())
    before = {name: repr(row.__data__) for name, row in geo.references(repository).items()}
    before_primary.clear()
    before_secondary.clear()

    # When it is planned
    plan = survey.plan([repository]).repositories[0]

    # Then both registries saw nothing but GET and HEAD
    assert {tag.action for tag in plan.tags} == {Action.COPY, Action.MOVE, Action.DELETE, Action.DRIFT}
    assert plan.count(Action.COPY) == 19
    for proxy in (before_primary, before_secondary):
        assert {request.partition(" ")[0] for request in proxy.requests} == {"GET", "HEAD"}
        assert not re.search("uploads", " ".join(proxy.requests))
        # And no request twice
        assert len(set(proxy.requests)) == len(proxy.requests)
    # And each manifest of the nineteen tags was fetched once, each blob asked for once
    assert before_primary.count(f"GET .*manifests/{made.digest}") == 1
    assert before_primary.count("HEAD .*manifests/v") == 19
    assert before_secondary.count("HEAD .*manifests/v") == 0
    assert before_secondary.count("HEAD .*blobs/") == len({b.digest for part in made.walk() for b in part.blobs}) + 2
    # And no row was written
    assert {name: repr(row.__data__) for name, row in geo.references(repository).items()} == before


def test_a_repository_in_order_costs_two_listings_and_two_looks_a_tag(
    looking: tuple[Deployment, Proxy, Proxy, Survey], primary: DistributionRegistry, repository: str
) -> None:
    geo, before_primary, before_secondary, survey = looking
    replicated(geo, primary, repository, "v1", "v2", "v3")
    before_primary.clear()
    before_secondary.clear()
    told: list[Progress] = []
    assert survey.plan([repository], told.append).in_order
    assert len(before_secondary.requests) == 4
    # One more tells that the primary does not list what refers to a manifest.
    assert len(before_primary.requests) == 5
    assert before_primary.count("referrers/") == 1
    assert told[-1] == Progress(repositories=1, tags=3, tags_looked_at=3)


def test_docker_schema_1_does_not_say_how_large_its_layers_are(
    registry_factory: RegistryFactory, token_auth: TokenAuth, secondary: DistributionRegistry, database_url: str
) -> None:
    # Given an image of Docker's first format
    primary = registry_factory("schema1", token=token_auth, schema1=True)
    layer = images.layer(2000)
    push(primary, "team/old", "v1", schema1("team/old", "v1", [layer]))
    geo = Deployment.start(environment(primary, secondary, database_url))
    try:
        # Then they are asked for
        assert plan_of(geo, "team/old").to_copy.bytes == len(layer)
    finally:
        geo.close()


def test_what_a_plan_asks_comes_after_what_was_pushed(state: Deployment, repository: str) -> None:
    # Given two registries that note how they are asked
    primarys, secondarys = Noting(), Noting()
    with (
        OciRegistry() as one,
        OciRegistry() as two,
        RegistryClient(one.url, Anonymous(), limiter=primarys) as source,
        RegistryClient(two.url, Anonymous(), limiter=secondarys) as destination,
    ):
        push(one, repository, "v1", images.image())

        # When a repository is planned, Then all of it is asked as bulk
        plan = Survey(state.fresh_site(), source, destination, LocalPresence()).plan([repository])
    assert plan.count(Action.COPY) == 1
    for noting in (primarys, secondarys):
        assert noting.bulk
        assert all(noting.bulk)
