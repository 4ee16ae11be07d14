"""What an event can try: to have us ask somebody, to be taken for a command, to be larger than it looks."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.database import connection
from app.models import ContainerRepository, Event, QuarantinedEvent
from app.notifications import parse
from app.replication import event_log
from app.replication.event_log import Origin
from tests.registry.scripted import Scripted
from tests.security.conftest import Between
from tests.support import images
from tests.support.deployment import ADMIN_TOKEN, SECRET
from tests.support.envelopes import envelope, push_event
from tests.support.face import Face, face
from tests.support.oci_registry import OciRegistry
from tests.support.running import WEBHOOK
from tests.support.wire import digest_of, push

MIB = 1024 * 1024

#: What people and programs have stumbled over.
HOSTILE = (
    "'; DROP TABLE geo_events; --",
    '" OR "1"="1',
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "{{7*7}}${7*7}#{7*7}",
    "../../../../etc/passwd",
    "%2e%2e%2f%00",
    "\x1b[2J\x1b[1;1Howned",
    "a\r\nSet-Cookie: geo_session=1",
    "\u202etxt.exe",
    "$(reboot)`reboot`",
)


@pytest.fixture
def web(database_url: str, tmp_path: Path) -> Iterator[Face]:
    with face(database_url, tmp_path / "state") as started:
        yield started


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Face]:
    """The same where the kind of database makes no difference."""
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state") as started:
        yield started


def post(web: Face, body: Any, **headers: str) -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Authorization": SECRET, **headers}
    return web.client.post(WEBHOOK, data=data, headers=sent)


def hostile(text: str) -> dict[str, Any]:
    """An event with this wherever nothing but text is asked for."""
    event = push_event("team/app", "v1")
    event["id"] = text
    event["actor"] = {"name": text}
    event["request"] |= {"id": text, "useragent": text, "host": text, "addr": text}
    event["source"] |= {"addr": text, "instanceID": text}
    event["target"] |= {"mediaType": f"application/{text}", "url": text}
    return event


def test_text_stays_text(web: Face) -> None:
    # When events say these everywhere
    assert post(web, envelope(*map(hostile, HOSTILE))).get_json()["accepted"] == len(HOSTILE)

    # Then each is a row, as it came
    with connection():
        assert [event.actor for event in Event.select().order_by(Event.id)] == list(HOSTILE)
        assert ContainerRepository.select().count() == 1

    # And no page, and no answer of the API, is anything but text because of it
    web.sign_in()
    for address in ("/admin", "/admin/events", "/admin/repositories", "/admin/quarantine"):
        page = web.client.get(address)
        assert page.status_code == 200
        for markup in ("<script>alert", "<img src=x", "\x1b", "\u202e"):
            assert markup not in page.text
        assert "Set-Cookie: geo_session=1" not in str(page.headers)
    told = web.client.get("/api/v4/geo/event_log", headers={"PRIVATE-TOKEN": ADMIN_TOKEN})
    assert (told.mimetype, told.headers["X-Content-Type-Options"]) == ("application/json", "nosniff")


@pytest.mark.parametrize("place", ["repository", "tag", "digest"])
def test_a_name_is_a_name_or_quarantined(web: Face, place: str) -> None:
    # When events name what no registry could have
    names = [*HOSTILE, "team//app", "/team", "team/../app", "TEAM/app", "team/app:v1", "a" * 300]
    events = [push_event("team/app", "v1") for _ in names]
    for event, name in zip(events, names, strict=True):
        event["target"][place] = name
    answer = post(web, envelope(*events)).get_json()

    # Then it becomes part of no URL, path or query: it is kept apart, as text
    assert answer == {"accepted": 0, "duplicate": 0, "ignored": 0, "quarantined": len(names)}
    with connection():
        assert Event.select().count() == 0
        assert {kept.reason for kept in QuarantinedEvent.select()} == {f"bad_{place}"}


def test_addresses_in_an_event_are_never_asked(
    between: Between, source: OciRegistry, target: OciRegistry, canary: Scripted
) -> None:
    # Given an event that names somebody else's address wherever there is one
    digest = push(source, "team/app", "v1", images.image())
    event = push_event("team/app", "v1")
    host = canary.url.removeprefix("http://")
    event["target"] |= {"digest": digest, "url": f"{canary.url}/v2/team/app/manifests/{digest}"}
    event["target"]["references"] = [{"url": canary.url, "urls": [canary.url], "digest": digest}]
    event["request"] |= {"host": host, "addr": host}
    event["source"] |= {"addr": host}
    event |= {"SubscribeURL": canary.url, "Type": "SubscriptionConfirmation", "callback_url": canary.url}

    # When it is stored and what it names is replicated
    geo = between()
    told = parse("distribution", json.dumps(envelope(event)).encode(), None, {})
    event_log.store(told.events, told.quarantined, Origin("distribution", 0))
    geo.settle()

    # Then the primary was asked, and nobody else
    assert digest_of(target, "team/app", "v1") == digest
    assert canary.seen == []


def test_a_subscription_is_not_confirmed_by_asking_for_it(one: Face, canary: Scripted) -> None:
    said = {"Type": "SubscriptionConfirmation", "SubscribeURL": canary.url, "validationUrl": canary.url}
    for dialect in ("", "/ecr", "/acr", f"/quay?secret={SECRET}", "/harbor", "/zot"):
        answer = one.client.post(f"{WEBHOOK}{dialect}", json=said, headers={"Authorization": SECRET})
        assert answer.status_code == 200
    assert canary.seen == []


def test_a_packed_body_is_not_unpacked(one: Face) -> None:
    # Given what is packed a thousand times
    packer = zlib.compressobj(9, wbits=31)
    body = b"".join([*(packer.compress(b" " * MIB) for _ in range(256)), packer.flush()])
    packed = gzip.compress(json.dumps(envelope(push_event())).encode())

    for encoding in ("gzip", "deflate", "br", "gzip, gzip"):
        # When it comes with the right secret
        tracemalloc.start()
        try:
            answer = post(one, body, **{"Content-Encoding": encoding})
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        # Then it is quarantined as it is
        assert answer.get_json()["quarantined"] == 1
        assert most < 64 * MIB
        # And so is one that would be an event
        assert post(one, packed, **{"Content-Encoding": encoding}).get_json()["accepted"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 5_000_000 + b"{}]",
        b'{"events":[' + b"[]," * 5_000_000 + b"[]]}",
        b"[" * 15_000_000,
        b"[" + b",".join(b'"%05x"' % number for number in range(1_800_000)) + b"]",
        b"{" + b",".join(b'"%05x":0' % number for number in range(1_450_000)) + b"}",
    ],
    ids=["objects", "lists", "deep", "strings", "keys"],
)
def test_a_body_of_nothing_but_parts_takes_no_memory(one: Face, body: bytes) -> None:
    # Given a body just within what is parsed, of as many parts as fit
    assert 14 * MIB < len(body) < 16 * MIB

    # When it comes with the right secret
    tracemalloc.start()
    try:
        answer = post(one, body)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    # Then it is kept by its head, and everything is looked at instead
    assert answer.get_json()["quarantined"] == 1
    assert most < 128 * MIB
    with connection():
        (kept,) = QuarantinedEvent.select()
        assert kept.reason == "too_many"


def test_the_secret_of_a_notification_opens_nothing_else(one: Face) -> None:
    # When somebody comes with it elsewhere, Then they are nobody
    for address in ("/api/v4/geo_sites", "/api/v4/geo/events", "/jwt/auth", "/api/v4/geo/repositories"):
        for header in ({"Authorization": f"Bearer {SECRET}"}, {"PRIVATE-TOKEN": SECRET}, {"Authorization": SECRET}):
            assert one.client.get(address, headers=header).status_code == 401, address
    assert one.sign_in(SECRET).status_code == 401
