"""Secondaries that cannot be written, each for one reason; and one that is left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.replication.check import Id
from app.replication.check import secondary as secondary_check
from tests.chaos.disk import Disk
from tests.replication.check.conftest import Examine, only, troubles
from tests.support.keys import TokenAuth
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.wire import catalog

pytestmark = pytest.mark.timeout(60)


def test_all_is_well_and_nothing_is_left(
    primary: DistributionRegistry, registry_factory: RegistryFactory, token_auth: TokenAuth, examine: Examine
) -> None:
    # Given an empty secondary
    secondary = registry_factory("empty", token=token_auth)

    # When it is written to
    assert troubles(secondary_check.check(examine(primary, secondary))) == []

    # Then there is no blob and no repository, and of the upload only what 2.8 itself keeps until it purges old ones
    assert catalog(secondary) == []
    left = [path for path in secondary.storage.rglob("*") if path.is_file()]
    assert all("_uploads" in path.parts and "hashstates" in path.parts for path in left), left
    assert sum(path.stat().st_size for path in left) < 1024


def test_deletion_is_switched_off(
    primary: DistributionRegistry, registry_factory: RegistryFactory, token_auth: TokenAuth, examine: Examine
) -> None:
    # Given a secondary that does not delete
    secondary = registry_factory("kept", token=token_auth, delete=False)

    # When it is looked at
    found = only(secondary_check.check(examine(primary, secondary)))

    # Then the line is told, and it does not matter where nothing is to be deleted
    assert found.id is Id.DELETION_DISABLED
    assert found.fix.startswith("storage.delete.enabled: true")
    assert troubles(secondary_check.check(examine(primary, secondary, GEO_DELETION="off"))) == []


def test_it_is_read_only(
    primary: DistributionRegistry, registry_factory: RegistryFactory, token_auth: TokenAuth, examine: Examine
) -> None:
    # Given a secondary under maintenance
    secondary = registry_factory("still", token=token_auth, readonly=True)

    # When it is looked at, Then it is not taken for one that only does not delete
    found = only(secondary_check.check(examine(primary, secondary)))
    assert (found.id, found.fix) == (Id.SECONDARY_READ_ONLY, "storage.maintenance.readonly.enabled: false")


@pytest.mark.parametrize("room", [0, 64 * 1024])
def test_its_disk_is_full(
    room: int,
    primary: DistributionRegistry,
    registry_factory: RegistryFactory,
    token_auth: TokenAuth,
    tmp_path: Path,
    examine: Examine,
) -> None:
    # Given a secondary whose disk has nothing left, or next to nothing
    with Disk(tmp_path / "disk") as disk:
        storage = {"storage": {"filesystem": {"rootdirectory": str(disk.path)}}}
        secondary = registry_factory("full", token=token_auth, config=storage)
        examination = examine(primary, secondary)
        disk.fill(room)

        # When it is looked at
        full = only(secondary_check.check(examination))
        disk.clear()

        # Then that is told, and all is well once there is room
        assert full.id is Id.SECONDARY_FULL
        assert troubles(secondary_check.check(examination)) == []
        secondary.stop()


def test_we_may_not_push(primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine) -> None:
    # Given a proxy that lets us read only
    with Proxy(secondary) as proxy:
        denied = b'{"errors": [{"code": "DENIED", "message": "quota exceeded"}]}'
        proxy.rule("^(POST|PUT|PATCH) ", status=403, headers={"Content-Type": "application/json"}, body=denied)
        examination = examine(primary, secondary, GEO_SECONDARY_REGISTRY_URL=proxy.url)

        # When it is looked at, Then
        assert only(secondary_check.check(examination)).id is Id.SECONDARY_PUSH_DENIED


def test_an_upload_fails_half_way(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    with Proxy(secondary) as proxy:
        proxy.rule("^PATCH ", status=500, body=b"oops")
        examination = examine(primary, secondary, GEO_SECONDARY_REGISTRY_URL=proxy.url)
        assert only(secondary_check.check(examination)).id is Id.SECONDARY_WRITE_FAILS


def test_no_uploads_in_pieces(primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine) -> None:
    # Given a registry that begins uploads and takes them whole only
    with Proxy(secondary) as proxy:
        proxy.rule("^PATCH ", status=400)
        examination = examine(primary, secondary, GEO_SECONDARY_REGISTRY_URL=proxy.url)

        # When it is looked at, Then that is no trouble: nothing here needs pieces
        assert troubles(secondary_check.check(examination)) == []
