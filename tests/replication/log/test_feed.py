"""What is asked of the primary's deployment goes over TLS that is checked, by a private authority or the system's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.registry import RegistryError
from app.replication import site_reports
from app.replication.log.feed import EVENTS, REPOSITORIES, STATUS, TOKENS, PrimaryClient
from tests.support.answering import Answer, Request, Server
from tests.support.site_report import REPORT
from tests.support.tls import Authority, TlsFront
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(60)

#: Everything that a site asks.
ASKED: dict[str, Callable[[PrimaryClient], Any]] = {
    EVENTS: lambda client: client.events("p0", 10, 0.0),
    REPOSITORIES: lambda client: list(client.catalog()),
    STATUS: lambda client: client.report(site_reports.dump(REPORT)),
    TOKENS: lambda client: client.fetch(
        "GET", f"{client.url}{TOKENS}?scope=x", headers={"Authorization": "Basic eDp5"}
    ),
}


class Primary:
    """Answers everything with an empty list of repositories, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.server = Server(self.serve)

    def serve(self, request: Request) -> Answer:
        self.asked.append(request)
        return Answer(200, b'{"repositories": [], "next": null}', {"Content-Type": "application/json"})


@pytest.fixture
def primary() -> Iterator[Primary]:
    made = Primary()
    made.server.start()
    yield made
    made.server.stop()


def ask(path: str, url: str, ca_path: Path | None) -> None:
    client = PrimaryClient(url, "geosite_x", ca_path=str(ca_path) if ca_path else None)
    try:
        ASKED[path](client)
    finally:
        client.close()


@pytest.mark.parametrize("path", ASKED)
def test_a_private_authority_is_trusted_where_it_is_named_and_nowhere_else(
    primary: Primary, tmp_path: Path, path: str
) -> None:
    # Given a primary behind TLS, by an authority of its own
    authority, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    with TlsFront(primary.server.port, authority.issue()) as front:
        # When that is trusted, it is asked
        ask(path, front.url, authority.ca_path)
        assert [request.path for request in primary.asked] == [path]

        # And otherwise it is told nothing, and a person what to look at
        for wrong in (other.ca_path, None):
            with pytest.raises(RegistryError, match="certificate") as caught:
                ask(path, front.url, wrong)
            assert "GEO_PRIMARY_CA_PATH" in str(caught.value)
        assert len(primary.asked) == 1
        wait_until(lambda: front.refused == 2)


@pytest.mark.parametrize("path", ASKED)
def test_a_certificate_of_another_host_is_refused(primary: Primary, tmp_path: Path, path: str) -> None:
    authority = Authority(tmp_path)
    elsewhere = authority.issue("geo.example.com")
    with (
        TlsFront(primary.server.port, elsewhere) as front,
        pytest.raises(RegistryError, match="certificate"),
    ):
        ask(path, front.url, authority.ca_path)
    assert primary.asked == []


def test_a_report_is_sent_as_json_with_the_site_s_token(primary: Primary) -> None:
    ask(STATUS, f"http://127.0.0.1:{primary.server.port}", None)
    (request,) = primary.asked
    assert (request.method, request.headers["Content-Type"]) == ("POST", "application/json")
    assert request.headers["Authorization"] == "Bearer geosite_x"
    assert site_reports.load(json.loads(request.body)) == REPORT
