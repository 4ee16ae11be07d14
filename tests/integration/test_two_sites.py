"""Two deployments on real registries: the primary's keeps the log, the site's own follows it over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import images
from tests.support.postgres import Postgres
from tests.support.two_sites import SITE, TwoSites
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = [pytest.mark.timeout(240)]


def test_a_site_without_any_key_of_the_primary_follows_it(tmp_path: Path) -> None:
    with TwoSites(tmp_path) as sites:
        # Given an image that was there before, and a site that is added and started
        push(sites.primary, "team/old", "v1", images.image())
        two = sites.follow(sites.add())

        # Then what was there before arrives by the backfill
        sites.arrives(two, "team/old", "v1")

        # When an image is pushed
        push(sites.primary, "team/app", "v1", images.image())

        # Then it arrives too, by its event
        sites.arrives(two, "team/app", "v1")
        assert "team/app" in two.geo("events")

        # And both deployments say how it is
        listed = {row["name"]: row for row in json.loads(sites.one.geo("sites", "--json"))}
        assert listed[SITE]["remote"] is True
        wait_until(lambda: "team/app" in two.geo("repositories", "--state", "synced"), message=lambda: two.log_text)
        metrics = sites.one.get("/metrics").text
        assert f'geo_pull_tokens_total{{outcome="granted",site="{SITE}"}}' in metrics
        assert f'geo_feed_requests_total{{outcome="events",site="{SITE}"}}' in metrics
