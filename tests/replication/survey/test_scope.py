"""Of which repositories a plan is made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.database import connection
from app.models import Site
from app.replication import survey
from app.replication.catalog import NoCatalog
from app.replication.replicator import UnknownRepository
from tests.replication.conftest import Proxied
from tests.support.deployment import Deployment, event

pytestmark = [pytest.mark.long, pytest.mark.timeout(90)]


def test_names_that_are_none_are_all_said_at_once(geo: Deployment) -> None:
    site = geo.fresh_site()
    with pytest.raises(UnknownRepository, match=r"'Team/App', 'team/app:v1'"):
        survey.named(site, ["team/app", "Team/App", "team/app:v1"])
    with connection():
        Site.update(repositories="team/**\n!team/secret").where(Site.id == site.id).execute()
    with pytest.raises(UnknownRepository, match=r"other/app, team/secret: outside"):
        survey.named(geo.fresh_site(), ["team/app", "other/app", "team/secret"])
    assert survey.named(geo.fresh_site(), ["team/b", "team/a/", "team/b"]) == ["team/a", "team/b"]


class Catalog:
    def __init__(self, *paths: str, error: Exception | None = None) -> None:
        self.paths = paths
        self.error = error

    def list_repositories(self) -> Iterator[str]:
        yield from self.paths
        if self.error is not None:
            raise self.error


def test_the_scope_is_found_as_a_backfill_finds_it(state: Deployment) -> None:
    # Given a repository that an event named, and a catalog
    state.store(event(repository="team/known", tag="v1"))
    with connection():
        Site.update(repositories="team/**\nextra\n!team/secret").where(Site.id == state.site.id).execute()
    site = state.fresh_site()
    assert survey.in_scope(site, Catalog("team/found", "team/secret", "other")) == [
        "extra",
        "team/found",
        "team/known",
    ]

    # When nothing but names is in scope, then nobody is asked for a catalog
    with connection():
        Site.update(repositories="team/known\nextra").where(Site.id == state.site.id).execute()
    assert survey.in_scope(state.fresh_site(), Catalog(error=AssertionError())) == ["extra", "team/known"]


def test_without_a_catalog_what_is_known_is_planned(proxied: Proxied) -> None:
    geo, before_primary, _ = proxied
    before_primary.rule("_catalog", status=405)
    with pytest.raises(NoCatalog, match="GEO_REPOSITORIES"):
        survey.in_scope(geo.fresh_site(), geo.context.primary)
    geo.store(event(repository="team/known", tag="v1"))
    assert survey.in_scope(geo.fresh_site(), geo.context.primary) == ["team/known"]
