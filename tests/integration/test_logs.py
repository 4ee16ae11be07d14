"""The logs of whole runs: what they tell, how it hangs together, and what they never say."""

from __future__ import annotations

import base64
import json
import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import DeploymentFactory
from tests.support import images
from tests.support.deployment import ADMIN_TOKEN, SECRET
from tests.support.envelopes import envelope, push_event
from tests.support.proxy import Proxy
from tests.support.registries import BASIC_PASSWORD, BASIC_USERNAME, DistributionRegistry
from tests.support.running import Running
from tests.support.s3 import S3
from tests.support.two_sites import TwoSites
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = [pytest.mark.timeout(240)]

#: A token that somebody signed, and the query of a signed address.
TOKEN, SIGNATURE = re.compile(r"eyJ[\w-]{10,}\.[\w-]+\."), re.compile(r"X-Amz-(Signature|Credential)|[?&]_state=")


class Recording(Proxy):
    """Remembers what id came with each request."""

    def __init__(self, upstream: DistributionRegistry) -> None:
        super().__init__(upstream)
        self.ids: list[tuple[str, str | None]] = []

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        self.ids.append((f"{handler.command} {handler.path}", handler.headers.get("X-Request-ID")))
        super()._handle(handler)


def told(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_no_secret(text: str, *secrets: str) -> None:
    assert text
    for secret in secrets:
        at = text.find(secret)
        assert at < 0, text[max(0, at - 300) : at + 100]
    for pattern in (TOKEN, SIGNATURE):
        found = pattern.search(text)
        assert found is None, text[max(0, found.start() - 300) : found.end()] if found else ""


@pytest.mark.long
def test_one_id_goes_from_the_webhook_to_the_registries_and_no_secret_is_told(
    deploy: DeploymentFactory, tmp_path: Path
) -> None:
    # Given a primary on object storage, which redirects to signed addresses; a secondary with a password; and all told
    log = tmp_path / "logs" / "geo.log"
    with S3(tmp_path) as storage:
        pair = deploy(
            primary={"notify": [], "config": storage.registry_config()},
            secondary={"token": None, "basic": True},
            GEO_LOG_PATH=str(log),
            LOG_LEVEL="debug",
            GEO_SECONDARY_REGISTRY_AUTH="basic",
            GEO_SECONDARY_REGISTRY_USERNAME=BASIC_USERNAME,
            GEO_SECONDARY_REGISTRY_PASSWORD=BASIC_PASSWORD,
        )
        geo = pair.geo

        # When an image is pushed and the registry tells of it, with an id
        digest = push(pair.primary, "team/app", "v1", images.image())
        event = push_event("team/app", "v1")
        event["target"]["digest"] = digest
        answer = geo.post(envelope(event), **{"X-Request-ID": "registry-7"})
        assert answer.headers["X-Request-ID"] == "registry-7"
        wait_until(lambda: digest_of(pair.secondary, "team/app", "v1") == digest, 30, lambda: geo.log_text[-3000:])

        # And somebody tries another secret, somebody looks at the API, and what is pushed then fails
        assert geo.post(envelope(event), Authorization="guessed-secret").status_code == 401
        assert geo.get("/api/v4/geo_sites").ok
        pair.secondary.stop()
        push(pair.primary, "team/app", "v2", images.image())
        geo.post(envelope(push_event("team/app", "v2")))
        wait_until(lambda: "sync failed" in log.read_text(), 30, lambda: geo.log_text[-3000:])
        geo.geo("sync", "team/app", status=1)
        geo.stop()

    # Then every line is an object, in the file as on standard output
    lines = told(log)
    out = [json.loads(line) for line in geo.log_text.splitlines() if not line.startswith("geo: ")]
    assert {line["class"] for line in out} >= {"app.api.webhook", "app.replication.sync_log", "gunicorn.error", "geo"}
    for line in lines:
        assert list(line)[:4] == ["severity", "time", "class", "message"], line

    # And the id is with all that it led to
    ours = [line for line in lines if line.get("correlation_id") == "registry-7"]
    assert {line["message"] for line in ours} >= {"events were stored", "synced"}
    (synced,) = [line for line in ours if line["message"] == "synced"]
    assert (synced["container_repository_name"], synced["reference"]) == ("team/app", "v1")
    assert (synced["digest"], synced["site"], synced["action"]) == (digest, "secondary", "copy")
    assert synced["job_id"]
    (failed,) = [line for line in lines if line["message"] == "sync failed"][:1]
    assert failed["severity"] == "WARNING"
    assert (failed["reference"], failed["reason"]) == ("v2", "unreachable")
    assert pair.secondary.host in failed["error"]
    assert failed["correlation_id"] != "registry-7"

    # And nothing that anybody could use is in any of it
    basic = base64.b64encode(f"{BASIC_USERNAME}:{BASIC_PASSWORD}".encode()).decode()
    key = pair.primary.token.keys.key_path.read_text().splitlines()[1] if pair.primary.token else ""
    secrets = (SECRET, ADMIN_TOKEN, BASIC_PASSWORD, basic, key, "tests-secret", "guessed-secret")
    assert_no_secret(log.read_text(), *secrets)
    assert_no_secret(geo.log_text, *secrets)


@pytest.mark.long
def test_one_id_goes_from_one_deployment_to_the_other(tmp_path: Path) -> None:
    # Given two deployments, each with a log of its own, between registries that we listen in on
    with TwoSites(tmp_path, env={"GEO_LOG_PATH": "geo.log", "LOG_LEVEL": "debug"}) as sites:
        with Recording(sites.primary) as source, Recording(sites.secondary) as target:
            token = sites.add()
            two = sites.follow(
                token,
                GEO_LOG_PATH="geo.log",
                LOG_LEVEL="debug",
                GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=source.url,
                GEO_SECONDARY_REGISTRY_URL=target.url,
            )

            # When an image is pushed
            push(sites.primary, "team/app", "v1", images.image())
            sites.arrives(two, "team/app", "v1")
            wait_until(lambda: '"synced"' in (two.path / "geo.log").read_text())
        two.stop()
        sites.one.stop()

    # Then the site's line has the id of the webhook's request
    stored = [line for line in told(sites.one.path / "geo.log") if line["message"] == "events were stored"]
    synced = [line for line in told(two.path / "geo.log") if line["message"] == "synced"]
    ids = {line["correlation_id"] for line in stored}
    assert {line["correlation_id"] for line in synced if line["trigger"] == "event"} <= ids
    of_tag = next(line["correlation_id"] for line in synced if line["reference"] == "v1")

    # And so have the requests to both registries, up to the tag
    asked = {request for request, id_ in source.ids if id_ == of_tag}
    assert "GET /v2/team/app/manifests/v1" in asked
    written = [request for request, id_ in target.ids if id_ == of_tag]
    assert "PUT /v2/team/app/manifests/v1" in written
    assert any(request.startswith(("PUT /v2/team/app/blobs", "POST /v2/team/app/blobs")) for request in written)

    # And no secret of either is told
    for running in (sites.one, two):
        text = running.log_text + (running.path / "geo.log").read_text()
        assert_no_secret(text, SECRET, ADMIN_TOKEN, token)


@pytest.mark.long
def test_commands_write_the_same_file(deploy: DeploymentFactory, tmp_path: Path) -> None:
    # Given
    pair = deploy(primary={"notify": []}, GEO_LOG_PATH=str(tmp_path / "geo.log"))
    geo: Running = pair.geo
    push(pair.primary, "team/app", "v1", images.image())

    # When a person syncs by hand
    shown = geo.geo("sync", "team/app")

    # Then the person sees the result alone, and the file has the line
    assert shown.startswith("team/app is synced on secondary (1 copied; ")
    (line,) = [line for line in told(tmp_path / "geo.log") if line["message"] == "synced"]
    assert line["trigger"] == "full"
    assert re.fullmatch("[0-9a-f]{32}", line["correlation_id"])
