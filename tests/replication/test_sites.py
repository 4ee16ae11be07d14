from __future__ import annotations

import pytest

from app.database import connection
from app.models import Cursor, Site, SyncState
from app.replication import claim as claims
from app.replication import sites
from app.replication.sites import ExchangedRegistries, NotApplied, SameRegistry
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
    with pytest.raises(NotApplied, match="a retired one"):
        row.replicator.sync()


def test_what_may_be_deleted_is_applied_at_each_start_and_judged_anew(state: Deployment) -> None:
    def start(**extra: str) -> Site:
        with connection():
            Site.update(reconcile_requested_at=None, reconcile_reason=None).execute()
            sites.apply_environment(settings(GEO_SITE_NAME=state.site.name, **extra))
        return state.fresh_site()

    # Given a site as it was
    assert start().reconcile_requested_at is None

    # When tags are protected, or the policy is another, then what was judged is looked at again
    site = start(GEO_PROTECTED_TAGS="stable, regex:v[0-9]+")
    assert site.protected_tags.splitlines() == ["stable", "regex:v[0-9]+"]
    assert site.reconcile_requested_at is not None
    site = start(GEO_DELETION="mirror")
    assert (site.deletion, site.protected_tags) == ("mirror", "")
    assert "deleted" in str(site.reconcile_reason)


def test_the_former_primary_is_not_taken_for_a_secondary(state: Deployment) -> None:
    # Given a deployment from one registry to another, when the secondary is to be the primary of until now
    primary, secondary = "http://127.0.0.1:9", "http://127.0.0.1:10"
    for new_primary in (secondary, "http://127.0.0.1:11"):
        with connection(), pytest.raises(ExchangedRegistries, match=f"geo sites promote {state.site.name}"):
            sites.apply_environment(
                settings(
                    GEO_SITE_NAME=state.site.name,
                    GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=new_primary,
                    GEO_SECONDARY_REGISTRY_URL=f"{primary}/",
                )
            )

    # Then nothing was changed
    with connection():
        assert {site.name: site.url for site in Site.select()} == {"primary": primary, state.site.name: secondary}


def test_a_holder_loses_his_row_with_his_registry(state: Deployment) -> None:
    # Given a row that is being synced
    state.store(event(tag="v1"))
    state.mark()
    claim = claims.claim_next()
    assert claim is not None

    # When the registry is another one
    with connection():
        sites.apply_environment(
            settings(GEO_SITE_NAME=state.site.name, GEO_SECONDARY_REGISTRY_URL="http://other.example")
        )

    # Then he can write nothing more down, and the row waits for somebody
    assert claims.close(claim).state is None
    assert state.row("team/app").state == SyncState.PENDING
