"""Demotions on real registries: nothing that the former primary alone holds is lost, nothing comes back silently."""

from __future__ import annotations

import pytest

from app.database import connection, now
from app.models import Site, SyncState
from app.replication.failover import demotion, promotion
from app.replication.failover.demotion import NotDemotable, StillPushedTo
from app.replication.failover.remains import DemotionPlan
from app.replication.sites import NotDemoted
from tests.replication.failover.conftest import Failover
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import event
from tests.support.wire import delete_digest, digest_of, push, retag, tags

PATH = "team/app"


def kinds(made: DemotionPlan, path: str = PATH) -> dict[str, str]:
    (repository,) = [each for each in made.repositories if each.path == path]
    assert repository.problem is None, repository.problem
    return {each.name: each.kind.value for each in repository.remains}


def promoted(failover: Failover, **extra: str) -> None:
    """Promote the secondary, and run with the environment in which the former primary is one."""
    made = promotion.plan(failover.geo.context, failover.geo.fresh_site(), compare=False)
    promotion.promote(made, failover.geo.context.settings)
    failover.boot(failover.exchanged(GEO_ROLE="primary"))
    failover.apply()
    failover.boot(failover.exchanged(**extra))


def diverged(failover: Failover, **extra: str) -> dict[str, str]:
    """A failover in which everything that can happen to a tag has happened; the digests of what was pushed."""
    digests = failover.push(PATH, "same", "latest", "moved", "both", "doomed", "unheard", "rolled")
    # In the last seconds of the former primary
    digests["lost"] = push(failover.old, PATH, "latest", images.index())
    digests["alone"] = push(failover.old, PATH, "alone", images.image())
    digests["here"] = push(failover.old, PATH, "both", images.image())
    digests["back"] = retag(failover.old, PATH, digests["same"], "rolled")
    digests["repository"] = push(failover.old, "team/late", "v1", images.image())
    delete_digest(failover.old, PATH, digests["unheard"])
    promoted(failover, **extra)
    # And since
    digests["there"] = push(failover.new, PATH, "both", images.image())
    digests["newer"] = push(failover.new, PATH, "moved", images.image())
    digests["fresh"] = push(failover.new, PATH, "fresh", images.image())
    delete_digest(failover.new, PATH, digests["doomed"])
    return digests


def test_the_plan_tells_everything_and_touches_nothing(failover: Failover) -> None:
    # Given a failover
    digests = diverged(failover)
    before = failover.held(failover.old, PATH), failover.held(failover.new, PATH)

    # When the return of the former primary is planned
    made = demotion.plan(failover.geo.context)

    # Then it says what becomes of each tag
    assert kinds(made) == {
        "latest": "lost",
        "both": "lost",
        "rolled": "lost",
        "alone": "alone",
        "doomed": "deleted",
        "unheard": "gone",
        "moved": "moved",
    }
    assert kinds(made, "team/late") == {"v1": "alone"}
    (app,) = [each for each in made.repositories if each.path == PATH]
    assert (app.equal, app.coming) == (1, 2)
    (lost,) = [each for each in app.remains if each.name == "latest"]
    assert lost.here == digests["lost"]
    assert made.since is not None
    assert made.unclear == 0

    # And that what is kept stands there under its name alone
    (warning,) = made.warnings
    assert "What is kept here (3 tags) is replaced, and not saved" in warning

    # And nothing has changed
    assert (failover.held(failover.old, PATH), failover.held(failover.new, PATH)) == before


@pytest.mark.parametrize("released", [pytest.param(False, marks=pytest.mark.long), True])
def test_nothing_is_lost_and_nothing_comes_back(failover: Failover, released: bool) -> None:
    # Given a failover
    digests = diverged(failover)
    on_new = failover.held(failover.new, PATH)

    # When the former primary is demoted, and everything is looked at
    site = demotion.demote(demotion.plan(failover.geo.context), failover.geo.context).site
    assert "has become its primary, and it holds 6 tags" in str(site.deletions_held_because)
    failover.apply()
    if released:
        failover.geo.site = site
        failover.release()
    failover.settle()

    # Then the new primary is as it was
    assert failover.held(failover.new, PATH) == on_new
    assert failover.primary() == failover.new.url

    # And the former one has all of it, and beside that what it alone had
    here = failover.held(failover.old, PATH)
    assert {name: here[name] for name in on_new} == on_new
    for name in on_new:
        assert_same(failover.new, failover.old, PATH, name)
    saved = {name: digest for name, digest in here.items() if ".rescued-" in name}
    assert set(saved.values()) == {digests["lost"], digests["here"], digests["back"]}
    extras = {"alone": digests["alone"], "doomed": digests["doomed"], **saved}
    assert {name: digest for name, digest in here.items() if name not in on_new} == extras
    assert digest_of(failover.old, "team/late", "v1") == digests["repository"]
    assert tags(failover.new, "team/late") == []
    assert failover.geo.row(PATH).state == SyncState.SYNCED

    # And it may be said again
    again = demotion.plan(failover.geo.context)
    assert {name: kind for name, kind in kinds(again).items() if kind != "deleted"} == dict.fromkeys(
        ["alone", *saved], "alone"
    )
    demotion.demote(again, failover.geo.context)
    failover.settle()
    assert failover.held(failover.old, PATH) == here


