"""Webhook bodies as Distribution 2.8 and 3.x, GitLab's registry and Azure's send them, and as nobody should."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.notifications import Notification, RegistryEvent, parse
from app.notifications.text import MAX_EXCERPT, MAX_FREE_TEXT
from app.registry.references import is_digest, is_repository, is_tag

#: On a busy machine an example may take its time.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

DIGEST = "sha256:d802218d138d5641d83ab9d255fd08d146fff438190a078d1fb75a6a30e6ccc5"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
V1 = "application/vnd.docker.distribution.events.v1+json"
V2 = "application/vnd.docker.distribution.events.v2+json"

PUSH_BY_TAG: Mapping[str, Any] = {
    "id": "0c3cf57d-61ba-4c5f-a5a0-13cb4ae3b1b5",
    "timestamp": "2026-11-22T07:29:56.104349994Z",
    "action": "push",
    "target": {
        "mediaType": OCI_MANIFEST,
        "size": 416,
        "digest": DIGEST,
        "length": 416,
        "repository": "team/app",
        "url": f"http://127.0.0.1:5600/v2/team/app/manifests/{DIGEST}",
        "tag": "v1",
        "references": [
            {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 86, "digest": "sha256:" + "5" * 64},
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 10, "digest": "sha256:" + "b" * 64},
        ],
    },
    "request": {
        "id": "e5b0d5cc-e09b-4f4f-8f0b-f7e4d14b2f2b",
        "addr": "127.0.0.1:55966",
        "host": "127.0.0.1:5600",
        "method": "PUT",
        "useragent": "docker/27.3.1",
    },
    "actor": {"name": "alice"},
    "source": {"addr": "registry-1:5000", "instanceID": "a5b6f1d5-6a3f-4a3c-8e6c-0f1e2d3c4b5a"},
}


def event(action: str, target: object, **more: object) -> dict[str, Any]:
    return {"id": "e-1", "timestamp": "2026-11-22T07:29:56Z", "action": action, "target": target, **more}


def envelope(*events: object) -> bytes:
    return json.dumps({"events": list(events)}, indent=3).encode()


def only(notification: Notification) -> RegistryEvent:
    """The one event, when there is nothing beside it."""
    assert notification.quarantined == ()
    assert notification.ignored == {}
    (found,) = notification.events
    return found


def reason(body: bytes) -> str:
    """Why the one thing in the body was quarantined, when there is nothing beside it."""
    notification = parse("distribution", body)
    assert notification.events == ()
    (quarantined,) = notification.quarantined
    return quarantined.reason


@pytest.mark.parametrize("content_type", [V1, V2, "application/json", "text/plain; charset=utf-8", None])
def test_push_by_tag_is_read_whole_under_any_content_type(content_type: str | None) -> None:
    # Given an envelope with references, as both versions send it
    body = envelope(PUSH_BY_TAG)

    # When it is read
    found = only(parse("distribution", body, content_type, {}))

    # Then every field has arrived
    assert found == RegistryEvent(
        id="0c3cf57d-61ba-4c5f-a5a0-13cb4ae3b1b5",
        action="push",
        repository="team/app",
        tag="v1",
        digest=DIGEST,
        media_type=OCI_MANIFEST,
        occurred_at=datetime(2026, 11, 22, 7, 29, 56, 104349, UTC),
        size=416,
        request_id="e5b0d5cc-e09b-4f4f-8f0b-f7e4d14b2f2b",
        actor="alice",
        user_agent="docker/27.3.1",
        source_addr="registry-1:5000",
        source_instance_id="a5b6f1d5-6a3f-4a3c-8e6c-0f1e2d3c4b5a",
    )
    assert found.reference == "v1"


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(PUSH_BY_TAG).encode(),
        json.dumps([PUSH_BY_TAG]).encode(),
        json.dumps({"events": PUSH_BY_TAG}).encode(),
        b"\xef\xbb\xbf" + envelope(PUSH_BY_TAG),
    ],
    ids=["bare event, as Azure sends it", "bare list", "events is one object", "byte order mark"],
)
def test_other_wrappings_of_an_event_are_understood(body: bytes) -> None:
    assert only(parse("distribution", body)).tag == "v1"


@pytest.mark.parametrize(
    ("media_type", "url"),
    [
        (OCI_MANIFEST, f"https://r/v2/a/x/manifests/{DIGEST}"),
        ("application/vnd.oci.image.index.v1+json", None),
        ("application/vnd.docker.distribution.manifest.list.v2+json; charset=utf-8", None),
        ("application/vnd.example.new+json", f"https://r/v2/a/x/manifests/{DIGEST}"),
        ("application/octet-stream", f"https://r/v2/a/blobs/x/manifests/{DIGEST}?ns=r"),
        ("application/vnd.example.new+json", "https://[broken"),
        ("application/vnd.example.new+json", None),
    ],
)
def test_push_without_tag_of_what_may_be_a_manifest_is_an_event_by_digest(media_type: str, url: str | None) -> None:
    target = {"mediaType": media_type, "digest": DIGEST, "size": 7, "repository": "a/x", "url": url}
    found = only(parse("distribution", envelope(event("push", target))))
    assert (found.tag, found.digest, found.reference) == (None, DIGEST, DIGEST)


@pytest.mark.parametrize(
    ("media_type", "url"),
    [
        ("application/octet-stream", f"https://r/v2/a/x/blobs/{DIGEST}"),
        ("application/octet-stream", f"https://r/v2/a/manifests/x/blobs/{DIGEST}"),
        ("application/vnd.docker.image.rootfs.diff+x-gtar", f"https://r/v2/a/x/blobs/{DIGEST}?ns=r"),
        ("application/octet-stream", None),
    ],
)
def test_pushed_blob_is_ignored(media_type: str, url: str | None) -> None:
    target = {"mediaType": media_type, "digest": DIGEST, "repository": "a/x", "url": url}
    notification = parse("distribution", envelope(event("push", target)))
    assert (notification.events, notification.ignored, notification.quarantined) == ((), {"blob": 1}, ())


def test_pulls_and_mounts_are_counted_and_ignored_but_their_source_is_seen() -> None:
    # Given pulls and a mount, from two registry processes
    pull = event("pull", {"repository": "a/x", "digest": DIGEST}, source={"instanceID": "one"})
    mount = event("mount", {"repository": "b/y", "fromRepository": "a/x"}, source={"instanceID": "two"})

    # When they are read
    notification = parse("distribution", envelope(pull, mount, pull))

    # Then they are no events, and both processes are known
    assert (notification.events, notification.quarantined) == ((), ())
    assert notification.ignored == {"pull": 2, "mount": 1}
    assert notification.source_instances == {"one", "two"}


def test_deletes_of_2_8_leave_out_what_they_do_not_have() -> None:
    # Given the two events of one DELETE by digest
    body = envelope(
        event("delete", {"digest": DIGEST, "repository": "a/x"}, id="1"),
        event("delete", {"repository": "a/x", "tag": "v1"}, id="2"),
    )

    # When they are read
    found = parse("distribution", body).events

    # Then the first is by digest and the second by tag
    assert [(each.action, each.tag, each.digest) for each in found] == [
        ("delete", None, DIGEST),
        ("delete", "v1", None),
    ]


def test_deletes_of_3_leave_empty_what_they_do_not_have() -> None:
    target = {"mediaType": "", "digest": "", "size": 0, "repository": "a/x", "tag": "v2"}
    found = only(parse("distribution", envelope(event("delete", target)), V2))
    assert (found.tag, found.digest, found.media_type, found.size) == ("v2", None, None, None)


@pytest.mark.parametrize("target", [{"repository": "a/x"}, {"repository": "a/x", "tag": "", "digest": ""}])
def test_delete_of_a_repository_names_neither_tag_nor_digest(target: object) -> None:
    found = only(parse("distribution", envelope(event("delete", target))))
    assert (found.repository, found.reference) == ("a/x", None)


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (event("rename", {"repository": "a/x"}), "unknown_action"),
        (event("PUSH", {"repository": "a/x", "tag": "v1"}), "unknown_action"),
        ({"id": "1", "target": {"repository": "a/x"}}, "unknown_action"),
        ({"action": ["push"], "target": {}}, "unknown_action"),
        (event("push", None), "bad_event"),
        (event("push", "a/x:v1"), "bad_event"),
        (event("push", {"repository": "a/x"}), "bad_event"),
        (event("push", {"tag": "v1"}), "bad_repository"),
        (event("push", {"repository": "A/x", "tag": "v1"}), "bad_repository"),
        (event("push", {"repository": "a/x\n", "tag": "v1"}), "bad_repository"),
        (event("push", {"repository": "a/" + "x" * 254, "tag": "v1"}), "bad_repository"),
        (event("delete", {"repository": ["a/x"], "tag": "v1"}), "bad_repository"),
        (event("push", {"repository": "a/x", "tag": "-v1"}), "bad_tag"),
        (event("push", {"repository": "a/x", "tag": "v1\n"}), "bad_tag"),
        (event("push", {"repository": "a/x", "tag": 1}), "bad_tag"),
        (event("push", {"repository": "a/x", "tag": "v1", "digest": "sha256:abc"}), "bad_digest"),
        (event("delete", {"repository": "a/x", "digest": {"sha256": "abc"}}), "bad_digest"),
        (17, "bad_event"),
        (None, "bad_event"),
        ([PUSH_BY_TAG], "bad_event"),
    ],
)
def test_an_event_that_cannot_be_understood_costs_none_of_the_others(bad: object, expected: str) -> None:
    # Given a bad event between two good ones
    body = envelope({**PUSH_BY_TAG, "id": "1"}, bad, {**PUSH_BY_TAG, "id": "2"})

    # When they are read
    notification = parse("distribution", body)

    # Then the good ones are there, and the bad one can be looked at
    assert [each.id for each in notification.events] == ["1", "2"]
    (quarantined,) = notification.quarantined
    assert quarantined.reason == expected
    assert json.loads(quarantined.excerpt) == bad


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "not_json"),
        (b"hello", "not_json"),
        (b'{"events": [', "not_json"),
        (b"\xff\xfe{}", "not_utf8"),
        ('{"events": []}'.encode("utf-16-le"), "not_json"),
        (b"[" * 200_000, "too_deep"),
        (b'{"a":' * 200_000, "too_deep"),
        (b"{}", "no_events"),
        (b"null", "no_events"),
        (b'"push"', "no_events"),
        (b"9" * 10_000, "no_events"),
        (b'{"repository": "a/x"}', "no_events"),
    ],
)
def test_a_body_that_cannot_be_understood_is_quarantined(body: bytes, expected: str) -> None:
    assert reason(body) == expected


@pytest.mark.parametrize("body", [b'{"events": []}', b'{"events": null}', b"[]"])
def test_an_empty_envelope_is_nothing(body: bytes) -> None:
    assert parse("distribution", body) == Notification()


def test_absurd_numbers_cost_no_event() -> None:
    # Given a size of ten thousand digits, and one that only a float holds
    target = '{"repository": "a/x", "tag": "v1", "size": %s}'
    sizes = ["9" * 10_000, "1e999", "-5", "9223372036854775808", "true"]
    body = b"[" + b",".join(b'{"action": "push", "target": %s}' % (target % size).encode() for size in sizes) + b"]"

    # When they are read
    notification = parse("distribution", body)

    # Then the events are there, without a size
    assert [(each.tag, each.size) for each in notification.events] == [("v1", None)] * len(sizes)
    assert notification.quarantined == ()


def test_events_without_id_get_one_that_a_repetition_gets_again() -> None:
    # Given the same event twice and another, none with an id
    first = {key: value for key, value in PUSH_BY_TAG.items() if key != "id"}
    other = {**first, "timestamp": "2026-11-22T07:29:57Z"}

    # When they are read, the first with its keys in another order
    again = dict(reversed(first.items()))
    ids = [each.id for each in parse("distribution", envelope(first, again, other)).events]

    # Then the repetition is known by its id
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


@pytest.mark.parametrize("timestamp", [None, "yesterday", "0001-01-01T00:00:00Z"])
def test_events_with_neither_id_nor_time_are_never_taken_for_repetitions(timestamp: str | None) -> None:
    nameless = {**PUSH_BY_TAG, "id": "", "timestamp": timestamp}
    first, second = parse("distribution", envelope(nameless, nameless)).events
    assert first.id != second.id
    assert first.occurred_at is None


def test_ids_that_cannot_be_kept_are_replaced_by_ones_that_stay_apart() -> None:
    # Given ids that differ only beyond what can be kept, or by what cannot be stored
    long = [{**PUSH_BY_TAG, "id": "x" * 300 + end} for end in "ab"]
    dirty = [{**PUSH_BY_TAG, "id": identity} for identity in ("a\0b", "a\ud800b", 17, "ab")]

    # When they are read, twice
    once, twice = (parse("distribution", envelope(*long, *dirty)).events for _ in range(2))

    # Then they stay apart, and each is the same again
    assert len({each.id for each in once}) == len(once)
    assert [each.id for each in once] == [each.id for each in twice]
    assert all(len(each.id) <= 255 for each in once)


def test_free_text_is_cut_and_cleaned() -> None:
    # Given text that PostgreSQL refuses or a column cannot hold, and things that are no text
    actor = {"name": "al\0i\ud800ce"}
    request = {"id": 5, "useragent": "x" * 1000}
    body = envelope({**PUSH_BY_TAG, "actor": actor, "request": request, "source": "here"})

    # When it is read
    found = only(parse("distribution", body))

    # Then what is left can be stored
    assert found.actor == "alice"
    assert found.user_agent == "x" * MAX_FREE_TEXT
    assert (found.request_id, found.source_addr, found.source_instance_id) == (None, None, None)


def test_gitlabs_additions_to_the_actor_do_no_harm() -> None:
    actor = {"name": "bob", "user_type": "build", "user": "eyJhbGciOi"}
    assert only(parse("distribution", envelope({**PUSH_BY_TAG, "actor": actor}))).actor == "bob"


def test_seven_megabytes_of_references_are_read_in_time() -> None:
    # Given the event of a 4 MiB manifest, with includereferences
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 10, "digest": "sha256:" + "b" * 64}
    target = {**PUSH_BY_TAG["target"], "references": [layer] * 35_000}
    body = envelope({**PUSH_BY_TAG, "target": target})
    assert len(body) > 7_000_000

    # When it is read
    start = time.process_time()
    found = only(parse("distribution", body))

    # Then the registry, which waits for half a second in all, is not kept waiting
    assert found.tag == "v1"
    assert time.process_time() - start < 0.4


def test_an_event_that_nests_too_deeply_to_be_written_out_is_read_or_quarantined() -> None:
    # Given events, without an id, at every depth around the interpreter's limit, and beyond that of newer ones
    def nested(depth: int) -> bytes:
        return (
            b'{"events": [{"action": "delete", "timestamp": "2026-11-22T07:29:56Z", '
            b'"target": {"repository": "a/x", "x": ' + b"[" * depth + b"]" * depth + b"}}]}"
        )

    # When each is read
    outcomes = [parse("distribution", nested(depth)) for depth in (*range(500, 1100, 3), 20_000, 100_000)]

    # Then each is an event or too deep
    assert {each.reason for outcome in outcomes for each in outcome.quarantined} == {"too_deep"}
    assert all(len(outcome.events) + len(outcome.quarantined) == 1 for outcome in outcomes)


def assert_storable(notification: Notification) -> None:
    for each in notification.events:
        assert is_repository(each.repository)
        assert each.tag is None or is_tag(each.tag)
        assert each.digest is None or is_digest(each.digest)
        assert each.reference or each.action == "delete"
        assert 0 < len(each.id) <= 255
        assert each.occurred_at is None or each.occurred_at.tzinfo is UTC
        for text in (each.id, each.media_type, each.request_id, each.actor, each.user_agent, each.source_addr):
            assert text is None or ("\0" not in text and len(text.encode()) <= 4 * MAX_FREE_TEXT)
    for quarantined in notification.quarantined:
        assert "\0" not in quarantined.excerpt
        assert len(quarantined.excerpt.encode()) <= MAX_EXCERPT


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
near_target = st.fixed_dictionaries(
    {},
    optional={
        "repository": st.sampled_from(["a/x", "A", ""]) | anything,
        "tag": st.sampled_from(["v1", "", "-"]) | anything,
        "digest": st.sampled_from([DIGEST, "", "sha256:"]) | anything,
        "mediaType": st.sampled_from([OCI_MANIFEST, "application/octet-stream", ""]) | anything,
        "url": st.sampled_from(["/v2/a/x/blobs/1", "/v2/a/x/manifests/1"]) | anything,
        "size": anything,
    },
)
near_event = st.fixed_dictionaries(
    {"action": st.sampled_from(["push", "delete", "pull", "mount", "rename"]) | anything},
    optional={
        "id": anything,
        "timestamp": st.sampled_from(["2026-11-22T07:29:56Z", "9999-12-31T23:59:59-10:00"]) | anything,
        "target": near_target | anything,
        "request": anything | st.dictionaries(st.sampled_from(["id", "useragent"]), anything),
        "actor": anything | st.fixed_dictionaries({"name": anything}),
        "source": anything | st.dictionaries(st.sampled_from(["addr", "instanceID"]), anything),
    },
)


@unhurried
@given(st.binary())
def test_arbitrary_bytes_never_raise(body: bytes) -> None:
    assert_storable(parse("distribution", body))


@unhurried
@given(anything)
def test_arbitrary_json_never_raises(document: object) -> None:
    assert_storable(parse("distribution", json.dumps(document).encode()))
    assert_storable(parse("distribution", json.dumps({"events": document}).encode()))


@unhurried
@given(st.lists(near_event | anything, max_size=5))
def test_nearly_real_events_are_each_accounted_for(events: list[object]) -> None:
    # Given a mixture of events, nearly events and rubbish, when it is read
    notification = parse("distribution", envelope(*events))

    # Then every one is an event, ignored or quarantined, and can be stored
    assert_storable(notification)
    accounted = len(notification.events) + sum(notification.ignored.values()) + len(notification.quarantined)
    assert accounted == len(events)
