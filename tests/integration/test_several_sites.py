"""Several sites with deployments of their own follow one primary, each as far as a reviewed file says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import images
from tests.support.postgres import Postgres
from tests.support.registries import DistributionRegistry
from tests.support.running import Running
from tests.support.standby import Standby
from tests.support.two_sites import TwoSites, token_in
from tests.support.wait import wait_until
from tests.support.wire import delete_tag, digest_of, push

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

FILE = """
[sites.berlin]
repositories = ["team/**"]
deletion = "off"

[sites.paris]
repositories = ["!team/secret"]
protected_tags = ["stable"]
capacity = 2
"""

#: Seconds in which a site reports what is so now: it does so once a minute.
REPORTED = 100.0

#: Seconds between two looks.
LOOK = 1.0

#: Seconds in which a site learns what is said of it at the primary: a look at the feed lasts so long.
TOLD = 40.0


def test_two_sites_at_once_each_get_what_is_theirs(tmp_path: Path) -> None:
    with TwoSites(tmp_path, version="3") as sites:
        # Given two sites of one file, each with a registry and a deployment of its own
        others = DistributionRegistry(tmp_path / "paris", version="3", token=sites.secondary_auth)
        registries = {"berlin": sites.secondary, "paris": sites.stack.enter_context(others)}
        file = tmp_path / "sites.toml"
        file.write_text(FILE)
        sites.one.geo("sites", "apply", "--yes", str(file))
        running = {
            name: sites.follow(_token(sites, name), name, GEO_SECONDARY_REGISTRY_URL=registry.url)
            for name, registry in registries.items()
        }

        def has(name: str, repository: str, tag: str) -> bool:
            there = digest_of(registries[name], repository, tag)
            return there is not None and there == digest_of(sites.primary, repository, tag)

        def arrives(name: str, repository: str, tag: str) -> None:
            wait_until(lambda: has(name, repository, tag), 60, lambda: _told(name, repository, tag, running, sites))

        # When images are pushed
        for repository in ("team/secret", "other/app", "team/app"):
            for tag in ("v1", "stable"):
                push(sites.primary, repository, tag, images.image())

        # Then each site has what is in its scope, and nothing else
        for tag in ("v1", "stable"):
            for name, repository in (
                *(("berlin", "team/app"), ("berlin", "team/secret")),
                *(("paris", "team/app"), ("paris", "other/app")),
            ):
                arrives(name, repository, tag)
        assert digest_of(registries["berlin"], "other/app", "v1") is None
        assert digest_of(registries["paris"], "team/secret", "v1") is None

        # And the primary shows of both what they report, and that they have read everything
        for name in registries:
            _watch(
                partial(_synced, sites, name, 2),
                REPORTED,
                lambda name=name: f"{_status(sites, name)}\n{running[name].log_text[-4000:]}",  # type: ignore[misc]
            )
            shown = _status(sites, name)
            assert shown["health_status"] == "Healthy"
            assert (shown["cursor_last_event_id"], shown["unread_events_count"]) == (shown["last_event_id"], 0)
            assert shown["cursor_last_event_timestamp"] is not None
        assert {row["name"]: row["capacity"] for row in _sites(sites.one) if row["remote"]} == {
            "berlin": None,
            "paris": 2,
        }

        # When tags are deleted on the primary
        for tag in ("v1", "stable"):
            delete_tag(sites.primary, "team/app", tag)

        # Then each site deletes what the file lets it, and says why it keeps the rest
        wait_until(
            lambda: digest_of(registries["paris"], "team/app", "v1") is None,
            60,
            lambda: running["paris"].log_text[-4000:],
        )
        for name, tag, words in (
            ("berlin", "v1", "the primary's deployment limits deletion to `off`"),
            ("paris", "stable", "the primary's deployment protects 'stable'"),
        ):
            why = partial(running[name].geo, "why", f"team/app:{tag}", status=None)
            _watch(lambda why=why, words=words: words in why(), 60, why)  # type: ignore[misc]
            assert digest_of(registries[name], "team/app", tag) is not None

        # When one is paused
        sites.one.geo("sites", "pause", "berlin")
        _watch(lambda: not _own(running["berlin"])["enabled"], TOLD, lambda: running["berlin"].log_text[-4000:])
        push(sites.primary, "team/app", "v2", images.image())

        # Then the other goes on, and the primary shows what waits for it
        arrives("paris", "team/app", "v2")
        assert not has("berlin", "team/app", "v2")
        paused = _status(sites, "berlin")
        assert (paused["unread_events_count"] > 0, "Paused" in paused["health"]) == (True, True)
        assert _status(sites, "paris")["health_status"] == "Healthy"

        # And when it is resumed, it takes up the rest by the log
        sites.one.geo("sites", "resume", "berlin")
        arrives("berlin", "team/app", "v2")
        follower = json.loads(running["berlin"].geo("status", "--json"))["sites"][0]["follower"]
        assert follower["reset_reason"] is None


def test_the_primary_sees_how_far_a_standby_is_read_and_keeps_the_rest(tmp_path: Path) -> None:
    with Postgres() as cluster, Standby(cluster) as standby:
        url = cluster.create_database()
        with TwoSites(tmp_path, url) as sites:
            # Given a site that reads a standby
            two = sites.following(sites.add(), GEO_PRIMARY_DATABASE_URL=standby.url(url))
            with two:
                push(sites.primary, "team/app", "v0", images.image())
                sites.arrives(two, "team/app", "v0")

                # Then the primary learns by its reports how far it is
                def known() -> bool:
                    shown = _status(sites, "berlin")
                    return shown["cursor_last_event_id"] == shown["last_event_id"] and not shown["unread_events_count"]

                _watch(known, REPORTED, lambda: f"{_status(sites, 'berlin')}\n{two.log_text[-4000:]}")
            assert "geo_feed_requests_total{" not in sites.one.get("/metrics").text

            # When it is away, and the log is pruned of all that every site has read
            push(sites.primary, "team/app", "v1", images.image())
            _watch(lambda: _status(sites, "berlin")["unread_events_count"] > 0, 20, lambda: sites.one.log_text[-4000:])
            prune = "from datetime import timedelta as t; event_log.prune(t(seconds=-1), t(days=60))"
            sites.one.geo("console", "-c", prune)

            # Then what it has not read is still there, and it goes on where it was
            assert {event["tag"] for event in json.loads(sites.one.geo("events", "--json"))} == {"v1"}
            with two:
                sites.arrives(two, "team/app", "v1")
                follower = json.loads(two.geo("status", "--json"))["sites"][0]["follower"]
                assert follower["reset_reason"] is None


def _watch(predicate: Callable[[], bool], timeout: float, message: Callable[[], str]) -> None:
    """Wait until it is so, and look once a second: each look costs the deployments something."""
    looked = float("-inf")

    def seldom() -> bool:
        nonlocal looked
        if time.monotonic() - looked < LOOK:
            return False
        looked = time.monotonic()
        return predicate()

    wait_until(seldom, timeout, message)


def _synced(sites: TwoSites, name: str, count: int) -> bool:
    return bool(_status(sites, name)["container_repositories_synced_count"] == count)


def _token(sites: TwoSites, name: str) -> str:
    return token_in(sites.one.geo("sites", "token", name))


def _sites(one: Running) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(one.geo("sites", "--json"))
    return listed


def _own(two: Running) -> dict[str, Any]:
    """The site as its own deployment has it."""
    return next(row for row in _sites(two) if row["role"] == "secondary")


def _status(sites: TwoSites, name: str) -> dict[str, Any]:
    """The site's status by the API of the primary's deployment."""
    ids = {row["name"]: row["id"] for row in _asked(sites, "/api/v4/geo_sites")}
    shown: dict[str, Any] = _asked(sites, f"/api/v4/geo_sites/{ids[name]}/status")
    return shown


def _asked(sites: TwoSites, path: str) -> Any:
    answer = sites.one.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _told(name: str, repository: str, tag: str, running: dict[str, Running], sites: TwoSites) -> str:
    logs = f"{running[name].log_text[-6000:]}\n---\n{sites.one.log_text[-3000:]}"
    return f"{repository}:{tag} did not arrive at {name}\n{logs}"
