"""The webhook's address, tried as a registry would use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.notifications import WEBHOOK_PATH
from app.replication.check import Examination, Id
from app.replication.check import webhook as webhook_check
from app.settings import Settings
from tests.replication.check.conftest import answering, only, troubles
from tests.support.answering import Answer
from tests.support.deployment import offline_environment
from tests.support.ports import free_port
from tests.support.web import Web

pytestmark = pytest.mark.timeout(90)


def examination(url: str | None, **env: str) -> Examination:
    return Examination(Settings.from_env(offline_environment("sqlite:///nowhere.db", **env)), webhook=url)


def test_a_real_one(sqlite_database: str, tmp_path: Path) -> None:
    # Given a web process
    (tmp_path / "web").mkdir()
    env = offline_environment(sqlite_database, BROKER_URL="stub://")
    with Web(tmp_path / "web", env, migrate=False) as web:
        # When its address is tried, whole or not, Then all is well
        assert troubles(webhook_check.check(examination(web.url))) == []
        assert troubles(webhook_check.check(examination(web.url + WEBHOOK_PATH))) == []

        # When the secret is another, or the path, Then each is told
        other = examination(web.url, GEO_NOTIFICATION_SECRET="something else")
        assert only(webhook_check.check(other)).id is Id.WEBHOOK_SECRET
        assert only(webhook_check.check(examination(f"{web.url}/nowhere"))).id is Id.WEBHOOK_ADDRESS


@pytest.mark.parametrize(("status", "lost"), [(301, True), (302, True), (307, False), (308, False)])
def test_it_redirects(status: int, lost: bool) -> None:
    # Given a proxy that sends http to https
    target = "https://geo.example.com/api"
    with answering(lambda request: Answer(status, headers={"Location": target})) as url:
        found = only(webhook_check.check(examination(url)))

    # Then the final address is told, and what becomes of an event meanwhile
    assert (found.id, found.fix) == (Id.WEBHOOK_REDIRECTS, f"notifications.endpoints[].url: {target}")
    assert ("lost" in found.why) is lost


def test_a_page_that_says_yes_to_everything() -> None:
    with answering(lambda request: Answer(200, b"<h1>Sign in</h1>")) as url:
        assert only(webhook_check.check(examination(url))).id is Id.WEBHOOK_ADDRESS


def test_it_fails() -> None:
    with answering(lambda request: Answer(503)) as url:
        assert only(webhook_check.check(examination(url))).id is Id.WEBHOOK_FAILING


def test_nobody_listens() -> None:
    found = only(webhook_check.check(examination(f"http://127.0.0.1:{free_port()}")))
    assert found.id is Id.WEBHOOK_UNREACHABLE


def test_none_is_given() -> None:
    assert webhook_check.check(examination(None)) == []
