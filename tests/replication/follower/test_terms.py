"""What the primary says of a site is heeded: pause, reconcile, scope and policies."""

from __future__ import annotations

from typing import Any

import pytest

from app.database import connection
from app.replication import capacity, sites
from app.replication.log import LogUnavailable
from app.replication.scope import Scope
from app.replication.tag_scope import TagScope
from app.settings import Settings
from tests.replication.follower.stage import environment, follower, nothing_asked, reading, reason, row, tags, told
from tests.support.deployment import Deployment

pytestmark = pytest.mark.timeout(60)


def test_a_reconcile_of_the_primary_is_one_here_once(state: Deployment) -> None:
    one, _ = follower(
        state,
        reading("p0", reconcile="t1"),
        reading("p0", reconcile="t1"),
        reading("p0", reconcile="t2"),
        reading("p0"),
    )
    one.step()
    nothing_asked()
    one.step()
    assert reason(state) == ""
    one.step()
    assert "the primary asked for it: a reason" in reason(state)


def test_a_site_is_paused_and_resumed_with_the_primary(state: Deployment) -> None:
    one, _ = follower(state, reading("p0"), reading("p0", paused=True), reading("p0", paused=True), reading("p0"))
    seen = []
    for _ in range(4):
        one.step()
        seen.append(state.fresh_site().enabled)
    assert seen == [True, False, False, True]


def test_the_scope_that_the_primary_sets_holds_here(state: Deployment) -> None:
    # When the primary limits the site
    limits: dict[str, Any] = {"repositories": ("team/**", "!team/secret"), "tags": ("v*",), "capacity": 3}
    one, _ = follower(state, reading("p0"), reading("p0", **limits))
    one.step()
    one.step()

    # Then it is limited, a restart does not forget it, and a reconcile settles what that left out
    for _ in range(2):
        site = state.fresh_site()
        assert [Scope.of(site).covers(path) for path in ("team/app", "team/secret", "other/app")] == [
            True,
            False,
            False,
        ]
        assert [TagScope.of(site).covers(tag) for tag in ("v1", "latest")] == [True, False]
        assert capacity.capacity_of(site) == 3
        assert "what the primary replicates" in reason(state)
        sites.apply_environment(state.context.settings)


def test_of_two_scopes_the_narrowest_holds(database_url: str) -> None:
    # Given a site with settings of its own
    env = environment(database_url) | {"GEO_REPOSITORIES": "team/* !team/big", "GEO_TAGS": "v* nightly"}
    env |= {"GEO_CONTAINER_REPOSITORIES_MAX_CAPACITY": "2"}
    state = Deployment.start(env)
    try:
        # When the primary limits it otherwise
        limits: dict[str, Any] = {"repositories": ("team/**", "!team/secret"), "capacity": 8}
        limits["tags"] = ("v1.*", "latest")
        one, _ = follower(state, reading("p0", **limits))
        one.step()

        # Then it holds what both let through, whichever says less
        site = state.fresh_site()
        paths = {"team/app": True, "team/big": False, "team/secret": False, "team/deep/app": False, "other/app": False}
        assert {path: Scope.of(site).covers(path) for path in paths} == paths
        tags = {"v1.2": True, "v2": False, "nightly": False, "latest": False}
        assert {tag: TagScope.of(site).covers(tag) for tag in tags} == tags
        with connection():
            assert capacity.limits() == {site.id: 2}

        # And a deployment that follows nobody any more is limited by nobody
        alone = {name: value for name, value in env.items() if name not in {"GEO_PRIMARY_URL", "GEO_SITE_TOKEN"}}
        sites.apply_environment(Settings.from_env(alone | {"GEO_ROLE": "both"}))
        assert Scope.of(state.fresh_site()).covers("team/secret")
    finally:
        state.close()


def test_a_capacity_alone_asks_for_no_reconcile(state: Deployment) -> None:
    one, _ = follower(state, reading("p0"), reading("p0", capacity=2))
    one.step()
    nothing_asked()
    one.step()
    assert (state.fresh_site().granted_capacity, reason(state)) == (2, "")


@pytest.mark.parametrize(
    "limits", [{"repositories": ("Team/App",)}, {"tags": ("semver:what",)}, {"protected": ("regex:(",)}]
)
def test_a_scope_that_cannot_be_read_changes_nothing_and_is_told(state: Deployment, limits: dict[str, Any]) -> None:
    one, _ = follower(state, reading("p0"), reading("p1", [told(7, "v1")], **limits))
    one.step()
    with pytest.raises(LogUnavailable, match="cannot read") as caught:
        one.step()
    assert caught.value.reason == "invalid_scope"
    assert (row().position, tags(), state.fresh_site().granted_repositories) == ("p0", [], "")


def test_a_token_of_another_site_is_not_used(state: Deployment) -> None:
    one, _ = follower(state, reading("p0", name="paris"))
    with pytest.raises(LogUnavailable, match="paris"):
        one.step()
    assert row().position is None
