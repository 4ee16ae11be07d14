"""What repositories there are, where a registry does not say it itself; and how it likes to be asked."""

from __future__ import annotations

import threading

import boto3
import pytest

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import backfill, survey
from app.replication.politeness import Politeness
from app.settings import Settings
from tests.replication.conftest import Deploy
from tests.support import images
from tests.support.deployment import offline_environment
from tests.support.oci_registry import OciRegistry
from tests.support.wire import push, tags

pytestmark = pytest.mark.timeout(90)


def test_a_primary_without_catalog_is_not_asked_for_it(deploy: Deploy, one: OciRegistry) -> None:
    # Given a primary that is known to list nothing, and the names of its repositories
    push(one, "team/app", "v1", images.image())
    with OciRegistry() as secondary:
        geo = deploy(one, secondary, GEO_PRIMARY_REGISTRY_PROVIDER="ghcr", GEO_REPOSITORIES="team/app team/*")

        # When it is backfilled
        backfill.mark_all(geo.site, geo.context.repositories())
        geo.settle()

        # Then by the names
        assert tags(secondary, "team/app") == ["v1"]
        assert one.count("_catalog") == 0


def test_a_primary_at_amazon_is_listed_by_its_control_plane(deploy: Deploy, one: OciRegistry, amazon: str) -> None:
    # Given repositories that Amazon's API knows
    theirs = boto3.session.Session().client("ecr")
    for name in ("listed/one", "listed/two"):
        theirs.create_repository(repositoryName=name)
        push(one, name, "v1", images.image())
    with OciRegistry() as secondary:
        geo = deploy(one, secondary, GEO_PRIMARY_REGISTRY_PROVIDER="ecr", GEO_REPOSITORIES="listed/*")

        # When a plan looks for them, and it is backfilled
        planned = survey.in_scope(geo.site, survey.Repositories(geo.context.registry_catalog()))
        backfill.mark_all(geo.site, geo.context.repositories())
        geo.settle()

        # Then all of them are there
        assert planned == ["listed/one", "listed/two"]
        with connection():
            assert Registry.select().count() == 2
        assert tags(secondary, "listed/one") == tags(secondary, "listed/two") == ["v1"]
        assert one.count("_catalog") == 0
    theirs.close()


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, (64, 0)),
        ({"PROVIDER": "docker-hub"}, (8, 20)),
        ({"PROVIDER": "docker-hub", "RATELIMIT_FLOOR": "0"}, (8, 0)),
        ({"PROVIDER": "docker-hub", "MAX_CONNECTIONS": "40", "RATELIMIT_FLOOR": "5"}, (40, 5)),
    ],
)
def test_a_provider_is_asked_as_it_likes_unless_it_is_set(env: dict[str, str], expected: tuple[int, int]) -> None:
    named = {f"GEO_SECONDARY_REGISTRY_{name}": value for name, value in env.items()}
    settings = Settings.from_env(offline_environment("sqlite:///none.db") | named)
    polite = Politeness(settings, None, threading.Event())
    assert settings.secondary is not None
    terms = polite.gate(settings.secondary)._terms
    assert (terms.maximum, terms.floor) == expected
