from __future__ import annotations

import pytest

from app.database import connection
from app.models import Cursor, Site
from app.replication import sites
from app.replication.replicator import UnknownRepository
from app.replication.sites import SameRegistry
from app.settings import Settings
from tests.support.deployment import Deployment, event, offline_environment


def settings(**extra: str) -> Settings:
    return Settings.from_env(offline_environment("sqlite:///unused/geo.db", **extra))


def names() -> list[str]:
    return [site.name for site in sites.enabled_secondaries()]


def test_a_site_that_leaves_the_environment_is_retired_and_comes_back(state: Deployment) -> None:
    # Given a site, and another in its place
    first = state.site.name
    with connection():
        sites.apply_environment(settings(GEO_SITE_NAME="other", GEO_SECONDARY_REGISTRY_URL="http://other.example"))
        assert names() == ["other"]

        # When the first is named again
        sites.apply_environment(settings(GEO_SITE_NAME=first))

        # Then it acts again and looks at everything, and the other is retired
        assert names() == [first]
        assert Site.get(Site.name == "other").retired
        assert Site.get(Site.name == first).reconcile_requested_at is not None
        assert Cursor.select().count() == 2


def test_what_a_person_paused_stays_paused(state: Deployment) -> None:
    with connection():
        Site.update(enabled=False).where(Site.id == state.site.id).execute()
        sites.apply_environment(settings(GEO_SITE_NAME=state.site.name))
        assert names() == []


def test_a_new_name_for_the_same_registry_is_the_same_site(state: Deployment) -> None:
    with connection():
        sites.apply_environment(settings(GEO_SITE_NAME="renamed"))
        assert names() == ["renamed"]
        assert Site.get(Site.name == "renamed").id == state.site.id


def test_one_registry_cannot_be_both(state: Deployment) -> None:
    url = "http://primary.example:80/"
    with connection(), pytest.raises(SameRegistry):
        sites.apply_environment(
            settings(GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=url, GEO_SECONDARY_REGISTRY_URL="http://PRIMARY.example")
        )


def test_a_row_of_a_retired_site_is_not_waited_for(state: Deployment) -> None:
    # Given a row of a site that the environment no longer names
    state.store(event(tag="v1"))
    state.mark()
    row = state.row("team/app")
    with connection():
        sites.apply_environment(settings(GEO_SITE_NAME="other", GEO_SECONDARY_REGISTRY_URL="http://other.example"))

    # Then a person who syncs it is told so at once
    with pytest.raises(UnknownRepository, match="no longer names"):
        row.replicator.sync()
