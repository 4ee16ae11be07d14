"""What repositories a vendor's registry has, found in its own way."""

from __future__ import annotations

import pytest

from app.replication import backfill, work
from app.replication.catalog import NoCatalog
from tests.emulators.emulator import Emulator
from tests.emulators.gitlab import GitLab
from tests.providers.replication.conftest import Meet
from tests.providers.replication.vendors import VENDORS, Vendor, prepare
from tests.support import images
from tests.support.compare import assert_same
from tests.support.registries import DistributionRegistry
from tests.support.wire import push

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

#: Those that list no repositories.
NOT_LISTING = ("bundle-bar", "docker-hub", "gar", "ghcr")


def test_what_was_pushed_before_is_found(
    meet: Meet, distribution: DistributionRegistry, vendor: Vendor, theirs: Emulator, repository: str
) -> None:
    # Given a primary with repositories of which nothing was ever told
    if isinstance(theirs, GitLab):
        theirs.administrator = True
    theirs.features.page_size = 2
    names = [f"{repository}-{number}" for number in range(5)]
    for name in names:
        prepare(theirs, name)
        push(theirs, name, "v1", images.image())
    named = {"GEO_REPOSITORIES": " ".join(names)} if vendor.name in NOT_LISTING else {}
    settings = vendor.settings(theirs, "PRIMARY")
    geo = meet(theirs, distribution, {**settings, **named}).geo

    # When the catalog is walked, or what stands in for it where there is none
    assert backfill.mark_all(geo.fresh_site(), geo.context.repositories()) == len(names)
    work.run_due(geo.context)

    # Then all of them arrive
    for name in names:
        assert_same(theirs, distribution, name, "v1")


@pytest.mark.parametrize("vendor", [VENDORS[name] for name in NOT_LISTING], ids=NOT_LISTING)
def test_who_lists_nothing_says_so(
    meet: Meet, distribution: DistributionRegistry, vendor: Vendor, theirs: Emulator
) -> None:
    geo = meet(theirs, distribution, vendor.settings(theirs, "PRIMARY")).geo
    with pytest.raises(NoCatalog, match="GEO_REPOSITORIES"):
        backfill.mark_all(geo.fresh_site(), geo.context.repositories())
    assert theirs.count("_catalog") == 0
