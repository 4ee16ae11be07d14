"""The environment names several sites: they come, go, and are verified and promoted one by one."""

from __future__ import annotations

import pytest

from app.database import connection
from app.models import Site, SyncState, VerificationState
from app.replication import backfill, sites
from app.replication.failover import promotion, steps
from app.replication.replicator import Replicator
from app.replication.sites import SameRegistry, SiteError
from app.replication.verification import work as verification
from tests.replication.several.lab import NAMES, Lab, row, site, work
from tests.support import images, wire
from tests.support.compare import assert_same
from tests.support.deployment import Deployment


def states() -> dict[str, bool]:
    """The sites, and whether each is retired."""
    with connection():
        return {each.name: each.retired for each in Site.select().where(~Site.primary)}


def filled(geo: Deployment, name: str) -> None:
    """Find the repositories of this site, and sync."""
    backfill.mark_all(site(name), geo.context.repositories())
    work(geo)


def test_a_site_that_is_added_is_filled_and_reads_no_blob_that_is_in_the_spool(lab: Lab) -> None:
    # Given a deployment with two sites that are in sync
    geo = lab.start("berlin", "tokyo")
    lab.pushed(geo, "team/app", "v1", images.image())
    work(geo)
    synced = row(geo, "berlin", "team/app").last_synced_at

    # When a third is added to the environment
    geo = lab.start()
    lab.before_primary.clear()
    assert site("eu-west").reconcile_requested_at is not None
    filled(geo, "eu-west")

    # Then it has everything, from the spool, and the others are as they were
    assert_same(lab.primary, lab.secondaries["eu-west"], "team/app", "v1")
    assert lab.before_primary.count("GET .*/blobs/") == 0
    assert row(geo, "berlin", "team/app").last_synced_at == synced


def test_a_site_that_is_taken_out_is_retired_and_the_others_go_on(lab: Lab) -> None:
    # Given three sites in sync
    geo = lab.start()
    lab.pushed(geo, "team/app", "v1", images.image())
    work(geo)

    # When the environment names two of them
    geo = lab.start("berlin", "tokyo")
    lab.pushed(geo, "team/app", "v2", images.image())
    work(geo)

    # Then the third keeps what it has, and gets nothing more
    assert states() == {"berlin": False, "eu-west": True, "tokyo": False}
    assert wire.tags(lab.secondaries["eu-west"], "team/app") == ["v1"]
    assert wire.tags(lab.secondaries["tokyo"], "team/app") == ["v1", "v2"]


def test_another_name_for_the_same_registry_keeps_its_state(lab: Lab) -> None:
    # Given two sites in sync
    geo = lab.start("berlin", "tokyo")
    lab.pushed(geo, "team/app", "v1", images.image())
    work(geo)
    known = row(geo, "tokyo", "team/app").id

    # When one of them has another name
    env = lab.environment("berlin", GEO_SECONDARY_REGISTRY_URL_OSAKA=lab.before["tokyo"].url)
    geo = lab.start_with(env | {"GEO_SITE_NAME": "berlin,osaka"})

    # Then it is the same site
    assert states() == {"berlin": False, "osaka": False}
    assert row(geo, "osaka", "team/app").id == known


def test_one_registry_is_no_two_sites(lab: Lab) -> None:
    # Given an environment with the same address twice
    env = lab.environment("berlin", "tokyo")
    env["GEO_SECONDARY_REGISTRY_URL_TOKYO"] = env["GEO_SECONDARY_REGISTRY_URL_BERLIN"]

    # When it is started
    with pytest.raises(SameRegistry) as raised:
        lab.start_with(env)

    # Then it is refused by both variables' names
    assert "GEO_SECONDARY_REGISTRY_URL_TOKYO" in str(raised.value)
    assert "GEO_SECONDARY_REGISTRY_URL" in str(raised.value)


def test_every_site_is_verified_and_repaired_by_itself(lab: Lab) -> None:
    # Given three sites in sync, one of which has lost a tag
    geo = lab.start()
    digest = lab.pushed(geo, "team/app", "v1", images.image())
    work(geo)
    verification.run_due(geo.context)
    wire.delete_digest(lab.secondaries["tokyo"], "team/app", digest)

    # When all are verified
    results = {name: Replicator(row(geo, name, "team/app").id).verify() for name in NAMES}

    # Then that one alone is broken
    assert {name: result.broken for name, result in results.items()} == {"berlin": 0, "eu-west": 0, "tokyo": 1}
    assert row(geo, "berlin", "team/app").verification_state == VerificationState.SUCCEEDED

    # And is repaired
    work(geo)
    assert_same(lab.primary, lab.secondaries["tokyo"], "team/app", "v1")


def test_a_sync_by_hand_goes_to_the_row_s_own_site(lab: Lab) -> None:
    # Given a push that nobody has synced
    geo = lab.start()
    lab.pushed(geo, "team/app", "v1", images.image())
    geo.mark()

    # When the last site's row is synced
    closed = Replicator(row(geo, "tokyo", "team/app").id).sync()

    # Then that site has it, and no other
    assert closed.state == SyncState.SYNCED
    assert {name: wire.catalog(each) for name, each in lab.secondaries.items()} == {
        "berlin": [],
        "eu-west": [],
        "tokyo": ["team/app"],
    }


def test_one_of_several_takes_over_and_the_others_follow_it(lab: Lab) -> None:
    # Given three sites in sync
    env = lab.environment(GEO_DELETION_TOKYO="off", GEO_SECONDARY_REGISTRY_MAX_CONNECTIONS_TOKYO="9")
    geo = lab.start_with(env)
    lab.pushed(geo, "team/app", "v1", images.image())
    work(geo)

    # When one of them is promoted
    plan = promotion.plan(geo.context, site("tokyo"))
    assert plan.losses == ()
    promotion.promote(plan, geo.context.settings)
    lines = steps.after_promotion(plan, geo.context.settings, env)[0].lines

    # Then the lines leave the others as secondaries, and nothing of it in the environment
    assert "GEO_SITE_NAME=berlin,eu-west" in lines
    assert "GEO_ROLE=both" in lines
    assert "GEO_PRIMARY_REGISTRY_MAX_CONNECTIONS=9" in lines
    assert "GEO_DELETION_TOKYO   (take it out)" in lines
    env = changed(env, lines)

    # And with these lines they get what is pushed to it
    geo = lab.start_with(env)
    digest = wire.push(lab.secondaries["tokyo"], "team/app", "v2", images.image())
    geo.event("push", "team/app", "v2", digest)
    work(geo)
    for name in ("berlin", "eu-west"):
        assert wire.digest_of(lab.secondaries[name], "team/app", "v2") == digest


def changed(env: dict[str, str], lines: tuple[str, ...]) -> dict[str, str]:
    """The environment after these lines."""
    after = dict(env)
    for line in lines:
        name, found, value = line.partition("=")
        if found:
            after[name] = value
        else:
            after.pop(line.partition(" ")[0])
    return after


def test_a_site_that_the_environment_does_not_name_is_named_as_such(lab: Lab) -> None:
    # Given a deployment of two sites
    geo = lab.start("berlin", "tokyo")

    # When a third is asked of
    with pytest.raises(SiteError) as raised:
        geo.context.at("eu-west")

    # Then those that there are are told
    assert "berlin, tokyo" in str(raised.value)
    sites.require_applied(geo.context.settings)
