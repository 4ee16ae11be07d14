"""Holds: what keeps deletions waiting is told whole, and ends one by one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.database import connection, transaction
from app.models import Site
from app.replication import brake, holds
from tests.support.deployment import Deployment, offline_environment

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def state(database_url: str) -> Iterator[Deployment]:
    deployment = Deployment.start(offline_environment(database_url))
    try:
        yield deployment
    finally:
        deployment.close()


def test_one_reason_does_not_hide_another(state: Deployment) -> None:
    # Given a site that is held because the primary is another one
    with transaction():
        holds.hold(~Site.primary, "the primary's address changed")

    # When it becomes a mirror as well, and both are said again
    with transaction():
        holds.hold_mirror(state.site, "it is a mirror from now on")
        holds.hold(~Site.primary, "the primary's address changed")
        holds.hold_mirror(state.site, "it is a mirror from now on")

    # Then whoever releases it is told both, once
    told = holds.told(state.fresh_site())
    assert told == f"the primary's address changed; it is a mirror from now on, and {holds.MIRROR}"
    with connection():
        assert Site.get(Site.primary).deletions_held_because is None
    brake.release(state.fresh_site())
    assert holds.told(state.fresh_site()) is None


def test_what_is_no_mirror_any_more_is_not_held_as_one(state: Deployment) -> None:
    # Given both
    with transaction():
        holds.hold_mirror(state.site, "it is a mirror from now on")
        holds.hold(~Site.primary, "the primary's address changed")

    # When it is no mirror, then the other holds
    with transaction():
        holds.lift_mirror(state.site)
    assert holds.told(state.fresh_site()) == "the primary's address changed"

    # And without that, nothing
    brake.release(state.fresh_site())
    with transaction():
        holds.hold_mirror(state.site, "it is a mirror from now on")
        holds.lift_mirror(state.site)
        holds.lift_mirror(state.site)
    assert holds.told(state.fresh_site()) is None
