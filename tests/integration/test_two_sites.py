"""Two deployments on real registries: the primary's keeps the log, the site's own follows it over HTTP."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import psycopg
import pytest

from app.embedded import EmbeddedValkey
from tests.support import images
from tests.support.postgres import Postgres
from tests.support.processes import Process
from tests.support.running import Running, processes_of
from tests.support.standby import Standby
from tests.support.two_sites import SITE, TwoSites, token_in
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = [pytest.mark.timeout(300)]


@pytest.mark.long
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
        assert listed[SITE]["report"]["url"] == sites.secondary.url
        assert follower(two)["report_failure"] is None
        wait_until(lambda: "team/app" in two.geo("repositories", "--state", "synced"), message=lambda: two.log_text)
        metrics = sites.one.get("/metrics").text
        assert f'geo_pull_tokens_total{{outcome="granted",site="{SITE}"}}' in metrics
        assert f'geo_feed_requests_total{{outcome="events",site="{SITE}"}}' in metrics


def follower(two: Running) -> dict[str, object]:
    """How the site's deployment follows, as it says itself."""
    found = json.loads(two.geo("status", "--json"))["sites"][0]["follower"]
    return dict(found or {})


@pytest.mark.long
def test_it_works_on_postgresql_and_distribution_3(tmp_path: Path, postgres: Postgres) -> None:
    with TwoSites(tmp_path, postgres.create_database(), postgres.create_database(), version="3") as sites:
        two = sites.follow(sites.add())
        for number in range(5):
            push(sites.primary, f"team/app{number}", "v1", images.index([images.image(), images.image()]))
        for number in range(5):
            sites.arrives(two, f"team/app{number}", "v1")


@pytest.mark.long
def test_a_site_gets_its_scope_and_nothing_else(tmp_path: Path) -> None:
    with TwoSites(tmp_path) as sites:
        # Given a site that replicates one group, and images inside and outside of it
        push(sites.primary, "other/old", "v1", images.image())
        push(sites.primary, "team/old", "v1", images.image())
        two = sites.follow(sites.add("--repository", "team/**"))
        push(sites.primary, "other/app", "v1", images.image())
        push(sites.primary, "team/app", "v1", images.image())

        # Then what is inside arrives, by backfill and by event
        sites.arrives(two, "team/old", "v1")
        sites.arrives(two, "team/app", "v1")

        # And nothing is known there of the rest
        known = two.geo("repositories") + two.geo("events")
        assert "team/app" in known
        assert "other/" not in known
        assert digest_of(sites.secondary, "other/app", "v1") is None

        # When its scope is widened at the primary
        sites.one.geo("sites", "edit", SITE, "--all-repositories")

        # Then the rest arrives by itself
        sites.arrives(two, "other/app", "v1", timeout=90)
        sites.arrives(two, "other/old", "v1")


@pytest.mark.long
def test_what_the_primary_lets_a_site_have_and_what_that_wants_hold_both(tmp_path: Path) -> None:
    with TwoSites(tmp_path) as sites:
        # Given tags, of which the primary lets a site have some, and its own settings want others
        for tag in ("v1", "v2", "stable", "nightly"):
            push(sites.primary, "team/app", tag, images.image())
        token = sites.add("-t", "v*", "-t", "stable", "--capacity", "3")
        two = sites.follow(token, GEO_TAGS="v1 stable nightly", GEO_CONTAINER_REPOSITORIES_MAX_CAPACITY="5")

        # Then what both name arrives, by the backfill as by events
        for tag in ("v1", "stable"):
            sites.arrives(two, "team/app", tag)
        wait_until(lambda: "team/app" in two.geo("repositories", "--state", "synced"), message=lambda: two.log_text)
        assert [digest_of(sites.secondary, "team/app", tag) for tag in ("v2", "nightly")] == [None, None]

        # And both deployments show both
        there = {row["name"]: row for row in json.loads(two.geo("sites", "--json"))}[SITE]
        assert (there["tags"], there["granted_tags"]) == (["v1", "stable", "nightly"], ["v*", "stable"])
        assert (there["capacity"], there["granted_capacity"]) == (5, 3)
        here = {row["name"]: row for row in json.loads(sites.one.geo("sites", "--json"))}[SITE]
        assert (here["tags"], here["capacity"]) == (["v*", "stable"], 3)
        assert (here["report"]["tags"], here["report"]["capacity"]) == (["v1", "stable", "nightly"], 5)

        # And when the primary lets it have more, that comes by itself, within what the site wants
        sites.one.geo("sites", "edit", SITE, "--all-tags")
        sites.arrives(two, "team/app", "nightly", timeout=90)
        assert digest_of(sites.secondary, "team/app", "v2") is None


@pytest.mark.long
def test_a_token_can_be_wrong_and_be_replaced(tmp_path: Path) -> None:
    with TwoSites(tmp_path) as sites:
        # Given a site that was started with a token that is none
        right = sites.add()
        two = sites.following("geosite_" + "x" * 43).start()
        try:
            wait_until(lambda: "token" in str(follower(two).get("failure")), message=lambda: two.log_text)
            push(sites.primary, "team/app", "v1", images.image())
        finally:
            two.stop()
        assert digest_of(sites.secondary, "team/app", "v1") is None

        # When it is started with the right one, all is well
        two.env["GEO_SITE_TOKEN"] = right
        with two:
            sites.arrives(two, "team/app", "v1")

            # And when that is revoked, it can neither read nor pull, and says so
            new = token_in(sites.one.geo("sites", "token", SITE, "--revoke"))
            push(sites.primary, "team/other", "v1", images.image())
            wait_until(lambda: "GEO_SITE_TOKEN" in str(follower(two).get("failure")), message=lambda: two.log_text)
            assert digest_of(sites.secondary, "team/other", "v1") is None

        # And with the new one it catches up
        two.env["GEO_SITE_TOKEN"] = new
        with two:
            sites.arrives(two, "team/other", "v1")