def test_what_was_deleted_since_goes_here_too_when_a_person_says_so_twice(failover_on_each: Failover) -> None:
    # Given a failover, after which something was deleted
    failover = failover_on_each
    digests = diverged(failover)

    # When that is to go on the former primary as well
    site = demotion.demote(demotion.plan(failover.geo.context), failover.geo.context, delete=True).site
    failover.apply()
    failover.settle()

    # Then it waits
    assert digest_of(failover.old, PATH, "doomed") == digests["doomed"]
    reference = failover.geo.reference(PATH, "doomed")
    assert reference is not None
    assert reference.failure_reason == "deletion_brake"

    # And goes when deletions are released, and nothing else does
    before = failover.held(failover.old, PATH)
    failover.geo.site = site
    failover.release()
    failover.geo.settle()
    failover.geo.retry(PATH)
    assert failover.held(failover.old, PATH) == {name: d for name, d in before.items() if name != "doomed"}


@pytest.mark.long
def test_what_comes_back_to_the_new_primary_is_not_deleted(failover: Failover) -> None:
    # Given something that was deleted since, and is to be deleted here too
    digests = diverged(failover)
    demotion.demote(demotion.plan(failover.geo.context), failover.geo.context, delete=True)
    failover.apply()

    # When it is pushed again before that
    fresh = push(failover.new, PATH, "doomed", images.image())
    failover.settle()
    failover.release()
    failover.settle()

    # Then it is there
    assert digest_of(failover.old, PATH, "doomed") == fresh != digests["doomed"]


def test_proofs_of_before_prove_nothing(failover: Failover) -> None:
    # Given a failover after which everything but one tag was deleted at the new primary
    digests = failover.push(PATH, "keep", "a", "b")
    promoted(failover)
    for name in ("a", "b"):
        delete_digest(failover.new, PATH, digests[name])
        failover.geo.store(event("delete", repository=PATH, digest=digests[name]))

    # When the former primary is demoted, deletions are released, and all is looked at, with events and without
    site = demotion.demote(demotion.plan(failover.geo.context), failover.geo.context).site
    failover.apply()
    failover.geo.site = site
    failover.release()
    failover.settle()
    failover.geo.store(event("delete", repository=PATH, digest=digests["a"]))
    failover.settle()

    # Then what we once put elsewhere is not ours here
    assert failover.held(failover.old, PATH) == digests


def test_what_is_equal_is_ours_from_then_on(failover: Failover) -> None:
    # Given a former primary that was demoted and found equal
    digests = failover.push(PATH, "keep", "later")
    promoted(failover)
    demotion.demote(demotion.plan(failover.geo.context), failover.geo.context)
    site = failover.apply()
    assert site is not None
    failover.settle()
    failover.geo.site = site
    failover.release()

    # When a tag is deleted after that, then here too
    delete_digest(failover.new, PATH, digests["later"])
    failover.geo.event("delete", PATH, digest=digests["later"])
    failover.geo.settle()
    assert failover.held(failover.old, PATH) == {"keep": digests["keep"]}


@pytest.mark.parametrize("said_before", [True, False])
def test_without_records_what_the_new_primary_lacks_is_saved(failover: Failover, said_before: bool) -> None:
    # Given a failover, and a deployment that knows nothing of it
    digests = failover.push(PATH, "same", "latest", "moved")
    lost = push(failover.old, PATH, "latest", images.image())
    if said_before:
        promoted(failover)
    newer = push(failover.new, PATH, "moved", images.image())
    with connection():
        Site.delete().execute()
    failover.boot(failover.exchanged())

    # When the former primary is demoted there
    made = demotion.plan(failover.geo.context)

    # Then what the new primary holds by its digest need not be saved, and all else is
    assert kinds(made) == {"latest": "lost", "moved": "moved"}
    demotion.demote(made, failover.geo.context)
    failover.settle()
    here = failover.held(failover.old, PATH)
    (saved,) = [name for name in here if ".rescued-" in name]
    assert here == {"same": digests["same"], "latest": digests["latest"], "moved": newer, saved: lost}


