"""Spans of a whole run, as a collector has them: one trace from the webhook to the tag, and no secret in it."""

from __future__ import annotations

import base64
import socket
import time
from pathlib import Path

import pytest

from tests.integration.conftest import DeploymentFactory
from tests.support import images
from tests.support.deployment import ADMIN_TOKEN, SECRET
from tests.support.envelopes import envelope, push_event
from tests.support.registries import BASIC_PASSWORD, BASIC_USERNAME
from tests.support.s3 import S3
from tests.support.spans import Collector, Told
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = [pytest.mark.timeout(240)]

TRACE = "0af7651916cd43dd8448eb211c80319c"

TAG = "PUT /v2/<name>/manifests/<reference>"


@pytest.mark.long
def test_one_trace_goes_from_the_webhook_to_the_tag_and_no_secret_is_told(
    deploy: DeploymentFactory, tmp_path: Path
) -> None:
    # Given a collector; a primary on object storage, which redirects to signed addresses; a secondary with a password
    with S3(tmp_path) as storage, Collector() as collector:
        pair = deploy(
            primary={"notify": [], "config": storage.registry_config()},
            secondary={"token": None, "basic": True},
            GEO_SECONDARY_REGISTRY_AUTH="basic",
            GEO_SECONDARY_REGISTRY_USERNAME=BASIC_USERNAME,
            GEO_SECONDARY_REGISTRY_PASSWORD=BASIC_PASSWORD,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS="x-api-key=collectors-secret",
            OTEL_SERVICE_NAME="geo-of-the-tests",
            # What a process has not sent when it ends, it sends then: nothing is sent before.
            OTEL_BSP_SCHEDULE_DELAY="600000",
        )
        geo = pair.geo

        # When an image is pushed, and somebody tells of it in a trace of his own
        digest = push(pair.primary, "team/app", "v1", images.image())
        event = push_event("team/app", "v1")
        event["target"]["digest"] = digest
        answer = geo.post(envelope(event), traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
        assert answer.headers["X-Request-ID"] == TRACE
        wait_until(lambda: digest_of(pair.secondary, "team/app", "v1") == digest, 30, lambda: geo.log_text[-3000:])
        wait_until(lambda: '"synced"' in geo.log_text)

        # And another secret is tried, and a person verifies what is there
        assert geo.post(envelope(event), Authorization="guessed-secret").status_code == 401
        geo.geo("verify", "team/app")
        geo.stop()
        spans, sent = collector.spans, b"".join(request.body for request in collector.received)
        assert all(request.headers["x-api-key"] == "collectors-secret" for request in collector.received)
        assert collector.services == {"geo-of-the-tests"}

    # Then the way of the push is one trace, which is the sender's
    ours = [span for span in spans if span.trace_id == TRACE]
    (webhook,) = [span for span in ours if span.kind == "SERVER"]
    assert webhook.parent_id == "b7ad6b7169203331"
    assert (webhook.attributes["geo.events.accepted"], webhook.attributes["http.response.status_code"]) == (1, 200)
    assert [span for span in ours if span.name == "process_events"]
    # Whoever came first has read it: the message only wakes, and others may be awake.
    assert sum(span.attributes["geo.events"] for span in spans if span.name == "process_events") == 1
    (attempt,) = [span for span in ours if span.name == "sync_reference"]
    assert (attempt.attributes["geo.reference"], attempt.attributes["geo.action"]) == ("v1", "copy")
    blobs = [span for span in ours if span.name == "copy_blob"]
    assert len(blobs) == len({span.attributes["geo.digest"] for span in blobs}) >= 2

    # And the requests to both registries and to the storage are below the attempt
    (tag,) = [span for span in ours if span.name == TAG]
    assert (tag.attributes["geo.reference"], tag.attributes["http.response.status_code"]) == ("v1", 201)
    assert f"{tag.attributes['server.address']}:{tag.attributes['server.port']}" == pair.secondary.host
    assert attempt in ancestors(tag, ours)
    for blob in blobs:
        asked = {span.attributes["http.request.method"] for span in ours if blob in ancestors(span, ours)}
        assert {"GET", "PUT"} <= asked or {"GET", "POST"} <= asked
    addresses = {
        f"{span.attributes['server.address']}:{span.attributes['server.port']}"
        for span in spans
        if span.kind == "CLIENT"
    }
    assert {pair.primary.host, pair.secondary.host} < addresses
    assert not [span for span in ours if span.error]

    # And others' occasions are others' traces
    refused = [
        span for span in spans if span.attributes.get("http.response.status_code") == 401 and span.kind == "SERVER"
    ]
    assert refused
    assert TRACE not in {span.trace_id for span in refused}
    verified = [span for span in spans if span.name == "verify_repository"]
    assert {span.attributes["geo.state"] for span in verified} == {"succeeded"}
    # Of the command at least, which is an occasion of its own
    assert {span.trace_id for span in verified} - {TRACE}

    # And nothing that anybody could use was sent
    basic = base64.b64encode(f"{BASIC_USERNAME}:{BASIC_PASSWORD}".encode()).decode()
    secrets = (SECRET, ADMIN_TOKEN, BASIC_PASSWORD, basic, "tests-secret", "guessed-secret", "collectors-secret")
    for secret in (*secrets, "eyJ", "X-Amz-", "_state"):
        assert secret.encode() not in sent, secret
    # And it is told in no log either
    assert "collectors-secret" not in geo.log_text


def ancestors(span: Told, spans: list[Told]) -> list[Told]:
    by_id = {each.span_id: each for each in spans}
    found = []
    while (parent := by_id.get(span.parent_id)) is not None:
        found.append(parent)
        span = parent
    return found


@pytest.mark.long
def test_a_collector_that_does_not_answer_keeps_nobody(deploy: DeploymentFactory) -> None:
    # Given one that takes connections and says nothing
    with socket.create_server(("127.0.0.1", 0)) as silent:
        pair = deploy(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}")

        # When an image is pushed
        digest = push(pair.primary, "team/app", "v1", images.image())

        # Then it arrives, and all ends in time
        wait_until(lambda: digest_of(pair.secondary, "team/app", "v1") == digest, 30)
        started = time.monotonic()
        assert pair.geo.stop() == 0
        assert time.monotonic() - started < 15
