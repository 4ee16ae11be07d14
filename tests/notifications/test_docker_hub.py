from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.notifications.delivering import only, read, reasons


def test_a_push_is_read_whole() -> None:
    found = only(read("docker-hub", "docker-hub-push"))
    assert (found.action, found.repository, found.tag, found.digest) == ("push", "team/app", "latest", None)
    assert found.occurred_at == datetime(2014, 12, 3, 0, 22, 41, tzinfo=UTC)
    assert found.actor == "alice"


def test_nothing_is_a_repetition() -> None:
    # Given two bodies that say the same: two pushes of one tag within a second do
    found = [only(read("docker-hub", "docker-hub-push")) for _ in range(2)]
    # Then neither is taken for the other
    assert found[0].id != found[1].id


def test_a_push_without_a_time_is_one() -> None:
    found = only(read("docker-hub", "docker-hub-push", lambda body: body["push_data"].pop("pushed_at")))
    assert (found.tag, found.occurred_at) == ("latest", None)


def test_official_images_are_in_the_library() -> None:
    found = read("docker-hub", "docker-hub-push", lambda body: body["repository"].update(repo_name="redis"))
    assert only(found).repository == "library/redis"


def test_namespace_and_name_will_do() -> None:
    found = read("docker-hub", "docker-hub-push", lambda body: body["repository"].pop("repo_name"))
    assert only(found).repository == "team/app"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: body.pop("push_data"), "no_events"),
        (lambda body: body.update(repository="team/app"), "no_events"),
        (lambda body: body["repository"].update(repo_name="Team/App"), "bad_repository"),
        (lambda body: body["push_data"].update(tag="a b"), "bad_tag"),
        (lambda body: body["push_data"].update(tag=None), "bad_event"),
    ],
)
def test_what_is_half_known_is_quarantined(change: Any, reason: str) -> None:
    assert reasons(read("docker-hub", "docker-hub-push", change)) == [reason]
