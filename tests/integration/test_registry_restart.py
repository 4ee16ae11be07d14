"""A registry that is killed with events in memory: they are lost, and what they told of arrives all the same."""

from __future__ import annotations

import pytest

from tests.integration.conftest import DeploymentFactory
from tests.support import images
from tests.support.compare import assert_same
from tests.support.registries import Version
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]


@pytest.mark.parametrize("version", ["2.8", "3"])
def test_what_a_killed_registry_had_not_told_yet_arrives(deploy: DeploymentFactory, version: Version) -> None:
    # Given a registry whose events have come
    pair = deploy(primary={"version": version})
    primary, secondary, geo = pair.primary, pair.secondary, pair.geo
    push(primary, "team/app", "v0", images.image())
    wait_until(lambda: digest_of(secondary, "team/app", "v0"), 40, lambda: geo.log_text)
    wait_until(lambda: "synced" in geo.geo("repositories"), 40, lambda: geo.log_text)

    # When more is pushed while nobody takes its events in, and it is killed with them
    geo.stop()
    push(primary, "team/app", "v1", images.image())
    push(primary, "team/new", "v1", images.image())
    wait_until(lambda: primary.pending_notifications() > 0)
    primary.kill()
    primary.start()
    assert primary.pending_notifications() == 0

    # Then they are lost
    geo.start()
    assert "v1" not in geo.geo("events")
    assert digest_of(secondary, "team/app", "v1") is None

    # And a push to the new process makes a reconcile due, which finds what they told of
    push(primary, "team/other", "v1", images.image())
    for repository in ("team/other", "team/app", "team/new"):
        wait_until(
            lambda name=repository: digest_of(secondary, name, "v1") == digest_of(primary, name, "v1"),  # type: ignore[misc]
            60,
            lambda: geo.log_text[-6000:],
        )
        assert_same(primary, secondary, repository, "v1")
    assert "a registry process is new" in geo.log_text
    assert "a reconcile is asked for" in geo.log_text
