"""The feed over HTTP: who may read, what is told, and that nobody who waits keeps registries from being heard."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.api import feed
from app.database import connection
from app.models import Cursor, Event, Site
from app.registry import NotFound, ServerError, Unauthorized
from app.registry.listing import CatalogPage
from app.replication import backfill, event_log, remote_sites, site_tokens
from app.replication.event_log import Origin
from app.replication.log import local, wire
from app.replication.log.position import Position
from app.replication.remote_sites import Change, Declaration
from tests.api.sites import add
from tests.support.deployment import ADMIN_TOKEN, event
from tests.support.face import Face
from tests.support.ports import free_port
from tests.support.wait import wait_until
from tests.support.web import Web

EVENTS, REPOSITORIES = "/api/v4/geo/events", "/api/v4/geo/repositories"

pytestmark = pytest.mark.timeout(90)


def ask(api: Face, token: str | None, path: str = EVENTS, **query: Any) -> TestResponse:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return api.client.get(path, query_string=query, headers=headers)


def read(api: Face, token: str, after: str | None = None, **query: Any) -> Any:
    asked = query if after is None else {"after": after, **query}
    response = ask(api, token, **asked)
    assert response.status_code == 200, response.text
    return response.get_json()


def store(*tags: str, repository: str = "team/app") -> None:
    event_log.store([event(tag=tag, repository=repository) for tag in tags], [], Origin("distribution", 0))


def told(answer: Any) -> list[str]:
    return [each["tag"] for each in answer["events"]]


# --- who may read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "x", "geosite_" + "x" * 43, ADMIN_TOKEN])
@pytest.mark.parametrize("path", [EVENTS, REPOSITORIES])
def test_without_a_site_s_token_nothing_is_told(api: Face, token: str | None, path: str) -> None:
    response = ask(api, token, path)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert "geo sites" in response.get_json()["detail"]


def test_a_token_is_good_until_it_is_replaced_or_its_site_removed(api: Face) -> None:
    # Given a site's token, and another that it got later
    first = add()
    with connection():
        site = Site.get(Site.name == "berlin")
    second = site_tokens.issue(site)

    # Then both are good for a while, and neither is kept in the clear
    assert [ask(api, token).status_code for token in (first, second)] == [200, 200]
    with connection():
        assert not {first, second} & {str(value) for value in Site.get_by_id(site.id).__data__.values()}

    # And the former is void when a third comes, or at once if that is asked for
    third = site_tokens.issue(site, timedelta(0))
    assert [ask(api, token).status_code for token in (first, second, third)] == [401, 401, 200]

    # And every one when the site is removed
    remote_sites.apply([Change(Declaration("berlin"), None)])
    assert ask(api, third).status_code == 401


def test_the_former_token_ends_with_its_day(api: Face) -> None:
    first = add()
    with connection():
        site = Site.get(Site.name == "berlin")
    site_tokens.issue(site, timedelta(microseconds=1))
    assert ask(api, first).status_code == 401


def test_wrong_tokens_from_one_address_are_asked_to_wait(api: Face) -> None:
    # Given somebody who sends wrong tokens without end, some of them as ours look
    token = add()
    answers = [ask(api, wrong) for wrong in ("wrong", "geosite_" + "x" * 43) for _ in range(50)]
    # Then he is asked to wait
    statuses = [answer.status_code for answer in answers]
    assert statuses == [401] * 60 + [429] * 40
    assert answers[-1].headers["Retry-After"]
    # And a site at the same address, that of a proxy, goes on
    assert ask(api, token).status_code == 200


def test_a_token_that_is_revoked_while_its_request_waits_is_told_nothing(api: Face) -> None:
    # Given a request that waits
    token = add()
    position = read(api, token)["position"]
    answers: list[TestResponse] = []

    def wait() -> None:
        client = api.app.test_client()
        asked = {"after": position, "wait": 20}
        answers.append(client.get(EVENTS, query_string=asked, headers={"Authorization": f"Bearer {token}"}))

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: local.arrivals._waiting > 0)

    # When its token is revoked before an event comes
    with connection():
        site = Site.get(Site.name == "berlin")
    site_tokens.issue(site, timedelta(0))
    store("v1")
    waiting.join(30)

    # Then it is not told of it
    assert answers[0].status_code == 401
    assert "v1" not in answers[0].text


# --- what is told -----------------------------------------------------------------------------------------------------


def test_events_come_in_order_and_whole(api: Face) -> None:
    # Given a site that has begun to read
    token = add()
    begun = read(api, token)
    assert begun["events"] == []

    # When events come
    store("v1", "v2", "v3")
    answer = read(api, token, begun["position"], limit=2)

    # Then they are told in order, within the limit, each whole, and read on from there
    assert told(answer) == ["v1", "v2"]
    reading = wire.load(answer)
    events, bad = wire.as_registry_events(reading.events)
    assert ([each.tag for each in events], bad) == (["v1", "v2"], [])
    assert {each.repository for each in events} == {"team/app"}
    with connection():
        assert {each.occurred_at for each in events} <= {row.occurred_at for row in Event.select()}
    assert answer["site"] == {
        "name": "berlin",
        "repositories": [],
        "tags": [],
        "capacity": None,
        "deletion": None,
        "protected_tags": [],
        "verification": None,
        "paused": False,
    }
    assert told(read(api, token, answer["position"])) == ["v3"]


def test_a_site_is_told_of_its_scope_alone(api: Face) -> None:
    token = add("team/**", "!team/secret")
    position = read(api, token)["position"]
    store("a", repository="other/app")
    store("b", repository="team/secret")
    store("c")
    assert told(read(api, token, position)) == ["c"]


def test_a_long_position_may_come_as_a_form(api: Face) -> None:
    # Given a position with more gaps than a URL takes
    token = add()
    position = Position.decode(read(api, token)["position"])
    store(*(f"v{number}" for number in range(20)))
    long = Position(20, {n: n * 7919 for n in range(1, 20)}, position.log).encode()

    # When it is sent as a form
    response = api.client.post(EVENTS, data={"after": long}, headers={"Authorization": f"Bearer {token}"})

    # Then it is read like any other
    assert response.status_code == 200, response.text
    assert len(response.get_json()["events"]) == 19


def test_how_far_a_site_has_read_is_kept(api: Face) -> None:
    token = add()
    store("v1", "v2")
    position = read(api, token)["position"]
    read(api, token, position)
    with connection():
        row = Cursor.select().join(Site).where(Site.name == "berlin").get()
    assert row.position == Position.decode(position).last


def test_a_position_that_was_pruned_past_is_gone(api: Face) -> None:
    token = add()
    position = read(api, token)["position"]
    store("v1", "v2")
    event_log.prune(timedelta(seconds=-1), timedelta(seconds=-1))

    response = ask(api, token, after=position)

    assert response.status_code == 410
    answer = response.get_json()
    assert answer["reset"]["reason"] == "pruned"
    assert read(api, token, answer["position"])["events"] == []


def test_a_reconcile_that_the_primary_asks_for_is_passed_on(api: Face) -> None:
    token = add()
    before = read(api, token)["reconcile"]
    backfill.request("a notification was too large to read")
    after = read(api, token)["reconcile"]
    assert before["requested_at"] != after["requested_at"]
    assert after["reason"] == "a notification was too large to read"


@pytest.mark.parametrize("query", [{"limit": "x"}, {"wait": "-1"}, {"wait": "1e9"}, {"limit": "9" * 10}])
def test_nonsense_is_refused(api: Face, query: dict[str, str]) -> None:
    assert ask(api, add(), **query).status_code == 400


def test_who_finds_no_room_to_wait_is_told_when_to_ask_again(api: Face) -> None:
    # Given as many who wait as may
    token = add()
    position = read(api, token)["position"]
    with feed.waiting.one() as one, feed.waiting.one() as two, feed.waiting.one() as three:
        assert (one, two, three) == (True, True, True)

        # When another would wait
        answer = read(api, token, position, wait=20)

        # Then he is answered at once, and told of what there is all the same
        assert (answer["events"], answer["retry_after"]) == ([], feed.ASK_AGAIN)
        store("v1")
        assert told(read(api, token, position, wait=20)) == ["v1"]


# --- the repositories -------------------------------------------------------------------------------------------------


class Catalog:
    """A registry's catalog of these pages, or one that fails."""

    def __init__(self, *pages: list[str], error: Exception | None = None) -> None:
        self.pages, self.error = pages, error

    def close(self) -> None:
        pass

    def catalog(self, page_size: int = 0, after: str | None = None) -> Iterator[CatalogPage]:
        number = int(after.rpartition("=")[2]) if after else 0
        if self.error is not None and number >= len(self.pages):
            raise self.error
        for place in range(number, len(self.pages)):
            more = place + 1 < len(self.pages) or self.error is not None
            yield CatalogPage(tuple(self.pages[place]), f"/v2/_catalog?last={place + 1}" if more else None)


