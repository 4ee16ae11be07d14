from __future__ import annotations

import json
import re
import textwrap
import tomllib
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from app import database
from app.database import connection, now
from app.models import Site, SiteReport
from app.replication import site_reports, site_tokens
from app.replication.remote_sites import Declaration
from app.replication.site_tokens import PREFIX
from tests.cli.conftest import Geo
from tests.support.root import ROOT
from tests.support.site_report import REPORT


@pytest.fixture
def primary(geo: Geo) -> Geo:
    """A deployment that only receives."""
    geo.env |= {"GEO_ROLE": "primary"}
    assert geo("migrate").exit_code == 0
    return geo


def owner_of(token: str) -> str | None:
    """The site whose token this is."""
    try:
        found = site_tokens.site_of(token)
        return found.name if found is not None else None
    finally:
        # The next command brings a pool of its own.
        database.database.close_all()


def listed(geo: Geo) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in json.loads(geo("sites", "--json").stdout)}


def test_a_site_is_added_and_its_token_shown_once(primary: Geo) -> None:
    # When
    result = primary("sites", "add", "berlin", "--url", "https://berlin.example.com", "-r", "team/**", "-r", "!team/x")

    # Then standard output is the token alone, for scripts
    token = result.stdout.strip()
    assert (result.exit_code, token.startswith(PREFIX)) == (0, True)
    assert owner_of(token) == "berlin"

    # And the site is listed without it
    row = listed(primary)["berlin"]
    assert (row["remote"], row["repositories"]) == (True, ["team/**", "!team/x"])
    assert token not in primary("sites").output
    assert primary("sites", "add", "berlin").exit_code == 2


def test_a_site_is_edited_paused_resumed_and_removed(primary: Geo) -> None:
    primary("sites", "add", "berlin", "-r", "team/**")
    assert "other/*" in primary("sites", "edit", "berlin", "-r", "other/*").output
    assert listed(primary)["berlin"]["repositories"] == ["other/*"]
    assert "stays as it is" in primary("sites", "edit", "berlin").output
    primary("sites", "edit", "berlin", "--all-repositories")
    assert listed(primary)["berlin"]["repositories"] == []
    primary("sites", "pause", "berlin")
    assert listed(primary)["berlin"]["enabled"] is False
    primary("sites", "resume", "berlin")
    assert listed(primary)["berlin"]["enabled"] is True
    assert primary("sites", "remove", "berlin").exit_code == 0
    assert listed(primary)["berlin"]["retired"] is True
    assert primary("sites", "edit", "berlin").exit_code == 2


def test_a_new_token_voids_the_former_when_asked_to(primary: Geo) -> None:
    first = primary("sites", "add", "berlin").stdout.strip()
    second = primary("sites", "token", "berlin").stdout.strip()
    assert owner_of(first) == "berlin"
    third = primary("sites", "token", "berlin", "--revoke").stdout.strip()
    assert [owner_of(token) for token in (first, second, third)] == [None, None, "berlin"]


def test_a_file_is_applied_after_its_difference_is_shown(primary: Geo) -> None:
    # Given a file
    file = primary.path / "sites.toml"
    file.write_text('[sites.berlin]\nrepositories = ["team/**"]\n')

    # Then a dry run changes nothing and says that there is something to do
    dry = primary("sites", "apply", "--dry-run", str(file))
    assert (dry.exit_code, "+ berlin" in dry.output) == (1, True)
    assert "berlin" not in listed(primary)

    # And without an answer nothing is done; with --yes it is
    assert primary("sites", "apply", str(file)).exit_code != 0
    assert "berlin" not in listed(primary)
    done = primary("sites", "apply", "--yes", str(file))
    assert (done.exit_code, "geo sites token berlin" in done.output) == (0, True)
    assert PREFIX not in done.output
    assert primary("sites", "apply", "--dry-run", str(file)).exit_code == 0


def test_a_mistake_is_a_sentence(primary: Geo) -> None:
    file = primary.path / "sites.toml"
    file.write_text('[sites.berlin]\nrepositores = ["team/**"]\n')
    result = primary("sites", "apply", "--yes", str(file))
    assert (result.exit_code, "repositores" in result.output) == (2, True)
    assert "Traceback" not in result.output


def test_our_own_site_is_the_environment_s(geo: Geo) -> None:
    for command in (("edit", "secondary"), ("remove", "secondary"), ("token", "secondary")):
        result = geo("sites", *command)
        assert (result.exit_code, "GEO_SITE_NAME" in result.output) == (2, True)
    with connection():
        assert Site.get(Site.name == "secondary").token_hash is None


def test_a_remote_site_cannot_be_synced_from_here(geo: Geo) -> None:
    geo("sites", "add", "berlin")
    result = geo("sync", "team/app", "--site", "berlin")
    assert (result.exit_code, "there is no such site" in result.output) == (2, True)


