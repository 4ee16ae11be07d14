from __future__ import annotations

import pytest

from app.database import connection
from app.models import Cursor, Site, SyncState
from app.replication import brake, closing, sites
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


def test_who_pauses_a_site_changes_its_row(state: Deployment) -> None:
    # Given
    before = state.fresh_site()

    # When it is paused, Then the row says so, and that it changed
    sites.enable(before, False)
    paused = state.fresh_site()
    assert (paused.enabled, paused.updated_at > before.updated_at) == (False, True)

    # And so when it goes on
    sites.enable(paused, True)
    again = state.fresh_site()
    assert (again.enabled, again.updated_at > paused.updated_at) == (True, True)


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


@pytest.mark.parametrize("known", [True, False])
def test_a_mirror_deletes_nothing_before_somebody_has_seen_it(state: Deployment, known: bool) -> None:
    def start(policy: str) -> str | None:
        with connection():
            sites.apply_environment(settings(GEO_SITE_NAME=state.site.name, GEO_DELETION=policy))
        return state.fresh_site().deletions_held_because if known else site().deletions_held_because

    def site() -> Site:
        with connection():
            found: Site = Site.get(~Site.primary)
            return found

    # Given a site that is none, or that is not known, since the database was lost
    if not known:
        with connection():
            Site.delete().execute()

    # When it becomes a mirror, then it is held, until it is released; and once is enough
    assert "it is a mirror from now on" in str(start("mirror"))
    brake.release(site())
    assert start("mirror") is None
    assert start("tags") is None
    assert "it is a mirror from now on" in str(start("mirror"))


@pytest.mark.parametrize("policy", ["tags", "tags+untagged", "mirror"])
def test_another_primary_deletes_nothing_before_a_person_says_so(state: Deployment, policy: str) -> None:
    # Given a site that deletes
    kept = {"GEO_SITE_NAME": state.site.name, "GEO_DELETION": policy}
    with connection():
        sites.apply_environment(settings(**kept))
    brake.release(state.fresh_site())

    # When the primary is another registry
    with connection():
        sites.apply_environment(settings(GEO_REGISTRY_REPLICATION_PRIMARY_API_URL="http://new.example", **kept))

    # Then what is missing there may come yet
    assert "http://127.0.0.1:9 to http://new.example" in str(state.fresh_site().deletions_held_because)
    brake.release(state.fresh_site())
    assert state.fresh_site().deletions_held_because is None


def test_a_mirror_is_told_beside_another_primary(state: Deployment) -> None:
    # Given a site that waits since its primary is another registry
    kept = {"GEO_SITE_NAME": state.site.name, "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": "http://new.example"}
    with connection():
        sites.apply_environment(settings(**kept))

    # When it becomes a mirror, then whoever releases it is told that too
    with connection():
        sites.apply_environment(settings(GEO_DELETION="mirror", **kept))
    told = str(state.fresh_site().deletions_held_because)
    assert "to http://new.example" in told
    assert "it is a mirror from now on" in told

    # And when it is none again, the other reason is left
    with connection():
        sites.apply_environment(settings(**kept))
    told = str(state.fresh_site().deletions_held_because)
    assert "to http://new.example" in told
    assert "mirror" not in told


@pytest.mark.parametrize("exchanged_first", [True, False])
@pytest.mark.parametrize("name", ["secondary", "renamed"])
def test_a_promotion_is_said_once_or_more_before_or_after_the_exchange(
    state: Deployment, name: str, exchanged_first: bool
) -> None:
    # Given a site that takes over, and the environment that is to come
    primary, secondary = "http://127.0.0.1:9", "http://127.0.0.1:10"
    coming = settings(
        GEO_SITE_NAME=name,
        GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=secondary,
        GEO_SECONDARY_REGISTRY_URL=primary,
    )
    said_with = coming if exchanged_first else settings(GEO_SITE_NAME=name)

    # When it is said more than once
    assert sites.promote(name, said_with)
    assert not sites.promote(name, said_with)

    # Then the environment of before is refused, and says what to do
    with connection(), pytest.raises(ExchangedRegistries, match="exchange the two addresses"):
        sites.apply_environment(settings(GEO_SITE_NAME=name))

    # And the one to come is taken, the site being what it was
    sites.apply_environment(coming)
    with connection():
        assert {site.name: site.url for site in Site.select()} == {"primary": secondary, name: primary}
        assert Site.get(Site.primary).promoted_at is None
        assert Site.get(~Site.primary).id == state.site.id

    # And it can be promoted back
    assert sites.promote(name, coming)
    with connection():
        assert Site.get(Site.primary).url == primary


def test_a_primary_without_a_site_gives_way_to_the_environments(state: Deployment) -> None:
    # Given the deployment of the primary alone, and a remote site whose registry takes over
    with connection():
        Site.update(remote=True, name="berlin").where(~Site.primary).execute()

    # When that is said with the environment of before, or of something else, then it says what to do
    env = offline_environment("sqlite:///unused/geo.db", GEO_ROLE="primary")
    del env["GEO_SECONDARY_REGISTRY_URL"]
    with pytest.raises(sites.SiteError, match="new addresses into the environment first"):
        sites.promote("secondary", Settings.from_env(env))
    with pytest.raises(sites.SiteError, match="no site munich"):
        sites.promote("munich", settings())

    # But with the one to come, the way is free for it
    coming = settings(
        GEO_SITE_NAME="us",
        GEO_REGISTRY_REPLICATION_PRIMARY_API_URL="http://127.0.0.1:10",
        GEO_SECONDARY_REGISTRY_URL="http://127.0.0.1:9",
    )
    with connection(), pytest.raises(ExchangedRegistries, match="`geo demote` shows"):
        sites.apply_environment(coming)
    assert sites.promote("us", coming)
    site = sites.apply_environment(coming)
    assert site is not None
    assert (site.name, site.url) == ("us", "http://127.0.0.1:9")


def test_the_former_primary_is_not_taken_for_a_secondary(state: Deployment) -> None:
    # Given a deployment from one registry to another, when the secondary is to be the primary of until now
    primary, secondary = "http://127.0.0.1:9", "http://127.0.0.1:10"
    for new_primary in (secondary, "http://127.0.0.1:11"):
        with connection(), pytest.raises(ExchangedRegistries, match="`geo demote` shows"):
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
    claim = state.take()
    assert claim is not None

    # When the registry is another one
    with connection():
        sites.apply_environment(
            settings(GEO_SITE_NAME=state.site.name, GEO_SECONDARY_REGISTRY_URL="http://other.example")
        )

    # Then he can write nothing more down, and the row waits for somebody
    assert closing.close(claim).state is None
    assert state.row("team/app").state == SyncState.PENDING