@pytest.mark.long
def test_an_exchange_that_nobody_promoted_is_made_good(failover: Failover) -> None:
    # Given a deployment whose two addresses are exchanged, and nothing was said before
    failover.push(PATH, "v1")
    lost = push(failover.old, PATH, "v1", images.image())
    failover.boot(failover.exchanged())

    # When the former primary is demoted
    demotion.demote(demotion.plan(failover.geo.context), failover.geo.context)

    # Then the roles are exchanged, and what it alone had is saved
    assert failover.primary() == failover.new.url
    failover.settle()
    assert lost in failover.held(failover.old, PATH).values()
    assert digest_of(failover.old, PATH, "v1") == digest_of(failover.new, PATH, "v1")


@pytest.mark.long
def test_it_goes_back_the_same_way(failover: Failover) -> None:
    # Given a failover and the return of the former primary
    failover.push(PATH, "v1")
    promoted(failover)
    demotion.demote(demotion.plan(failover.geo.context), failover.geo.context)
    failover.apply()
    failover.settle()
    fresh = push(failover.new, PATH, "v2", images.image())
    failover.settle()

    # When the primary fails over again, to where it was
    with connection():
        failover.geo.site = Site.get(~Site.primary & ~Site.retired)
    made = promotion.plan(failover.geo.context, failover.geo.site)
    assert made.losses == ()
    promotion.promote(made, failover.geo.context.settings)
    failover.boot(failover.env())
    demotion.demote(demotion.plan(failover.geo.context), failover.geo.context)
    failover.settle()

    # Then all is as it was at first
    assert failover.primary() == failover.old.url
    assert failover.held(failover.old, PATH) == failover.held(failover.new, PATH)
    assert digest_of(failover.old, PATH, "v2") == fresh


def test_a_registry_that_is_still_pushed_to_is_not_demoted(failover: Failover) -> None:
    # Given a plan, and somebody who pushes after it
    digests = diverged(failover)
    made = demotion.plan(failover.geo.context)
    push(failover.old, PATH, "latest", images.image())

    # When it is carried out, then it is not, and nothing is replaced
    with pytest.raises(StillPushedTo, match="still pushes"):
        demotion.demote(made, failover.geo.context)
    assert digest_of(failover.old, PATH, "both") == digests["here"]
    with pytest.raises(Exception, match="geo demote"):
        failover.apply()


@pytest.mark.long
def test_a_registry_that_takes_nothing_is_not_demoted(failover: Failover) -> None:
    diverged(failover)
    made = demotion.plan(failover.geo.context)
    failover.old.stop()
    failover.old.readonly = True
    failover.old.start()
    with pytest.raises(NotDemotable, match="could not be saved"):
        demotion.demote(made, failover.geo.context)
    with pytest.raises(Exception, match="geo demote"):
        failover.apply()


@pytest.mark.parametrize("applied", [True, False])
def test_the_new_primary_is_not_demoted_with_the_environment_of_before(failover: Failover, applied: bool) -> None:
    # Given a promotion, and an environment that nobody has changed, or that was changed back
    failover.push(PATH, "v1")
    push(failover.old, PATH, "v1", images.image())
    promoted(failover)
    if not applied:
        with connection():
            Site.update(promoted_at=now()).where(Site.primary).execute()
    failover.boot(failover.env())
    before = failover.held(failover.new, PATH)

    # When it is demoted, planned anew or by a plan that there was, then it is refused
    made = DemotionPlan(failover.new.url, failover.old.url, "secondary", now())
    with pytest.raises(NotDemotable, match="has taken over and is the primary"):
        demotion.plan(failover.geo.context)
    with pytest.raises(NotDemotable, match="has taken over and is the primary"):
        demotion.demote(made, failover.geo.context)

    # And nothing was written to it, and the former primary is still to be compared
    assert failover.held(failover.new, PATH) == before
    failover.boot(failover.exchanged())
    with pytest.raises(NotDemoted, match="geo demote"):
        failover.apply()