def test_a_secondary_s_own_deployment_keeps_no_sites(geo: Geo) -> None:
    geo.env |= {"GEO_ROLE": "secondary", "GEO_PRIMARY_URL": "http://127.0.0.1:9", "GEO_SITE_TOKEN": "x"}
    assert geo("sites", "add", "berlin").exit_code == 2


def test_status_tells_of_both_kinds(primary: Geo) -> None:
    primary("sites", "add", "berlin")
    assert "berlin follows from a deployment of its own" in primary("status").output


def test_a_capacity_is_set_shown_and_taken_back(primary: Geo) -> None:
    assert primary("sites", "add", "berlin", "--capacity", "4").exit_code == 0
    assert listed(primary)["berlin"]["capacity"] == 4
    assert "+ capacity = 6" in primary("sites", "edit", "berlin", "--capacity", "6").output
    assert "- capacity = 6" in primary("sites", "edit", "berlin", "--capacity", "0").output
    assert listed(primary)["berlin"]["capacity"] is None
    assert primary("sites", "edit", "berlin", "--capacity", "-1").exit_code == 2


def test_what_a_site_reports_is_shown_with_its_age(primary: Geo) -> None:
    # Given a site that never reported
    primary("sites", "add", "berlin", "-r", "team/**")
    assert "never" in primary("sites").stdout
    assert listed(primary)["berlin"]["report"] is None
    shown = primary("status").stdout
    assert "never reported its status" in shown or "does not ask for events" in shown

    # When it has
    with connection():
        site = Site.get(Site.name == "berlin")
    site_reports.keep(site, REPORT)
    database.database.close_all()

    # Then what it said stands where it is listed, and where it is counted
    assert "In sync, " in primary("sites").stdout
    report = listed(primary)["berlin"]["report"]
    assert isinstance(report, dict)
    assert (report["synced"], report["tags"], report["stale"]) == (8, ["v*"], False)
    shown = primary("status").stdout
    assert "8/10 (80 %)" in shown
    assert "berlin replicates repositories team/**, tags all" in shown
    narrowed = "narrow that to repositories team/**, tags v*, at most 4 repositories at once"
    assert f"version 1.0, its own settings {narrowed}" in shown
    document = json.loads(primary("status", "--json").stdout)
    counted = {site["name"]: site for site in document["sites"]}
    assert counted["berlin"]["report"]["report"]["synced"] == counted["berlin"]["synced"] == 8

    # And when it falls silent, that does too
    with connection():
        SiteReport.update(received_at=now() - timedelta(hours=1)).execute()
    database.database.close_all()
    assert "too old" in primary("sites").stdout
    assert "(too old)" in primary("status").stdout


def test_policies_are_set_shown_and_left_to_the_site_again(primary: Geo) -> None:
    # Given a site that is added with policies
    said = ("--deletion", "off", "--protect", "stable", "--protect", "v1.*", "--verification", "blobs")
    assert primary("sites", "add", "berlin", *said).exit_code == 0
    row = listed(primary)["berlin"]
    assert (row["deletion"], row["protected_tags"], row["verification"]) == ("off", ["stable", "v1.*"], "blobs")
    assert "- of off  stable v1.*" in primary("sites").stdout

    # When they are edited, the difference is told
    edited = primary("sites", "edit", "berlin", "--deletion", "tags", "--protect", "v2", "--verification", "content")
    for line in (
        '- deletion = "off"',
        '+ deletion = "tags"',
        '+ protected_tags = ["v2"]',
        '+ verification = "content"',
    ):
        assert line in edited.output

    # And they can be left to the site
    primary("sites", "edit", "berlin", "--deletion", "own", "--protect-none", "--verification", "own")
    row = listed(primary)["berlin"]
    assert (row["deletion"], row["protected_tags"], row["verification"]) == (None, [], None)
    assert primary("sites", "edit", "berlin", "--deletion", "all").exit_code == 2
    assert primary("sites", "edit", "berlin", "--protect", "a/b").exit_code == 2


def test_what_a_site_says_of_its_own_policies_stands_beside_what_limits_them(primary: Geo) -> None:
    primary("sites", "add", "berlin", "--deletion", "off", "--protect", "v1.*")
    with connection():
        site = Site.get(Site.name == "berlin")
    site_reports.keep(site, REPORT)
    database.database.close_all()
    assert "tags of off  v1.* stable" in primary("sites").stdout