def listed(api: Face, token: str) -> list[str]:
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        response = ask(api, token, REPOSITORIES, **({"after": after} if after else {}))
        assert response.status_code == 200, response.text
        page = response.get_json()
        found += page["repositories"]
        after = page["next"]
    return found


def test_known_repositories_and_the_registry_s_own_are_listed_within_the_scope(
    api: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given repositories that events named, and others that only the registry knows, over several pages
    token = add("team/**", "!team/secret")
    store("v1", repository="team/known")
    store("v1", repository="other/known")
    catalog = Catalog(["team/a", "other/b"], ["team/secret"], ["team/c"])
    monkeypatch.setattr(api.app.extensions["geo"], "primary", catalog)

    # Then the site is told of those in its scope
    assert listed(api, token) == ["team/known", "team/a", "team/c"]


def test_where_the_catalog_is_refused_what_is_named_is_listed(api: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a registry that lists to administrators alone
    token, geo = add(), api.app.extensions["geo"]
    monkeypatch.setattr(geo, "primary", Catalog(error=Unauthorized("not for you", status=401)))

    # When a site asks, Then our keys may be wrong, as long as nobody has named what there is
    store("v1")
    response = ask(api, token, REPOSITORIES, after="catalog:")
    assert response.status_code == 502

    # And it hears of both, and what to do
    assert re.search(r"check issuer.*administrators alone.*GEO_REPOSITORIES", response.get_json()["detail"])
    monkeypatch.setattr(geo, "settings", replace(geo.settings, repositories=("team/app", "team/**")))
    assert listed(api, token) == ["team/app"]


def test_a_registry_without_a_catalog_still_has_what_events_named(api: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    token = add()
    monkeypatch.setattr(api.app.extensions["geo"], "primary", Catalog(error=NotFound("no such page")))
    response = ask(api, token, REPOSITORIES, after="catalog:")
    assert response.status_code == 501
    assert "GEO_REPOSITORIES" in response.get_json()["detail"]
    store("v1")
    assert listed(api, token) == ["team/app"]


def test_a_catalog_that_breaks_off_is_not_taken_for_its_end(api: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    token = add()
    for error in (ServerError("down"), NotFound("no such page")):
        monkeypatch.setattr(api.app.extensions["geo"], "primary", Catalog(["team/a"], error=error))
        page = ask(api, token, REPOSITORIES, after="catalog:").get_json()
        assert page["repositories"] == ["team/a"]
        assert ask(api, token, REPOSITORIES, after=page["next"]).status_code == 502


@pytest.mark.parametrize("after", ["x", "known:x", "catalog:/v2/team/app/tags/list", "catalog:http://elsewhere/"])
def test_a_page_that_none_named_is_refused(api: Face, after: str) -> None:
    assert ask(api, add(), REPOSITORIES, after=after).status_code == 400


# --- beside registries ------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_waiting_sites_do_not_keep_registries_from_being_heard(tmp_path: Path) -> None:
    # Given the real server with one process, and more sites that wait than it has threads
    env = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/geo.db",
        "GEO_ROLE": "primary",
        "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": "http://127.0.0.1:9",
        "GEO_NOTIFICATION_SECRET": "tests-notification-secret",
    }
    with Web(tmp_path, env, port=free_port()) as web:
        token = _token(web)
        bearer = {"Authorization": f"Bearer {token}"}
        position = web.post({}, path=EVENTS, headers=bearer).json()["position"]
        answers: list[Any] = []

        def wait() -> None:
            asked = f"{EVENTS}?wait=25&after={position}"
            answers.append(web.post({}, path=asked, headers=bearer, timeout=60).json())

        waiting = [threading.Thread(target=wait) for _ in range(12)]
        for each in waiting:
            each.start()
        wait_until(lambda: len(answers) >= 12 - feed.WAITING)

        # When a registry sends an event
        document = {"events": [_push("v1")]}
        assert web.post(document, timeout=5).json()["accepted"] == 1

        # Then it is taken in, and those who waited are told of it
        for each in waiting:
            each.join(20)
        assert sum(len(answer["events"]) for answer in answers) == feed.WAITING

        # And a stop does not wait for those who wait
        position = web.post({}, path=EVENTS, headers=bearer).json()["position"]
        answers.clear()
        waiting = [threading.Thread(target=wait) for _ in range(feed.WAITING + 1)]
        for each in waiting:
            each.start()
        # The one that finds no room tells that the others wait.
        wait_until(lambda: [answer["retry_after"] for answer in answers] == [feed.ASK_AGAIN])
        assert web.stop() == 0
        for each in waiting:
            each.join(20)
        assert [answer["events"] for answer in answers] == [[]] * (feed.WAITING + 1)


def _token(web: Web) -> str:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "app", "sites", "add", "berlin"],
        env=web.env,
        cwd=web.path,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def _push(tag: str) -> dict[str, Any]:
    target = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "repository": "team/app", "tag": tag}
    target["digest"] = "sha256:" + "0" * 64
    return {"id": tag, "timestamp": "2026-07-01T12:00:00Z", "action": "push", "target": target}
