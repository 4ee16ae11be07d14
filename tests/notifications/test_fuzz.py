"""Whatever comes in whatever dialect: an answer, and nothing in it that a database does not store."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.notifications import DIALECTS, Notification, parse
from app.notifications.event import MAX_EVENT_ID
from app.notifications.notification import MAX_QUARANTINED
from app.notifications.text import MAX_EXCERPT, free_text
from app.registry.references import is_digest, is_repository, is_tag
from tests.notifications.delivering import FIXTURES, HEADERS

#: On a busy machine an example may take its time.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=30)

DOCUMENTS = {path.stem: json.loads(path.read_bytes()) for path in sorted(FIXTURES.glob("*.json"))}

each_dialect = pytest.mark.parametrize("dialect", sorted(DIALECTS))

#: What vendors do send, where it does not belong, among what nobody does.
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "\x00", "\ud800", "a/b", "sha256:12", "A", "x" * 5000, 10**400, [], {}, [[]], {"": {}}]),
)
TREES = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
HEADER_TEXT = st.text(max_size=40)


def names(document: Any) -> set[str]:
    """Every name of a member anywhere in it."""
    if isinstance(document, dict):
        return set(document) | {name for each in document.values() for name in names(each)}
    return {name for each in document for name in names(each)} if isinstance(document, list) else set()


NAMES = sorted({name for document in DOCUMENTS.values() for name in names(document)})


@st.composite
def damaged(draw: st.DrawFn, dialect: str) -> Any:
    """A recorded body with some of its values replaced, moved or taken out."""
    mine = [name for name in DOCUMENTS if name.startswith(dialect)] or list(DOCUMENTS)
    document = json.loads(json.dumps(DOCUMENTS[draw(st.sampled_from(mine))]))
    for _ in range(draw(st.integers(1, 4))):
        place = document
        while isinstance(place, (dict, list)) and place:
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], (dict, list)) or draw(st.booleans()):
                if draw(st.booleans()):
                    place[key] = draw(TREES)
                else:
                    del place[key]
                break
            place = place[key]
    return document


def is_empty(document: Any) -> bool:
    """Whether it may be an envelope of Distribution's that holds nothing, which is no fault."""
    return isinstance(document, dict) and document.get("events") in ([], None)


def is_sound(notification: Notification) -> None:
    assert notification.events or notification.ignored or notification.quarantined
    assert len(notification.quarantined) <= MAX_QUARANTINED
    for quarantined in notification.quarantined:
        assert len(quarantined.excerpt.encode()) <= MAX_EXCERPT
        assert "\x00" not in quarantined.excerpt
    for event in notification.events:
        assert is_repository(event.repository)
        assert event.tag is None or is_tag(event.tag)
        assert event.digest is None or is_digest(event.digest)
        assert 0 < len(event.id) <= MAX_EVENT_ID
        assert free_text(event.id) == event.id
        for text in (event.actor, event.user_agent, event.source_addr, event.media_type):
            assert text is None or free_text(text) == text


@each_dialect
@unhurried
@given(data=st.data())
def test_damaged_bodies_are_sorted(dialect: str, data: st.DataObject) -> None:
    document = data.draw(damaged(dialect))
    found = parse(dialect, json.dumps(document).encode(), "application/json", HEADERS.get(dialect))
    if not is_empty(document):
        is_sound(found)


@each_dialect
@unhurried
@given(tree=st.dictionaries(st.sampled_from(NAMES), TREES, max_size=6), nested=st.sampled_from(NAMES))
def test_known_names_with_unknown_values_are_sorted(dialect: str, tree: dict[str, Any], nested: str) -> None:
    for document in (tree, {nested: tree}, {**tree, nested: tree}):
        parse(dialect, json.dumps(document).encode(), "application/json", HEADERS.get(dialect))


@each_dialect
@unhurried
@example(body=b'{"events": []}', kind="application/json", headers={})
@given(body=st.binary(max_size=200), kind=HEADER_TEXT, headers=st.dictionaries(HEADER_TEXT, HEADER_TEXT, max_size=3))
def test_bytes_and_headers_of_any_kind_are_sorted(
    dialect: str, body: bytes, kind: str, headers: dict[str, str]
) -> None:
    found = parse(dialect, body, kind, headers)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not is_empty(document):
        is_sound(found)


@each_dialect
@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_every_dialect_survives_the_others_bodies(dialect: str, name: str) -> None:
    is_sound(parse(dialect, json.dumps(DOCUMENTS[name]).encode(), "application/json", HEADERS.get(dialect)))


@pytest.mark.parametrize("depth", [900, 100_000])
def test_depth_is_survived_where_it_is_read_and_where_it_is_written_again(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    message = base64.b64encode(deep.encode()).decode()
    hub = '{"push_data": {"tag": "v1", "pushed_at": 1417566161}, "repository": {"repo_name": "a/b"}, "x": '
    bodies = {
        "docker-hub": hub + deep + "}",
        "harbor": '{"type": "PUSH_ARTIFACT", "occur_at": 1586922308, "event_data": ' + deep + "}",
        "gar": '{"message": {"data": "' + message + '"}}',
        "quay": '{"repository": "a/b", "updated_tags": ' + deep + "}",
    }
    for dialect, body in bodies.items():
        is_sound(parse(dialect, body.encode(), None, {}))
