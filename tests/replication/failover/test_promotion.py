"""Promotions: what is told before, and what holds after."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.database import connection, now
from app.models import Cursor, Handover, Reference, Site, SyncState
from app.replication import former
from app.replication.failover import missing, promotion
from app.replication.failover.missing import Kind
from app.replication.failover.promotion import NotPromotable, PromotionPlan
from app.replication.sites import ExchangedRegistries, NotApplied, NotDemoted
from tests.replication.failover.conftest import Failover
from tests.support import images
from tests.support.deployment import Deployment, event, offline_environment
from tests.support.wire import delete_digest, digest_of, push


def plan(failover: Failover, *, compare: bool = True) -> PromotionPlan:
    return promotion.plan(failover.geo.context, failover.geo.fresh_site(), compare=compare)


def named(made: PromotionPlan, kind: Kind) -> set[tuple[str, str | None]]:
    return {(each.repository, each.name) for found in made.findings if found.kind is kind for each in found.named}


def test_what_is_known_to_be_missing_is_told_without_the_primary(failover: Failover) -> None:
    # Given a secondary that has everything
    digests = failover.push("team/app", "v1", "gone", "same")
    failover.old.stop()
    made = plan(failover)
    assert made.losses == ()
    assert made.silent is not None
    assert "check that the registry runs" in made.silent
    failover.old.start()

    # When more is pushed and deleted, the events come, and then the primary is gone before anything of it is copied
    geo = failover.geo
    new = push(failover.old, "team/app", "v2", images.image())
    geo.store(event(tag="v2", digest=new), event("delete", digest=digests["gone"]), event(tag="same"))
    geo.store(event(tag="same", digest=digests["same"]))
    geo.mark()
    geo.store(event(repository="team/unread", tag="v1", digest=new))
    failover.old.stop()
    geo.retry("team/app")

    # Then what is lost is named, and what is the same is not
    made = plan(failover)
    assert named(made, Kind.UNSYNCED) == {("team/app", "v2")}
    assert named(made, Kind.UNDELETED) == {("team/app", "gone")}
    assert [each.count for each in made.findings if each.kind is Kind.UNREAD] == [1]
    assert {each.kind for each in made.losses} == {Kind.UNSYNCED, Kind.UNDELETED, Kind.UNREAD}
    assert not made.compared


def test_while_the_primary_answers_both_are_compared(failover: Failover) -> None:
    # Given a secondary that has everything, as far as anybody told, and a primary with more
    digests = failover.push("team/app", "v1", "v2", "gone")
    push(failover.old, "team/app", "v1", images.image())
    push(failover.old, "team/quiet", "v1", images.image())
    push(failover.new, "team/app", "theirs", images.image())
    delete_digest(failover.old, "team/app", digests["gone"])

    # Then all of it is found, though no event told of it
    made = plan(failover)
    assert made.compared
    assert made.silent is None
    assert named(made, Kind.UNSYNCED) == {("team/app", "v1"), ("team/quiet", "v1")}
    assert named(made, Kind.UNDELETED) == {("team/app", "gone")}
    assert named(made, Kind.DRIFT) == {("team/app", "theirs")}

    # And nothing of it where it is not compared
    assert plan(failover, compare=False).losses == ()

    # And once it is synced nothing would be lost
    failover.settle()
    assert plan(failover).losses == ()


def test_a_site_that_replicates_a_part_lacks_the_rest(failover: Failover) -> None:
    failover.push("team/app", "v1")
    failover.geo.close()
    failover.geo = Deployment.start(failover.env(GEO_REPOSITORIES="team/**", GEO_TAGS="v*"))
    made = plan(failover)
    (left_out,) = [each for each in made.losses if each.kind is Kind.OUT_OF_SCOPE]
    assert "repositories team/**; tags v*" in left_out.text


def test_a_secondary_that_does_not_answer_cannot_take_over(failover: Failover) -> None:
    failover.new.stop()
    with pytest.raises(NotPromotable, match="cannot be used"):
        plan(failover)


def test_the_former_primary_is_left_alone_until_it_is_demoted(failover: Failover) -> None:
    # Given a site, and an event that was not read
    digests = failover.push("team/app", "v1", "v2")
    failover.geo.store(event(tag="v3"))

    # When its registry is promoted
    promotion.promote(plan(failover, compare=False), failover.geo.context.settings)

    # Then it is the primary, and nothing proves anything of the former one, though what both had is kept to compare
    assert failover.primary() == failover.new.url
    assert {each.observed_digest for each in failover.geo.references("team/app").values()} == {None}
    with connection():
        kept = {row.name: row.digest for row in Handover.select()}
        assert kept == digests
        # And what was told of the former primary is not asked of the new one
        assert Cursor.select().count() == 0

    # And every secondary is refused, the former primary under another address too, and this process stands still
    with pytest.raises(ExchangedRegistries, match="`geo promote` shows again"):
        failover.apply()
    with pytest.raises(NotApplied):
        failover.geo.row("team/app").replicator.sync()
    for extra in ({}, {"GEO_SECONDARY_REGISTRY_URL": "http://elsewhere.example"}):
        failover.boot(failover.exchanged(**extra))
        with pytest.raises(NotDemoted, match="geo demote"):
            failover.apply()
        with pytest.raises(NotApplied):
            failover.geo.row("team/app").replicator.sync()

    # And a primary alone is taken
    failover.boot(failover.exchanged(GEO_ROLE="primary"))
    assert failover.apply() is None
    assert digest_of(failover.old, "team/app", "v1") == digests["v1"]


@pytest.mark.parametrize("held", [True, False])
def test_it_is_done_when_nobody_writes_for_the_former_primary_any_more(failover: Failover, held: bool) -> None:
    # Given a site, and a worker that has just taken a row of it, or none
    failover.push("team/app", "v1")
    failover.geo.store(event(tag="v1"))
    failover.geo.mark()
    if held:
        assert failover.geo.take() is not None
    row = failover.geo.row("team/app")
    told: list[float] = []
    times = [now()]

    # When it is promoted
    promotion.promote(
        plan(failover, compare=False),
        failover.geo.context.settings,
        told.append,
        clock=lambda: times[-1],
        sleep=lambda seconds: times.append(times[-1] + timedelta(seconds=seconds)),
    )

    # Then it is done once the lease is over, with which the last write is
    assert failover.primary() == failover.new.url
    if held:
        assert row.lease_expires_at is not None
        assert times[-1] >= row.lease_expires_at
        assert told == sorted(told, reverse=True) != []
    else:
        assert (told, len(times)) == ([], 1)

    # And so it is for who was interrupted in that, and says it again
    times[1:] = []
    again = promotion.promoted(failover.geo.context.settings)
    assert again is not None
    promotion.outlast(
        again,
        clock=lambda: times[-1],
        sleep=lambda seconds: times.append(times[-1] + timedelta(seconds=seconds)),
    )
    assert (len(times) > 1) == held
    assert again.held_until is None or times[-1] >= again.held_until


def test_a_plan_that_has_aged_is_not_carried_out(failover: Failover) -> None:
    failover.push("team/app", "v1")
    made = plan(failover)
    settings = failover.geo.context.settings
    promotion.promote(made, settings)
    with pytest.raises(NotApplied):
        promotion.promote(made, settings)
    again = promotion.promoted(settings)
    assert again is not None
    assert (again.former, again.successor) == (failover.old.url, failover.new.url)


def test_it_is_waited_for_what_is_missing(state: Deployment) -> None:
    # Given a tag that is not there yet
    state.store(event(tag="v1", digest=f"sha256:{'a' * 64}"))
    state.mark()
    told: list[int] = []
    with connection():
        Site.update(reconcile_started_at=now(), reconciled_at=now()).execute()

    # When time passes and nothing comes
    clock = iter(range(100))
    waited = promotion.wait(state.site, 2, told.append, clock=lambda: next(clock), sleep=lambda _: None)

    # Then that is said; and when it comes, that
    assert not waited
    assert told[-1] > 0
    with connection():
        same = {"state": SyncState.SYNCED, "observed_digest": Reference.desired_digest}
        Reference.update(**same).execute()
        row = state.row("team/app")
        type(row).update(state=SyncState.SYNCED, last_synced_at=now()).execute()
    assert promotion.wait(state.site, 0, told.append)
    assert told[-1] == 0


def test_what_a_look_at_everything_has_not_come_to_again_is_not_missing(state: Deployment) -> None:
    # Given a tag that is in order, and one that never came, both waiting for a look at everything
    state.store(event(tag="same", digest=f"sha256:{'a' * 64}"), event(tag="new", digest=f"sha256:{'b' * 64}"))
    state.mark()
    with connection():
        Reference.update(observed_digest=Reference.desired_digest).where(Reference.name == "same").execute()

        # Then the second alone is
        found = {each.kind: each for each in missing.known(state.fresh_site(), now())}
    assert [each.name for each in found[Kind.UNSYNCED].named] == ["new"]


def test_a_deployment_that_replicates_nothing_has_nothing_to_promote(state: Deployment) -> None:
    env = offline_environment("sqlite:///unused.db", GEO_ROLE="primary")
    settings = type(state.context.settings).from_env(env)
    assert promotion.promoted(settings) is None
    with connection():
        assert former.given_up() is None
