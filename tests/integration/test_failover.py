"""Failover on real registries: the primary dies in the middle of pushes, a secondary takes over, the old one returns.

Judged by what both registries hold in the end, read and hashed without the product.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.checker import Acknowledged, Checker, Row, Verdict
from tests.integration.conftest import DeploymentFactory
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import SECRET
from tests.support.keys import TokenAuth, make_rsa
from tests.support.registries import RegistryFactory
from tests.support.running import Running, endpoint, notify
from tests.support.two_sites import TwoSites, token_in
from tests.support.wait import wait_until
from tests.support.wire import delete_digest, digest_of, push, tags

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def command(geo: Running, *arguments: str, status: int = 0) -> dict[str, Any]:
    """Run a command with --json, and read what it prints."""
    document: dict[str, Any]
    # What the log says comes after it.
    document, _ = json.JSONDecoder().raw_decode(geo.geo(*arguments, "--json", status=status))
    return document


def rows(geo: Running, site: str) -> list[Row]:
    return [Row.of(row) for row in json.loads(geo.geo("repositories", "--json")) if row["site"] == site]


def faults(verdict: Verdict) -> list[str]:
    """What is not on the one as on the other, or gone."""
    return [str(fault) for fault in (*verdict.lost, *verdict.wrongly_deleted, *verdict.wrongly_synced)]


@pytest.mark.parametrize("delete_gone", [False, True])
def test_a_primary_that_is_gone_and_comes_back(deploy: DeploymentFactory, delete_gone: bool) -> None:
    # Given a deployment that has replicated everything
    pair = deploy()
    old, new, geo = pair.primary, pair.secondary, pair.geo
    first = {
        (path, tag): push(old, path, tag, images.image())
        for path, tag in (
            ("team/app", "v1"),
            ("team/app", "latest"),
            ("team/app", "stable"),
            ("team/app", "doomed"),
            ("team/other", "v1"),
        )
    }
    for (path, tag), digest in first.items():
        wait_until(lambda p=path, t=tag, d=digest: digest_of(new, p, t) == d, 60, lambda: geo.log_text[-4000:])  # type: ignore[misc]
    wait_until(lambda: {row.state for row in rows(geo, "secondary")} == {2}, 60, lambda: geo.log_text[-4000:])

    # When the primary dies in the middle of pushes: of one the event came, of others not even that
    new.pause()
    known = push(old, "team/app", "latest", images.index())
    wait_until(lambda: known[:19] in geo.geo("events"), 30, lambda: geo.log_text[-4000:])
    geo.stop()
    alone = push(old, "team/app", "v2", images.image())
    late = push(old, "team/late", "v1", images.image())
    old.kill()
    new.resume()

    # Then what is known to be lost is named, and has to be accepted
    refused = command(geo, "promote", "--yes", status=1)
    lost = {(each["repository"], each["name"]) for finding in refused["findings"] for each in finding["named"]}
    assert ("team/app", "latest") in lost
    assert {path for path, _ in lost} == {"team/app"}
    done = command(geo, "promote", "--yes", "--accept-loss")
    assert done["promoted"]

    # And with the environment of before nothing starts; with the lines that were printed all does
    assert "geo promote" in geo.geo("migrate", status=2)
    geo.set_lines(done["steps"][0]["lines"])
    notify(new, geo.port)
    with geo:
        # And the new primary is pushed to, and deleted from
        acknowledged = [
            Acknowledged("team/app", tag, push(new, "team/app", tag, images.image())) for tag in ("stable", "v3")
        ]
        acknowledged.append(Acknowledged("team/fresh", "v1", push(new, "team/fresh", "v1", images.image())))
        delete_digest(new, "team/app", first["team/app", "doomed"])
        wait_until(lambda: "team/fresh" in geo.geo("events"), 30, lambda: geo.log_text[-4000:])

    # When the former primary comes back, then it is left alone until it was compared
    notify(old, None)
    geo.set_lines(done["steps"][-1]["lines"])
    assert "geo demote" in geo.geo("migrate", status=2)
    held = {path: {tag: digest_of(old, path, tag) for tag in tags(old, path)} for path in ("team/app", "team/late")}
    plan = command(geo, "demote", "--dry-run")
    kinds = {(each["repository"], tag["name"]): tag for each in plan["repositories"] for tag in each["tags"]}
    assert {name: tag["kind"] for name, tag in kinds.items()} == {
        ("team/app", "latest"): "lost",
        ("team/app", "v2"): "alone",
        ("team/late", "v1"): "alone",
        ("team/app", "doomed"): "deleted",
        ("team/app", "stable"): "moved",
    }
    assert {path: {tag: digest_of(old, path, tag) for tag in tags(old, path)} for path in held} == held

    # And when it is demoted and everything is started, it becomes what the new primary is, and keeps what it alone had
    checker = Checker(new, old, lambda: rows(geo, "secondary"))
    checker.note()
    command(geo, "demote", "--yes", *(["--delete-gone"] if delete_gone else []))
    saved = kinds["team/app", "latest"]["saved_as"]
    kept = {
        ("team/app", saved): known,
        ("team/app", "v2"): alone,
        ("team/late", "v1"): late,
        ("team/app", "doomed"): first["team/app", "doomed"],
    }
    with geo:
        wait_until(
            lambda: all(digest_of(old, each.repository, each.tag) == each.digest for each in acknowledged),
            90,
            lambda: geo.log_text[-6000:],
        )
        if not delete_gone:
            wait_until(
                lambda: {row.state for row in rows(geo, "secondary") if row.path != "team/late"} == {2},
                60,
                lambda: geo.geo("status", status=None) + geo.log_text[-4000:],
            )
        checker.rows = lambda: [row for row in rows(geo, "secondary") if not delete_gone and row.path != "team/late"]
        told = [*acknowledged, *(Acknowledged(path, tag, digest) for (path, tag), digest in first.items())]
        moved = {("team/app", "doomed"), ("team/app", "stable"), ("team/app", "latest")}
        told = [each for each in told if (each.repository, each.tag) not in moved or each in acknowledged]
        verdict = checker.judge(told, kept=kept)
        assert faults(verdict) == []
        assert tags(new, "team/late") == []
        assert "doomed" not in tags(new, "team/app")

        # When deletions are released, then what was deleted goes if a person asked for that, and nothing else
        geo.geo("sites", "release-deletions", "secondary")
        if delete_gone:
            del kept["team/app", "doomed"]
            wait_until(lambda: digest_of(old, "team/app", "doomed") is None, 60, lambda: geo.log_text[-4000:])
        gone = {("team/app", "doomed")} if delete_gone else set()
        geo.geo("sync", "team/app")
        verdict = checker.judge(told, kept=kept, deleted=gone)
        assert faults(verdict) == []

        # And what is pushed to the new primary arrives, as it did before the other way round
        last = push(new, "team/app", "latest", images.image())
        wait_until(lambda: digest_of(old, "team/app", "latest") == last, 60, lambda: geo.log_text[-4000:])
        assert digest_of(old, "team/app", saved) == known


def test_a_planned_switch_there_and_back(deploy: DeploymentFactory) -> None:
    # Given a deployment, and a primary that is made read-only while something is on its way
    pair = deploy()
    old, new, geo = pair.primary, pair.secondary, pair.geo
    for number in range(5):
        push(old, "team/app", f"v{number}", images.image(size=200_000))
    wait_until(lambda: "v4" in geo.geo("events"), 30, lambda: geo.log_text[-4000:])
    for primary, secondary in ((old, new), (new, old)):
        primary.stop()
        primary.readonly = True
        primary.start()

        # When the secondary is promoted once it has everything
        done = command(geo, "promote", "--wait", "60", "--yes")
        assert done["compared"]
        assert not done["loses"]
        geo.stop()
        geo.set_lines(done["steps"][0]["lines"])
        secondary.stop()
        secondary.readonly, secondary.notify = False, (endpoint(geo.port, ignore=True),)
        secondary.start()

        # And the former primary is demoted at once
        primary.stop()
        primary.readonly, primary.notify = False, ()
        primary.start()
        geo.set_lines(done["steps"][-1]["lines"])
        plan = command(geo, "demote", "--yes")
        assert plan["repositories"] == []
        geo.start()
        geo.geo("sites", "release-deletions", "secondary")

        # Then what is pushed to the new one arrives at the old one
        push(secondary, "team/app", "fresh", images.image())
        wait_until(
            lambda n=secondary, o=primary: digest_of(n, "team/app", "fresh") == digest_of(o, "team/app", "fresh"),  # type: ignore[misc]
            60,
            lambda: geo.log_text[-4000:],
        )
        assert_same(secondary, primary, "team/app", "fresh")
        wait_until(lambda: {row.state for row in rows(geo, "secondary")} == {2}, 60, lambda: geo.log_text[-4000:])
    assert tags(old, "team/app") == tags(new, "team/app") == ["fresh", *(f"v{number}" for number in range(5))]


def test_the_whole_place_of_the_primary_is_gone(tmp_path: Path, registry_factory: RegistryFactory) -> None:
    with TwoSites(tmp_path) as sites:
        # Given two sites that follow the primary's deployment
        old, new = sites.primary, sites.secondary
        other_auth = TokenAuth(make_rsa(tmp_path, "other"))
        other = registry_factory("other", token=other_auth)
        paris_env = {
            "GEO_SECONDARY_REGISTRY_URL": other.url,
            "GEO_SECONDARY_REGISTRY_KEY_PATH": str(other_auth.keys.key_path),
            "GEO_SECONDARY_REGISTRY_CERTIFICATE_PATH": str(other_auth.keys.certificate_path),
        }
        berlin = sites.following(sites.add())
        paris = sites.following(sites.add(name="paris"), "paris", **paris_env)
        sites.stack.callback(berlin.stop)
        sites.stack.callback(paris.stop)
        berlin.start()
        paris.start()
        v1 = push(old, "team/app", "v1", images.image())
        latest = push(old, "team/app", "latest", images.image())
        for registry, geo in ((new, berlin), (other, paris)):
            wait_until(
                lambda r=registry: [digest_of(r, "team/app", tag) for tag in ("v1", "latest")] == [v1, latest],  # type: ignore[misc]
                60,
                lambda g=geo: g.log_text[-4000:],  # type: ignore[misc]
            )
        wait_until(lambda: {row.state for row in rows(berlin, "berlin")} == {2}, 60, lambda: berlin.log_text[-4000:])

        # When the primary's place is gone, with a push that nobody heard of
        sites.one.stop()
        lost = push(old, "team/app", "latest", images.image())
        old.kill()
        berlin.stop()
        paris.stop()

        # Then a site is promoted in its own deployment, and keeps a log and takes events in
        done = command(berlin, "promote", "--yes")
        berlin.set_lines(done["steps"][0]["lines"])
        berlin.env["GEO_NOTIFICATION_SECRET"] = SECRET
        for name in ("GEO_PRIMARY_URL", "GEO_SITE_TOKEN", "GEO_SECONDARY_REGISTRY_KEY_PATH"):
            assert name not in berlin.env
        notify(new, berlin.port)
        berlin.start()
        v2 = push(new, "team/app", "v2", images.image())
        wait_until(lambda: v2[:19] in berlin.geo("events"), 30, lambda: berlin.log_text[-4000:])

        # And the other site follows it
        paris.env |= {
            "GEO_PRIMARY_URL": berlin.url,
            "GEO_SITE_TOKEN": token_in(berlin.geo("sites", "add", "paris")),
            "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": new.url,
        }
        assert command(paris, "demote", "--yes")["repositories"] == []
        paris.start()
        wait_until(lambda: digest_of(other, "team/app", "v2") == v2, 60, lambda: paris.log_text[-4000:])

        # And when the old place is back, its deployment demotes its registry and follows too
        old.notify = ()
        old.start()
        home = sites.one
        home.env |= {
            "GEO_ROLE": "secondary",
            "GEO_SITE_NAME": "old",
            "GEO_PRIMARY_URL": berlin.url,
            "GEO_SITE_TOKEN": token_in(berlin.geo("sites", "add", "old")),
            "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": new.url,
            "GEO_SECONDARY_REGISTRY_URL": old.url,
            "GEO_SECONDARY_REGISTRY_KEY_PATH": home.env.pop("GEO_REGISTRY_KEY_PATH"),
            "GEO_SECONDARY_REGISTRY_CERTIFICATE_PATH": home.env.pop("GEO_REGISTRY_CERTIFICATE_PATH"),
        }
        assert "geo demote" in home.geo("migrate", status=2)
        plan = command(home, "demote", "--yes")
        (repository,) = plan["repositories"]
        (tag,) = repository["tags"]
        assert (tag["name"], tag["kind"], tag["digest"]) == ("latest", "lost", lost)
        home.start()
        wait_until(
            lambda: [digest_of(old, "team/app", name) for name in ("v1", "v2", "latest")] == [v1, v2, latest],
            90,
            lambda: home.log_text[-6000:],
        )
        assert digest_of(old, "team/app", tag["saved_as"]) == lost

        # And everything goes on: what is pushed to the new primary arrives at both
        v3 = push(new, "team/app", "v3", images.image())
        for registry, geo in ((old, home), (other, paris)):
            wait_until(
                lambda r=registry: digest_of(r, "team/app", "v3") == v3,  # type: ignore[misc]
                60,
                lambda g=geo: g.log_text[-4000:],  # type: ignore[misc]
            )
            assert_same(new, registry, "team/app", "v3")
