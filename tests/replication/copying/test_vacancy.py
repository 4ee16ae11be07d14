"""A repository that the secondary does not know: nothing small is looked for there."""

from __future__ import annotations

import pytest

from app.models import SyncState
from app.replication import replicator
from app.replication.copying.vacancy import HOLDS_FOR, Vacancy
from tests.replication.conftest import Proxied
from tests.support import images
from tests.support.compare import assert_same
from tests.support.registries import DistributionRegistry
from tests.support.wire import push

pytestmark = pytest.mark.timeout(90)


def test_it_holds_for_a_while() -> None:
    # Given
    instant = 100.0
    vacancy = Vacancy(lambda: instant)
    assert not vacancy.holds()

    # When the secondary says that it knows no such repository
    vacancy.found()

    # Then that is believed until what was brought meanwhile may have been forgotten
    instant += HOLDS_FOR - 1
    assert vacancy.holds()
    instant += 1
    assert not vacancy.holds()


def test_where_the_secondary_knows_nothing_small_blobs_are_sent_unasked(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    # Given a repository that only the primary has
    geo, _, before_secondary = proxied
    image = images.image()
    push(primary, repository, "v1", image)
    push(primary, repository, "v2", image)

    # When it is synced in full
    before_secondary.clear()
    row = replicator.find(geo.fresh_site(), repository, geo.context.primary)
    assert row.replicator.sync().state == SyncState.SYNCED

    # Then it is there, and the secondary was asked for neither blob nor tag
    assert_same(primary, secondary, repository, "v1")
    assert_same(primary, secondary, repository, "v2")
    asked = {line.split(" ")[0] for line in before_secondary.requests if "/tags/list" not in line}
    assert asked == {"POST", "PUT"}

    # And the next time what is there is seen
    push(primary, repository, "v3", image)
    before_secondary.clear()
    assert geo.row(repository).replicator.sync().state == SyncState.SYNCED
    assert_same(primary, secondary, repository, "v3")
    assert [line for line in before_secondary.requests if line.startswith("POST")] == []
