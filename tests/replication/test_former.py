"""A former primary is overwritten by nothing that an environment says, before it was compared."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from app.database import connection, now
from app.models import ContainerRepository, Handover, Reference, Site, SyncState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import former, remote_sites, sites
from app.replication.remote_sites import Change, Declaration, InvalidSite
from app.replication.sites import Compared, ExchangedRegistries, NotDemoted
from app.settings import Settings
from tests.support.deployment import Deployment, offline_environment

#: The primary and the secondary of `state`, and addresses that nobody has told of before.
A, B, C, D = "http://127.0.0.1:9", "http://127.0.0.1:10", "http://c.example", "http://d.example"


def settings(primary: str, secondary: str | None, name: str = "secondary") -> Settings:
    env = offline_environment("sqlite:///unused/geo.db", GEO_SITE_NAME=name)
    env["GEO_REGISTRY_REPLICATION_PRIMARY_API_URL"] = primary
    if secondary is None:
        env["GEO_ROLE"] = "primary"
        del env["GEO_SECONDARY_REGISTRY_URL"]
    else:
        env["GEO_SECONDARY_REGISTRY_URL"] = secondary
    return Settings.from_env(env)


def start(primary: str, secondary: str | None, name: str = "secondary") -> Site | None:
    return sites.apply_environment(settings(primary, secondary, name))


def demote(primary: str, secondary: str, name: str = "secondary") -> Site:
    site = sites.apply_environment(settings(primary, secondary, name), compared=Compared(secondary, "compared"))
    assert site is not None
    return site


def remembered() -> dict[str, bool]:
    """By address, whether any other unknown one is refused because of it."""
    with connection():
        return {each.url: not each.readdressed for each in Site.select().where(Site.given_up_at.is_null(False))}


def replicated(site: Site, tag: str) -> None:
    """Both have had this tag."""
    with connection():
        instant, digest = now(), f"sha256:{'a' * 64}"
        repository = ContainerRepository.create(path="team/app", created_at=instant)
        row = Registry.create(
            site=site, container_repository=repository, state=SyncState.SYNCED, in_scope=True, created_at=instant
        )
        digests = {"desired_digest": digest, "observed_digest": digest}
        Reference.create(
            registry=row, name=tag, is_tag=True, state=SyncState.SYNCED, in_scope=True, created_at=instant, **digests
        )


def refused(match: str = "geo demote") -> AbstractContextManager[object]:
    return pytest.raises(NotDemoted, match=match)


@pytest.mark.parametrize("takeover", ["command", "environment"])
def test_demoting_another_registry_leaves_the_former_primary_remembered(state: Deployment, takeover: str) -> None:
    # Given a failover, and a third registry that was compared in the former primary's absence
    replicated(state.site, "v1")
    if takeover == "command":
        sites.promote("secondary", settings(A, B, state.site.name), give_up=True)
    start(B, None)
    with refused():
        start(B, C)
    assert demote(B, C).url == C

    # Then that is a secondary from then on
    site = start(B, C)
    assert site is not None
    assert site.url == C

    # And the former primary is refused, in whose place ever, with what both had
    for name in ("secondary", "old"):
        with refused(A):
            start(B, A, name)
    assert remembered() == {A: True}
    with connection():
        given_up = former.given_up(A)
        assert given_up is not None
        kept = Handover.select().join(Registry).where(Registry.site == given_up)
        assert [row.name for row in kept] == ["v1"]

    # Until it is compared itself
    assert demote(B, A, "old").url == A
    assert start(B, A, "old") is not None
    assert remembered() == {}


def test_a_takeover_by_the_environment_alone_is_one(state: Deployment) -> None:
    # Given a deployment whose secondary becomes the primary, without a word to it
    replicated(state.site, "v1")
    assert start(B, None) is None

    # Then the former primary is taken back under no address before it was compared
    for url in (A, C):
        with refused("geo demote"):
            start(B, url)
    with connection():
        assert [row.name for row in Handover.select()] == ["v1"]
        assert {each.observed_digest for each in Reference.select()} == {None}
    assert demote(B, A).url == A
    assert start(B, A) is not None


def test_a_takeover_in_one_step_with_another_name_of_the_former_primary_is_refused(state: Deployment) -> None:
    # When the secondary is to be the primary, and something unknown the secondary, at once
    with refused():
        start(B, C)

    # Then nothing was changed
    with connection():
        assert {each.url: each.primary for each in Site.select()} == {A: True, B: False}
    assert remembered() == {}


def test_a_takeover_by_a_remote_sites_registry_is_one(state: Deployment) -> None:
    # Given the deployment of the primary alone, which a remote site follows
    with connection():
        Site.update(remote=True, name="berlin").where(~Site.primary).execute()

    # When its registry becomes the primary here
    start(B, None)

    # Then any secondary is refused, and the site's row is what it was
    assert remembered() == {A: True}
    with refused():
        start(B, C)
    with connection():
        assert Site.get(Site.name == "berlin").url == B


def test_a_primary_that_merely_moved_keeps_its_secondaries(state: Deployment) -> None:
    # When the primary gets another address, then the secondary goes on, and may move too
    for primary, secondary in ((C, B), (C, D), (C, B)):
        site = start(primary, secondary)
        assert site is not None
        assert site.id == state.site.id

    # And only what the former address leads to is no secondary before somebody has looked
    assert remembered() == {A: False}
    with refused("If it still leads to the primary"):
        start(C, A)
    assert demote(C, A).url == A
    assert start(C, A) is not None
    assert remembered() == {}


def test_a_primary_that_moves_to_and_fro_leaves_one_row_for_each_address(state: Deployment) -> None:
    for primary in (C, A, C, D, A):
        assert start(primary, B) is not None
    assert remembered() == {C: False, D: False}
    with connection():
        assert Site.select().count() == 4


def test_who_is_the_primary_again_is_remembered_no_more_but_the_other_is(state: Deployment) -> None:
    # Given a takeover that is taken back by the environment
    replicated(state.site, "v1")
    start(B, None)
    start(A, None)

    # Then it is the other one that may hold what nobody else has
    assert remembered() == {B: True}
    with refused(B):
        start(A, B)
    with connection():
        assert [row.name for row in Handover.select()] == ["v1"]


def test_its_name_is_no_new_sites(state: Deployment) -> None:
    # Given a former primary, remembered under the name that the secondary had
    replicated(state.site, "v1")
    start(B, None)

    # When a site is added under that name, then it is refused, and nothing is forgotten
    with pytest.raises(InvalidSite, match="until `geo demote` has compared it"):
        remote_sites.apply([Change(None, Declaration(state.site.name))])
    assert remembered() == {A: True}
    with connection():
        assert [row.name for row in Handover.select()] == ["v1"]

    # But under another one it is not
    remote_sites.apply([Change(None, Declaration("berlin"))])


@pytest.mark.parametrize("applied", [True, False])
def test_the_environment_of_before_is_refused_after_a_takeover(state: Deployment, applied: bool) -> None:
    # Given a promotion, after which the environment was changed, or not
    sites.promote("secondary", settings(A, B, state.site.name), give_up=True)
    if applied:
        start(B, None)

    # When the environment is that of before, then it is told, and the former primary stays remembered
    with pytest.raises(ExchangedRegistries, match="`geo promote` shows again"):
        start(A, B)
    assert remembered() == {A: True}


def test_an_exchange_that_fails_is_undone(state: Deployment) -> None:
    # Given a name that is a remote site's
    with connection():
        instant = now()
        Site.create(name="berlin", url="", remote=True, created_at=instant, updated_at=instant)

    # When the former primary is to get it
    with pytest.raises(sites.NotOurs):
        demote(B, A, "berlin")

    # Then the primary is the one of before
    with connection():
        assert Site.get(Site.primary).url == A
        assert Site.get(Site.primary).promoted_at is None
    with pytest.raises(ExchangedRegistries):
        start(B, A)
