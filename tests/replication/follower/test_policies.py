"""The policies that the primary sets hold beside our own."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from app.database import connection
from app.replication import brake, sites
from app.replication.policy import Policy, TagPatterns
from app.replication.verification.governed import governed
from app.settings import Deletion, Settings, VerificationLevel
from tests.replication.follower.stage import SITE, environment, follower, nothing_asked, reading, reason
from tests.support.deployment import Deployment, offline_environment

pytestmark = pytest.mark.timeout(60)


def test_the_policies_that_the_primary_sets_hold_here(state: Deployment) -> None:
    # When the primary says what may be deleted, and how far is verified
    said: dict[str, Any] = {"deletion": Deletion.OFF, "protected": ("stable",), "verification": VerificationLevel.BLOBS}
    one, _ = follower(state, reading("p0"), reading("p0", **said), reading("p0", **said), reading("p0"))
    one.step()
    one.step()

    # Then that holds beside our own, a restart does not forget it, and what was kept is judged anew
    for _ in range(2):
        policy = Policy.of(state.fresh_site())
        assert policy == Policy(Deletion.TAGS, within=Policy(Deletion.OFF, TagPatterns(("stable",))))
        with connection():
            assert governed(state.context.settings).verification is VerificationLevel.BLOBS
        assert "what the primary lets be deleted" in reason(state)
        sites.apply_environment(state.context.settings)

    # And once is enough
    nothing_asked()
    one.step()
    assert reason(state) == ""

    # And when it says nothing of them any more, ours alone hold
    one.step()
    assert Policy.of(state.fresh_site()) == Policy(Deletion.TAGS)
    with connection():
        assert governed(state.context.settings) == state.context.settings


def test_a_level_of_ours_that_goes_deeper_stays(state: Deployment) -> None:
    one, _ = follower(state, reading("p0", verification=VerificationLevel.TAGS))
    one.step()
    with connection():
        assert governed(state.context.settings).verification is VerificationLevel.MANIFESTS
        off = dataclasses.replace(state.context.settings, verification=None)
        assert governed(off).verification is VerificationLevel.TAGS


def test_a_site_that_may_be_a_mirror_again_waits_for_a_person(database_url: str) -> None:
    # Given a mirror that the primary does not let be one
    state = Deployment.start(environment(database_url, GEO_DELETION="mirror"))
    try:
        assert state.fresh_site().deletions_held_because is not None
        one, _ = follower(state, reading("p0", deletion=Deletion.TAGS), reading("p0"))
        one.step()
        # Nobody has to release a mirror that is none.
        assert state.fresh_site().deletions_held_because is None
        sites.apply_environment(state.context.settings)
        assert (Policy.of(state.fresh_site()).most, state.fresh_site().deletions_held_because) == (Deletion.TAGS, None)

        # When the primary lets it, then nothing is deleted before somebody has looked once more
        one.step()
        assert Policy.of(state.fresh_site()).most is Deletion.MIRROR
        assert "lets it be a mirror from now on" in (state.fresh_site().deletions_held_because or "")

        # And a start changes nothing about that, nor holds it again once it is released
        brake.release(state.fresh_site())
        sites.apply_environment(state.context.settings)
        assert state.fresh_site().deletions_held_because is None
    finally:
        state.close()


def test_who_follows_nobody_any_more_is_a_mirror_only_after_a_person_s_word(database_url: str) -> None:
    env = offline_environment(database_url, GEO_SITE_NAME=SITE, GEO_DELETION="mirror")
    state = Deployment.start(environment(database_url, GEO_DELETION="mirror"))
    try:
        one, _ = follower(state, reading("p0", deletion=Deletion.OFF))
        one.step()
        brake.release(state.fresh_site())
        sites.apply_environment(Settings.from_env(env))
        assert Policy.of(state.fresh_site()) == Policy(Deletion.MIRROR)
        assert state.fresh_site().deletions_held_because is not None
    finally:
        state.close()