@pytest.mark.parametrize("tag", ["same", "new", None])
def test_what_is_pushed_while_the_plan_is_read_is_seen(failover: Failover, tag: str | None) -> None:
    # Given a plan, after which somebody pushes to the former primary, or deletes there, what was in order
    digests = failover.push(PATH, "same", "gone")
    promoted(failover)
    made = demotion.plan(failover.geo.context)
    late = push(failover.old, PATH, tag, images.image()) if tag else None
    if late is None:
        delete_digest(failover.old, PATH, digests["gone"])
    # And to the new one, as everybody may
    push(failover.new, PATH, "fresh", images.image())
    before = failover.held(failover.old, PATH)

    # When it is carried out, then it is not
    with pytest.raises(StillPushedTo, match="still pushes"):
        demotion.demote(made, failover.geo.context)
    assert failover.held(failover.old, PATH) == before
    with pytest.raises(NotDemoted):
        failover.apply()

    # And planned again it is saved
    demotion.demote(demotion.plan(failover.geo.context), failover.geo.context)
    failover.settle()
    here = failover.held(failover.old, PATH)
    assert "fresh" in here
    assert late is None or late in here.values()


def test_one_that_does_not_answer_is_not_compared(failover: Failover) -> None:
    failover.push(PATH, "v1")
    promoted(failover)
    failover.old.stop()
    with pytest.raises(NotDemotable, match="the secondary registry of the environment cannot be used"):
        demotion.plan(failover.geo.context)


def test_what_lies_broken_is_told(failover: Failover) -> None:
    # Given a former primary whose storage lost a manifest, and one whose tag cannot be read
    failover.push(PATH, "v1")
    broken = push(failover.old, PATH, "broken", images.image())
    promoted(failover)
    failover.old.blob_path(broken).unlink()

    # Then that is said of it, and nothing else is kept from being seen
    found = kinds(demotion.plan(failover.geo.context))
    assert found["broken"] in {"broken", "unclear"}
    assert "v1" not in found


@pytest.mark.long
def test_a_mirror_is_warned_of(failover: Failover) -> None:
    diverged(failover, GEO_DELETION="mirror")
    made = demotion.plan(failover.geo.context)
    (warning,) = [each for each in made.warnings if "mirror" in each]
    assert ": 6 tags" in warning

    # And it takes nothing before a person says so
    demotion.demote(made, failover.geo.context)
    failover.settle()
    assert "alone" in failover.held(failover.old, PATH)


@pytest.mark.long
def test_what_is_not_replicated_stays(failover: Failover) -> None:
    digests = diverged(failover, GEO_TAGS="same", GEO_REPOSITORIES=PATH)
    made = demotion.plan(failover.geo.context)
    assert kinds(made) == dict.fromkeys(["latest", "both", "rolled"], "lost")
    assert made.out_of_scope == 1
    demotion.demote(made, failover.geo.context)
    failover.settle()
    assert digest_of(failover.old, PATH, "latest") == digests["lost"]


def test_what_is_not_replicated_is_not_lost_when_it_is_later(failover: Failover) -> None:
    # Given a failover to a site with less than everything, and what only the former primary had
    failover.push(PATH, "latest")
    lost = {
        "other/app": push(failover.old, "other/app", "latest", images.image()),
        PATH: push(failover.old, PATH, "nightly", images.image()),
    }
    promoted(failover, GEO_REPOSITORIES="team/*", GEO_TAGS="latest")
    push(failover.new, "other/app", "latest", images.image())
    push(failover.new, PATH, "nightly", images.image())

    # When it is demoted
    made = demotion.plan(failover.geo.context)
    assert (kinds(made), kinds(made, "other/app")) == ({"nightly": "lost"}, {"latest": "lost"})
    assert (made.out_of_scope, made.unclear, made.equal, made.coming) == (1, 0, 1, 0)
    demotion.demote(made, failover.geo.context)
    failover.settle()

    # Then it stays as it is, while it is not replicated
    assert digest_of(failover.old, "other/app", "latest") == lost["other/app"]

    # And is still there when the scope becomes wider
    failover.boot(failover.exchanged())
    failover.apply()
    failover.settle()
    for path, digest in lost.items():
        here = failover.held(failover.old, path)
        assert digest_of(failover.new, path, "latest") == here["latest"]
        assert digest in {each for name, each in here.items() if ".rescued-" in name}


@pytest.mark.long
def test_distribution_3_as_well(failover: Failover) -> None:
    for registry in (failover.old, failover.new):
        registry.stop()
        registry.version = "3"
        registry.start()
    digests = diverged(failover)
    demotion.demote(demotion.plan(failover.geo.context), failover.geo.context)
    failover.settle()
    here, there = failover.held(failover.old, PATH), failover.held(failover.new, PATH)
    assert {name: here[name] for name in there} == there
    assert {digests["lost"], digests["here"], digests["alone"]} <= set(here.values())
