"""`geo demote` between real registries: the plan, what it saves, and the way on."""

from __future__ import annotations

import json

import pytest

from app.models import Site
from tests.cli.conftest import Geo, stored
from tests.support import images
from tests.support.registries import DistributionRegistry
from tests.support.wire import digest_of, push, tags

#: SQLite alone: what differs between databases is tested with the replication.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_former_primary_comes_back(
    wired: Geo, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given a failover, with a tag that only the former primary has, and one that differs
    push(primary, "team/app", "v1", images.image())
    assert wired("sync", "team/app").exit_code == 0
    lost = push(primary, "team/app", "v1", images.image())
    push(primary, "team/app", "v2", images.image())
    assert wired("promote", "--yes", "--accept-loss").exit_code == 0

    # When it is said with the environment of before, then the new primary is left alone
    early = wired("demote", "--yes")
    assert early.exit_code != 0
    assert f"{secondary.url} has taken over and is the primary" in early.output
    assert len(tags(secondary, "team/app")) == 1
    wired.env |= {"GEO_ROLE": "primary", "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": secondary.url}
    assert wired("migrate").exit_code == 0

    # When nothing says which registry it is, then the lines are told
    bare = wired("demote")
    assert bare.exit_code == 2
    assert f"GEO_SECONDARY_REGISTRY_URL={primary.url}" in bare.output

    # With them it may not be started as it is
    wired.env |= {"GEO_ROLE": "both", "GEO_SECONDARY_REGISTRY_URL": primary.url}
    started = wired("migrate")
    assert (started.exit_code, "geo demote" in started.output) == (2, True)

    # And the plan is told first, and changes nothing
    saved = f"v1.rescued-{lost[7:19]}"
    for arguments in (["--dry-run"], []):
        told = wired("demote", *arguments)
        assert told.exit_code == (0 if arguments else 1)
        assert saved in told.stdout
        assert "team/app:v2" in told.stdout
    document = json.loads(wired("demote", "--json").stdout)
    assert (document["counts"]["lost"], document["counts"]["alone"], document["demoted"]) == (1, 1, False)
    assert tags(primary, "team/app") == ["v1", "v2"]

    # When it is demoted, then what would be lost is saved, and it may be started
    done = wired("demote", "--yes")
    assert done.exit_code == 0, done.output
    assert f"geo sites release-deletions {document['site']}" in done.stdout
    assert digest_of(primary, "team/app", saved) == lost
    assert wired("migrate").exit_code == 0
    assert wired("sync", "team/app").exit_code == 0
    assert digest_of(primary, "team/app", "v1") == digest_of(secondary, "team/app", "v1")
    assert tags(primary, "team/app") == ["v1", saved, "v2"]
    with stored():
        site = Site.get(~Site.primary)
        assert (site.given_up_at, site.retired) == (None, False)
    assert "has become its primary" in wired("sites").stdout
