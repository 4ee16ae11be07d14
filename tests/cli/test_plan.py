"""`geo plan` between real registries: what it says, to people and to scripts, and that it touches nothing."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from app import metrics
from tests.cli.conftest import Geo
from tests.support import images
from tests.support.deployment import environment
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry
from tests.support.root import ROOT
from tests.support.wire import delete_digest, digest_of, push, tags


@pytest.fixture
def proxies(primary: DistributionRegistry, secondary: DistributionRegistry) -> Iterator[tuple[Proxy, Proxy]]:
    with Proxy(primary) as before_primary, Proxy(secondary) as before_secondary:
        yield before_primary, before_secondary


@pytest.fixture
def wired(
    bare: Geo,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    proxies: tuple[Proxy, Proxy],
    database_url: str,
) -> Iterator[Geo]:
    """Commands between two real registries, behind proxies that tell what they were asked."""
    bare.env.update(environment(primary, secondary, database_url), BROKER_URL="stub://")
    bare.env["GEO_REGISTRY_REPLICATION_PRIMARY_API_URL"] = proxies[0].url
    bare.env["GEO_SECONDARY_REGISTRY_URL"] = proxies[1].url
    assert bare("migrate").exit_code == 0
    yield bare
    metrics.buffer.close()


def document(geo: Geo, *arguments: str) -> tuple[int, dict[str, Any]]:
    result = geo("plan", "--json", *arguments)
    return result.exit_code, json.loads(result.stdout)


def test_from_nothing_to_nothing_to_do(
    wired: Geo, primary: DistributionRegistry, secondary: DistributionRegistry, proxies: tuple[Proxy, Proxy]
) -> None:
    # Given nothing
    empty = wired("plan")
    assert (empty.exit_code, empty.stderr) == (0, "")
    assert empty.stdout.startswith("There is no repository")

    # When two repositories are pushed that share a layer
    shared = images.layer(50_000)
    push(primary, "team/app", "v1", images.image([shared]))
    push(primary, "team/other", "v1", images.image([shared]))
    for proxy in proxies:
        proxy.clear()

    # Then both are found and to be copied, the layer once
    result = wired("plan")
    assert result.exit_code == 1
    assert result.stderr == ""
    assert [line.split()[:3] for line in result.stdout.splitlines()[1:3]] == [
        ["team/app", "0", "1"],
        ["team/other", "0", "1"],
    ]
    assert "2 to copy, 0 equal" in result.stdout
    assert "49.1 KiB (1 blob) to mount" in result.stdout
    assert "team/app:v1" not in result.stdout
    assert "team/app:v1" in wired("plan", "--verbose").stdout

    # And nothing was touched
    assert wired("plan", "--all").exit_code == 1
    for proxy in proxies:
        assert {request.partition(" ")[0] for request in proxy.requests} <= {"GET", "HEAD"}
        assert proxy.requests
    assert tags(secondary, "team/app") == []
    assert json.loads(wired("repositories", "--json").stdout) == []

    # When they are synced, then nothing is to be done
    for path in ("team/app", "team/other"):
        assert wired("sync", path).exit_code == 0
    done = wired("plan")
    assert done.exit_code == 0
    assert "2 equal" in done.stdout
    assert "Nothing is to be done." in done.stdout


def test_the_document(wired: Geo, primary: DistributionRegistry, secondary: DistributionRegistry) -> None:
    # Given a repository with something of everything
    digests = {name: push(primary, "team/app", name, images.image()) for name in ("same", "moved", "gone", "stable")}
    assert wired("sync", "team/app").exit_code == 0
    for name in ("gone", "stable"):
        delete_digest(primary, "team/app", digests[name])
    new = images.image()
    push(primary, "team/app", "new", new)
    moved = push(primary, "team/app", "moved", images.image())
    theirs = push(secondary, "team/app", "theirs", images.image())
    wired.env["GEO_PROTECTED_TAGS"] = "stable"
    assert wired("migrate").exit_code == 0

    # When
    status, plan = document(wired, "team/app", "no/such")

    # Then it is as the help says
    assert status == 1
    assert set(plan) == {"site", "planned_at", "in_order", "obstacles", "summary", "repositories"}
    assert (plan["site"], plan["in_order"], plan["obstacles"]) == ("secondary", False, [])
    counts = {"equal": 1, "copy": 1, "move": 1, "delete": 1, "keep": 1, "drift": 1, "unclear": 0}
    assert plan["summary"].items() >= {"repositories": 2, "problems": 1, **counts}.items()
    missing, app = plan["repositories"]
    assert missing["repository"] == "no/such"
    assert missing["problem"]["reason"] == "repository_missing"
    assert "does not know no/such" in missing["problem"]["message"]
    assert app["problem"] is None
    assert app.items() >= counts.items()
    assert app["bytes_to_copy"] == plan["summary"]["bytes_to_copy"] > 0
    found = {tag["name"]: tag for tag in app["tags"]}
    assert {name: tag["action"] for name, tag in found.items()} == {
        "gone": "delete",
        "moved": "move",
        "new": "copy",
        "stable": "keep",
        "theirs": "drift",
    }
    assert found["moved"]["primary_digest"] == moved
    assert found["moved"]["secondary_digest"] == digests["moved"]
    assert found["theirs"] == {
        "name": "theirs",
        "kind": "tag",
        "action": "drift",
        "reason": found["theirs"]["reason"],
        "primary_digest": None,
        "secondary_digest": theirs,
        "bytes_to_copy": 0,
        "bytes_to_mount": 0,
    }
    assert found["new"]["bytes_to_copy"] == sum(len(blob.data) for blob in new.blobs)
    assert "GEO_PROTECTED_TAGS" in found["stable"]["reason"]
    help_text = wired("plan", "--help").stdout
    for key in (*plan, *plan["summary"], *app, *found["new"]):
        assert f'"{key}"' in help_text, key

    # And for a person each tag has a line, and what could not be planned is said
    shown = wired("plan", "-v", "team/app", "no/such").stdout
    for name, tag in found.items():
        (line,) = [line for line in shown.splitlines() if line.startswith(f"team/app:{name} ")]
        assert line.split()[1] == tag["action"]
        assert tag["reason"] in line
    assert "not planned  no/such: the primary does not know no/such" in shown
    assert digest_of(secondary, "team/app", "gone") == digests["gone"]


def test_a_registry_that_does_not_answer(
    wired: Geo, primary: DistributionRegistry, proxies: tuple[Proxy, Proxy]
) -> None:
    # Given a secondary that is away
    push(primary, "team/app", "v1", images.image())
    proxies[1].rule("", drop=True)

    # Then that is said of each repository
    result = wired("plan")
    assert result.exit_code == 1
    assert proxies[1].url.partition("//")[2] in result.stdout
    assert "1 could not be planned" in result.stdout
    assert "Traceback" not in result.output

    # And a primary that is away has no repositories to tell of
    proxies[0].rule("", drop=True)
    result = wired("plan")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("geo: ")


def test_addresses_that_were_never_applied(wired: Geo) -> None:
    result = wired("plan", GEO_SECONDARY_REGISTRY_URL="http://127.0.0.1:10")
    assert result.exit_code == 2
    assert "geo migrate" in result.stderr


def test_a_paused_site_is_said(wired: Geo, primary: DistributionRegistry) -> None:
    push(primary, "team/app", "v1", images.image())
    assert wired("sites", "pause", "secondary").exit_code == 0
    assert "geo sites resume secondary" in wired("plan").stdout
    assert "geo sites resume secondary" in document(wired)[1]["obstacles"][0]


def test_progress_is_for_terminals(wired: Geo, primary: DistributionRegistry) -> None:
    # Given two repositories, and standard error on a terminal
    for path in ("team/app", "team/other"):
        push(primary, path, "v1", images.image())
    ours, theirs = pty.openpty()
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm", **wired.env}

    def run(*arguments: str) -> tuple[dict[str, Any], str]:
        command = [sys.executable, "-m", "app", "plan", "--json", *arguments]
        done = subprocess.run(
            command, env=env, cwd=wired.path, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=False
        )
        assert done.returncode == 1
        return json.loads(done.stdout), os.read(ours, 64 * 1024).decode()

    # Then there is a bar on it, and standard output is the document alone
    plan, bar = run()
    assert plan["summary"]["copy"] == 2
    assert "2/2 repositories, 2 tags" in bar
    plan, bar = run("team/app")
    assert plan["summary"]["copy"] == 1
    assert "1/1 tags" in bar
    os.close(ours)
    os.close(theirs)
