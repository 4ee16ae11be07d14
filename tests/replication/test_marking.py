"""Marking: what has to be looked at again is written down."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.database import connection, now
from app.models import Reference, SyncState
from app.replication import marking
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, event
from tests.support.registries import DistributionRegistry
from tests.support.wire import push

pytestmark = pytest.mark.timeout(90)


def test_failed_digests_of_a_synced_row_are_taken_up_again(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a row that is synced although a digest without a tag failed
    made = images.image()
    push(primary, repository, None, made)
    primary.blob_path(made.blobs[-1].digest).unlink()
    geo.store(event(repository=repository, digest=made.digest))
    geo.settle()
    assert geo.row(repository).state == SyncState.SYNCED
    assert marking.awaken_digests() == 0

    # When its time comes, and it can be had again
    primary.blob_path(made.blobs[-1].digest).write_bytes(made.blobs[-1].data)
    with connection():
        Reference.update(retry_at=now() - timedelta(seconds=1)).execute()
    assert marking.awaken_digests() == 1
    geo.settle()

    # Then it is copied
    assert_same(primary, secondary, repository, made.digest)