@pytest.mark.long
def test_a_site_that_was_away_catches_up_or_backfills(tmp_path: Path) -> None:
    with TwoSites(tmp_path) as sites:
        # Given a site that is away while much is pushed
        two = sites.following(sites.add())
        with two:
            push(sites.primary, "team/app", "v0", images.image())
            sites.arrives(two, "team/app", "v0")
        for number in range(1, 6):
            push(sites.primary, "team/app", f"v{number}", images.image())

        # When it comes back, it catches up by the log alone
        with two:
            for number in range(1, 6):
                sites.arrives(two, "team/app", f"v{number}")
            assert follower(two)["reset_reason"] is None

        # And when the log was pruned meanwhile, it says so and catches up by a backfill
        push(sites.primary, "team/app", "v6", images.image())
        push(sites.primary, "team/new", "v1", images.image())
        sites.one.geo(
            "console",
            "-c",
            "from datetime import timedelta as t; print(event_log.prune(t(seconds=-1), t(seconds=-1)))",
        )
        with two:
            sites.arrives(two, "team/app", "v6", timeout=60)
            sites.arrives(two, "team/new", "v1")
            assert "pruned" in str(follower(two)["reset_reason"])
            assert "pruned" in two.geo("status")


@pytest.mark.long
def test_a_transaction_that_stays_open_holds_nobody_up_and_is_not_lost(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.create_database()
    with TwoSites(tmp_path, url) as sites:
        two = sites.follow(sites.add())
        push(sites.primary, "team/app", "v0", images.image())
        sites.arrives(two, "team/app", "v0")

        # Given an event whose transaction does not end
        with psycopg.connect(url) as late:
            late.execute(
                "INSERT INTO geo_events (event_key, replicable_name, event_name, container_repository_id, action, tag,"
                " occurred_at, created_at) SELECT 'late', 'container_repository', 'updated', id, 'push', 'late',"
                " now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC' FROM container_repositories LIMIT 1"
            )

            # When others come after it, they arrive
            for number in range(1, 4):
                push(sites.primary, "team/app", f"v{number}", images.image())
                sites.arrives(two, "team/app", f"v{number}")
            assert "late" not in two.geo("events")
            late.commit()

        # Then it comes when it ends
        wait_until(lambda: "late" in two.geo("events"), message=lambda: two.log_text)


@pytest.mark.long
def test_another_scheduler_follows_when_one_is_killed(tmp_path: Path) -> None:
    with TwoSites(tmp_path) as sites:
        # Given two schedulers at the site
        two = sites.follow(sites.add())
        push(sites.primary, "team/app", "v0", images.image())
        sites.arrives(two, "team/app", "v0")
        # Where its socket is depends on how long the path is.
        env = {**two.env, "REDIS_URL": EmbeddedValkey(two.path / "var" / "valkey").url}
        spare = Process([sys.executable, "-m", "app", "scheduler"], log=tmp_path / "spare.log", env=env, cwd=two.path)
        with spare.start():
            # When the one that follows is killed, and killed again when it is back
            for number in range(1, 3):
                os.kill(_scheduler_of(two.path, but=spare.pid), signal.SIGKILL)
                push(sites.primary, "team/app", f"v{number}", images.image())

                # Then what is pushed arrives within the life of its lease, once
                sites.arrives(two, "team/app", f"v{number}", timeout=90)
        tags = sorted(event["tag"] for event in json.loads(two.geo("events", "--json")))
        # The first may have been pushed before the log was followed: a look at everything has found it then.
        assert tags in (["v0", "v1", "v2"], ["v1", "v2"])


def _scheduler_of(path: Path, *, but: int) -> int:
    def find() -> int | None:
        for pid in processes_of(path):
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if words[-2:] == ["scheduler", ""] and pid != but:
                return pid
        return None

    return wait_until(lambda: find() or 0)


@pytest.mark.long
def test_a_site_follows_a_standby_of_the_primary_s_database(tmp_path: Path) -> None:
    with Postgres() as cluster, Standby(cluster) as standby:
        url = cluster.create_database()
        with TwoSites(tmp_path, url) as sites:
            # Given a site that reads a standby, and pulls by tokens of the primary's deployment
            push(sites.primary, "team/old", "v1", images.image())
            two = sites.follow(sites.add(), GEO_PRIMARY_DATABASE_URL=standby.url(url))
            sites.arrives(two, "team/old", "v1")
            asked = sites.one.get("/metrics").text.count("geo_feed_requests_total{")

            # When images are pushed
            for number in range(3):
                push(sites.primary, "team/app", f"v{number}", images.image())

            # Then they arrive, and the feed was never asked
            for number in range(3):
                sites.arrives(two, "team/app", f"v{number}")
            assert asked == sites.one.get("/metrics").text.count("geo_feed_requests_total{") == 0

            # And when the standby is away for a while, the site catches up after it
            standby.hold()
            push(sites.primary, "team/app", "held", images.image())
            standby.let_go()
            sites.arrives(two, "team/app", "held")
