"""`geo promote` between real registries: the plan, the refusal, and the lines that lead on."""

from __future__ import annotations

import json

import pytest

from app.models import Site
from tests.cli.conftest import Geo, stored
from tests.support import images
from tests.support.registries import DistributionRegistry
from tests.support.wire import push

#: SQLite alone: what differs between databases is tested with the replication.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_loss_is_named_refused_and_accepted(
    wired: Geo, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given a secondary that lacks a tag
    push(primary, "team/app", "v1", images.image())
    assert wired("sync", "team/app").exit_code == 0
    push(primary, "team/app", "v2", images.image())

    # When it is to be promoted, then it is refused, and what would be lost is named
    refused = wired("promote", "--yes")
    assert refused.exit_code == 1
    assert "team/app:v2: no event named it" in refused.stdout
    assert "--accept-loss" in refused.stderr
    dry = wired("promote", "--dry-run")
    assert (dry.exit_code, "team/app:v2" in dry.stdout) == (1, True)
    document = json.loads(wired("promote", "--json").stdout)
    assert (document["loses"], document["promoted"], document["compared"]) == (True, False, True)
    with stored():
        assert Site.get(Site.primary).url == primary.url

    # And nothing happens without an answer
    assert wired("promote", "--accept-loss").exit_code == 1
    with stored():
        assert Site.get(Site.primary).url == primary.url

    # When the loss is accepted, then it is done, and the way on is told
    done = wired("promote", "--accept-loss", "--yes")
    assert done.exit_code == 0, done.output
    assert f"{secondary.url} is the primary from now on" in done.stdout
    for line in (
        "GEO_ROLE=primary",
        f"GEO_REGISTRY_REPLICATION_PRIMARY_API_URL={secondary.url}",
        "GEO_SECONDARY_REGISTRY_URL   (take it out)",
        "geo registry-config primary --webhook URL",
        f"GEO_SECONDARY_REGISTRY_URL={primary.url}",
        "geo demote",
    ):
        assert line in done.stdout

    # And again when it is asked for once more, and the environment of before is refused
    assert f"{secondary.url} is the primary since" in wired("promote").stdout
    assert json.loads(wired("promote", "--json").stdout)["promoted"] is True
    started = wired("migrate")
    assert (started.exit_code, "`geo promote` shows again" in started.output) == (2, True)


def test_what_is_in_order_is_promoted_without_more_words(
    wired: Geo, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given a secondary that has everything, which is waited for
    push(primary, "team/app", "v1", images.image())
    assert wired("sync", "team/app").exit_code == 0
    told = wired("promote", "--dry-run", "--wait", "0")
    assert told.exit_code == 0, told.output
    assert "Nothing is known that secondary lacks" in told.stdout

    # When it is promoted, then credentials move with it, and no secret is shown
    wired.env |= {"GEO_SECONDARY_REGISTRY_PASSWORD": "hush", "GEO_PRIMARY_REGISTRY_RATELIMIT_FLOOR": "3"}
    done = wired("promote", "secondary", "--yes")
    assert done.exit_code == 0, done.output
    assert "GEO_PRIMARY_REGISTRY_PASSWORD=what GEO_SECONDARY_REGISTRY_PASSWORD has been" in done.stdout
    assert "GEO_PRIMARY_REGISTRY_RATELIMIT_FLOOR   (take it out)" in done.stdout
    assert "GEO_SECONDARY_REGISTRY_RATELIMIT_FLOOR=3" in done.stdout
    assert "hush" not in done.output


def test_wrong_usage(geo: Geo) -> None:
    # The registry that should take over does not answer
    dead = geo("promote", "--yes")
    assert (dead.exit_code, "cannot be used" in dead.output) == (2, True)
    assert geo("promote", "nowhere", "--yes").exit_code == 2
    assert geo("sites", "add", "berlin").exit_code == 0
    remote = geo("promote", "berlin", "--yes")
    assert (remote.exit_code, "a deployment of its own" in remote.output) == (2, True)

    # A primary's deployment promotes nobody
    alone = geo("promote", GEO_ROLE="primary")
    assert (alone.exit_code, "promoted there" in alone.output) == (2, True)
