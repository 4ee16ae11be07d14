"""Two deployments with HTTPS between them, by a certificate of a private authority."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import images
from tests.support.running import Running
from tests.support.tls import Authority, TlsFront
from tests.support.two_sites import SITE, TwoSites
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]


def follower(two: Running) -> dict[str, object]:
    return dict(json.loads(two.geo("status", "--json"))["sites"][0]["follower"] or {})


def test_a_site_follows_pulls_and_reports_by_a_private_authority(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "ca", "ours"), Authority(tmp_path / "ca", "other")
    with TwoSites(tmp_path) as sites, TlsFront(sites.one.port, authority.issue()) as front:
        # Given a site that trusts another authority, or only the system's
        token = sites.add()
        two = sites.following(token, GEO_PRIMARY_URL=front.url, GEO_PRIMARY_CA_PATH=str(other.ca_path))
        push(sites.primary, "team/app", "v1", images.image())
        for trusted in (str(other.ca_path), ""):
            two.env["GEO_PRIMARY_CA_PATH"] = trusted
            with two:
                # Then it says that, and what to look at, and nothing was told
                wait_until(lambda: "certificate" in str(follower(two).get("failure")), message=lambda: two.log_text)
                assert "GEO_PRIMARY_CA_PATH" in str(follower(two)["failure"])
                assert digest_of(sites.secondary, "team/app", "v1") is None
        assert front.agreed == 0
        assert front.refused > 0
        assert json.loads(sites.one.geo("sites", "--json"))[-1]["report"] is None

        # When it trusts the right one, events, tokens for pulls and the status go that way
        two.env["GEO_PRIMARY_CA_PATH"] = str(authority.ca_path)
        with two:
            sites.arrives(two, "team/app", "v1")
            push(sites.primary, "team/app", "v2", images.image())
            sites.arrives(two, "team/app", "v2")
            rows = {row["name"]: row for row in json.loads(sites.one.geo("sites", "--json"))}
            assert rows[SITE]["report"]["name"] == SITE
            assert follower(two)["report_failure"] is None