def test_the_file_in_the_documentation_is_applied(primary: Geo) -> None:
    # Given the example, and the keys that the page explains
    page = (ROOT / "docs/two-sites.md").read_text()
    example = page.partition("    [sites.berlin]\n")
    text = "".join(example[1:]).partition("\n\nAll of them")[0]
    file = primary.path / "sites.toml"
    file.write_text(textwrap.dedent(text))
    explained = set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE))

    # Then it can be applied as it stands, and says what it seems to
    assert primary("sites", "apply", "--yes", str(file)).exit_code == 0
    rows = listed(primary)
    berlin, paris = rows["berlin"], rows["paris"]
    assert (berlin["deletion"], berlin["protected_tags"]) == ("tags", ["stable", "regex:release-[0-9]+"])
    assert (berlin["verification"], berlin["capacity"], berlin["enabled"]) == ("blobs", 4, True)
    assert (paris["deletion"], paris["enabled"], paris["repositories"]) == ("off", False, [])
    assert primary("sites", "apply", "--dry-run", str(file)).exit_code == 0

    # And it has every key that there is, each of which is explained, as the command's own help has
    keys = {each.name for each in fields(Declaration)} - {"name"}
    assert {key for table in tomllib.loads(file.read_text())["sites"].values() for key in table} == keys
    assert explained == keys
    shown = primary("sites", "apply", "--help").output
    assert [key for key in keys if f"{key} = " not in shown] == []


def test_the_environment_s_site_is_said_to_be_its_own(geo: Geo) -> None:
    # Given a deployment that replicates to a site of its own, and a file without it
    file = geo.path / "sites.toml"
    file.write_text("[sites.berlin]\n")

    # Then it is said to stay, and nothing of it is changed
    applied = geo("sites", "apply", "--yes", str(file))
    assert "secondary is governed by the environment (GEO_SITE_NAME)" in applied.output
    assert (listed(geo)["secondary"]["enabled"], listed(geo)["secondary"]["deletion"]) == (True, "tags")

    # And a file that names it is refused before any difference is shown
    file.write_text('[sites.berlin]\ncapacity = 2\n[sites.secondary]\ndeletion = "off"\n')
    refused = geo("sites", "apply", "--yes", str(file))
    assert (refused.exit_code, "GEO_DELETION" in refused.output, "capacity" in refused.output) == (2, True, False)
    assert listed(geo)["berlin"]["capacity"] is None


def test_a_file_that_is_no_text_is_a_sentence(primary: Geo) -> None:
    file = primary.path / "sites.toml"
    file.write_bytes(b"[sites.berlin]\nurl = '\xff'\n")
    result = primary("sites", "apply", "--yes", str(file))
    assert (result.exit_code, "UTF-8" in result.output) == (2, True)


def test_a_removed_site_is_not_counted(primary: Geo) -> None:
    primary("sites", "add", "berlin")
    assert "berlin" in primary("status").output
    primary("sites", "remove", "berlin")
    assert "berlin" not in primary("status").output
    assert json.loads(primary("status", "--json").stdout)["sites"] == []
    assert listed(primary)["berlin"]["retired"] is True


def test_scripts_get_an_object_of_each_change(primary: Geo) -> None:
    def told(*arguments: str, status: int = 0) -> Any:
        result = primary("sites", *arguments, "--json")
        assert (result.exit_code, result.stderr) == (status, "")
        return json.loads(result.stdout)

    # When a site is added, then its declaration is told, and its token
    added = told("add", "berlin", "-r", "team/**", "--deletion", "tags")
    site = added["site"]
    assert (site["name"], site["repositories"], site["deletion"]) == ("berlin", ["team/**"], "tags")
    assert set(site) == {each.name for each in fields(Declaration)}
    assert owner_of(added["token"]) == "berlin"
    # And so with what becomes of it
    edited = told("edit", "berlin", "--capacity", "3")
    assert edited == {"changed": True, "site": {**site, "capacity": 3}}
    assert told("edit", "berlin") == {"changed": False, "site": edited["site"]}
    assert told("pause", "berlin") == {"name": "berlin", "enabled": False}
    assert told("resume", "berlin") == {"name": "berlin", "enabled": True}
    assert owner_of(told("token", "berlin")["token"]) == "berlin"
    # And a file is applied only when that was said
    file = primary.path / "sites.toml"
    file.write_text("[sites.paris]\n")
    difference = told("apply", str(file), status=1)
    assert difference["applied"] is False
    assert [(each["name"], each["before"] is None, each["after"] is None) for each in difference["changes"]] == [
        ("berlin", False, True),
        ("paris", True, False),
    ]
    assert told("apply", str(file), "--dry-run", "--yes", status=1) == difference
    assert "paris" not in listed(primary)
    assert told("apply", str(file), "--yes") == {**difference, "applied": True}
    assert told("apply", str(file)) == {"applied": False, "changes": []}
    assert told("remove", "paris") == {"name": "paris", "removed": True}
    assert listed(primary)["paris"]["retired"] is True


def test_scripts_get_the_number_of_released_deletions(geo: Geo) -> None:
    result = geo("sites", "release-deletions", "secondary", "--json")
    assert json.loads(result.stdout) == {"name": "secondary", "released": 0}
