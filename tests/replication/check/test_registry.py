"""Registries that cannot be used, each for one reason."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.replication.check import Id, Severity
from app.replication.check import registry as registry_check
from tests.replication.check.conftest import Examine, answering, only, troubles
from tests.support import images
from tests.support.answering import Answer
from tests.support.keys import make_rsa
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.registries import BASIC_PASSWORD, BASIC_USERNAME, DistributionRegistry, RegistryFactory
from tests.support.tls import Authority, TlsFront
from tests.support.wire import push

pytestmark = pytest.mark.timeout(60)

PRIMARY = "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL"


def test_nobody_is_there(primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine) -> None:
    # Given an address where nothing listens
    examination = examine(primary, secondary, **{PRIMARY: f"http://127.0.0.1:{free_port()}"})

    # When it is looked at, Then the variable is named
    found = only(registry_check.primary(examination))
    assert found.id is Id.REGISTRY_UNREACHABLE
    assert PRIMARY in found.fix


def test_a_name_that_does_not_resolve(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    examination = examine(primary, secondary, **{PRIMARY: "http://registry.invalid:5000"})
    found = only(registry_check.primary(examination))
    assert (found.id, "resolve" in found.title) == (Id.REGISTRY_UNREACHABLE, True)


def test_it_is_silent(primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine) -> None:
    # Given a registry that takes connections and never answers
    with Proxy(primary) as proxy:
        proxy.rule("", delay=60)
        examination = examine(primary, secondary, {"answer": 0.2}, **{PRIMARY: proxy.url})

        # When it is looked at, Then that is a finding
        assert only(registry_check.primary(examination)).id is Id.REGISTRY_UNREACHABLE


def test_something_else_is_there(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given a web site, which says 200 to everything
    with answering(lambda request: Answer(200, b"<h1>Welcome</h1>", {"Content-Type": "text/html"})) as url:
        # When it is looked at, Then it is not taken for a registry
        assert only(registry_check.primary(examine(primary, secondary, **{PRIMARY: url}))).id is Id.REGISTRY_ADDRESS
    # And one that knows no such path is none either
    with answering(lambda request: Answer(404, b"no")) as url:
        assert only(registry_check.primary(examine(primary, secondary, **{PRIMARY: url}))).id is Id.REGISTRY_ADDRESS


def test_it_redirects(primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine) -> None:
    # Given an address that leads to another
    with answering(lambda request: Answer(301, headers={"Location": f"{primary.url}/v2/"})) as url:
        found = only(registry_check.primary(examine(primary, secondary, **{PRIMARY: url})))

    # Then the final one is told
    assert (found.id, found.fix) == (Id.REGISTRY_REDIRECTS, f"export {PRIMARY}={primary.url}")


def test_it_fails(primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine) -> None:
    with answering(lambda request: Answer(502, b"Bad Gateway")) as url:
        assert only(registry_check.primary(examine(primary, secondary, **{PRIMARY: url}))).id is Id.REGISTRY_FAILING


def test_its_certificate_is_not_trusted(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, tmp_path: Path, examine: Examine
) -> None:
    # Given a registry over TLS, by a certificate of its own
    pair = make_rsa(tmp_path, "tls")
    primary = registry_factory("tls", tls=pair)

    # When its authority is not known, Then that is told
    found = only(registry_check.primary(examine(primary, secondary)))
    assert found.id is Id.REGISTRY_TLS
    assert "GEO_PRIMARY_REGISTRY_CA_PATH" in found.fix

    # And once it is, all is well
    trusting = examine(primary, secondary, GEO_PRIMARY_REGISTRY_CA_PATH=str(pair.certificate_path))
    assert troubles(registry_check.primary(trusting)) == []


def test_http_where_it_speaks_https(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, tmp_path: Path, examine: Examine
) -> None:
    primary = registry_factory("tls", tls=make_rsa(tmp_path, "tls"))
    plain = primary.url.replace("https", "http")
    found = only(registry_check.primary(examine(primary, secondary, **{PRIMARY: plain})))
    assert (found.id, found.fix) == (Id.REGISTRY_ADDRESS, f"export {PRIMARY}={primary.url}")


def test_https_where_it_speaks_http(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    secure = primary.url.replace("http", "https")
    found = only(registry_check.primary(examine(primary, secondary, **{PRIMARY: secure})))
    assert found.id is Id.REGISTRY_TLS
    assert f"export {PRIMARY}={primary.url}" in found.fix


def test_a_name_that_its_certificate_does_not_have(
    primary: DistributionRegistry, secondary: DistributionRegistry, tmp_path: Path, examine: Examine
) -> None:
    authority = Authority(tmp_path / "authority")
    with TlsFront(primary.port, authority.issue("registry.example")) as front:
        examination = examine(
            primary, secondary, **{PRIMARY: front.url, "GEO_PRIMARY_REGISTRY_CA_PATH": str(authority.ca_path)}
        )
        assert only(registry_check.primary(examination)).id is Id.REGISTRY_TLS


@pytest.mark.parametrize("ahead", [600, -600])
def test_clocks_that_are_far_apart(
    ahead: int, primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given a clock of ours that is ten minutes wrong, so that the registry refuses every token
    examination = examine(primary, secondary, {"clock": lambda: time.time() + ahead})

    # When it is looked at
    found = only(registry_check.primary(examination))

    # Then the clock is the reason, and no key is blamed
    assert (found.id, found.severity) == (Id.REGISTRY_CLOCK, Severity.ERROR)
    assert ("behind" if ahead > 0 else "ahead of") in found.title


def test_clocks_that_drift(primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine) -> None:
    # Given a clock that the registry still tolerates
    examination = examine(primary, secondary, {"clock": lambda: time.time() + 30})

    # When it is looked at, Then it is a warning
    found = only(registry_check.primary(examination))
    assert (found.id, found.severity) == (Id.REGISTRY_CLOCK, Severity.WARNING)


def test_credentials_that_are_not_right(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given a registry that wants a user and a password
    primary = registry_factory("basic", basic=True)
    env = {
        "GEO_PRIMARY_REGISTRY_AUTH": "basic",
        "GEO_PRIMARY_REGISTRY_USERNAME": BASIC_USERNAME,
        "GEO_PRIMARY_REGISTRY_PASSWORD": BASIC_PASSWORD,
    }

    # When they are right, or wrong, or there are none
    right = registry_check.primary(examine(primary, secondary, **env))
    wrong = registry_check.primary(examine(primary, secondary, **env | {"GEO_PRIMARY_REGISTRY_PASSWORD": "no"}))
    none = registry_check.primary(examine(primary, secondary))

    # Then
    assert troubles(right) == []
    assert troubles(wrong) == troubles(none) == [Id.REGISTRY_CREDENTIALS]


def test_a_registry_that_wants_a_token_of_somebody_without_a_key(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    found = only(registry_check.primary(examine(primary, secondary, GEO_PRIMARY_REGISTRY_AUTH="anonymous")))
    assert (found.id, "KEY_PATH" in found.fix) == (Id.REGISTRY_CREDENTIALS, True)


def test_it_refuses_us(primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine) -> None:
    body = b'{"errors": [{"code": "DENIED", "message": "no"}]}'
    with answering(lambda request: Answer(403, body, {"Content-Type": "application/json"})) as url:
        assert only(registry_check.primary(examine(primary, secondary, **{PRIMARY: url}))).id is Id.REGISTRY_DENIED


def test_no_catalog(primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine) -> None:
    # Given a proxy that lets nobody see the catalog
    with Proxy(primary) as proxy:
        proxy.rule("_catalog", status=403)

        # When it is looked at, Then that is found, unless the repositories are listed
        assert only(registry_check.primary(examine(primary, secondary, **{PRIMARY: proxy.url}))).id is (
            Id.REGISTRY_CATALOG
        )
        listed = examine(primary, secondary, **{PRIMARY: proxy.url, "GEO_REPOSITORIES": "team/app"})
        assert troubles(registry_check.primary(listed)) == []


def test_pages_that_do_not_go_on(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given a primary with some repositories, in order
    primary = registry_factory("pages")
    for name in ("a/x", "b/x", "c/x", "d/x"):
        push(primary, name, "v1", images.image())
        push(primary, name, "v2", images.image())
    assert troubles(registry_check.primary(examine(primary, secondary))) == []

    # When a proxy before it forgets where a page begins
    with Proxy(primary) as proxy:
        page = b'{"repositories": ["a/x"]}'
        link = {"Link": '</v2/_catalog?last=a%2Fx&n=1>; rel="next"', "Content-Type": "application/json"}
        proxy.rule(r"_catalog\?.*n=1(&|$)", status=200, headers=link, body=page)

        # Then that is found
        examination = examine(primary, secondary, **{PRIMARY: proxy.url})
        assert only(registry_check.primary(examination)).id is Id.REGISTRY_PAGINATION


def test_the_deployment_that_gives_us_tokens_is_not_there(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given a site that has no key of the primary, and whose primary's deployment is gone
    examination = examine(
        primary,
        secondary,
        GEO_ROLE="secondary",
        GEO_PRIMARY_URL=f"http://127.0.0.1:{free_port()}",
        GEO_SITE_TOKEN="token-of-the-site",
        GEO_PRIMARY_REGISTRY_AUTH="site",
    )

    # When it is looked at, Then the deployment's variables are the line, and the token is not shown
    found = only(registry_check.primary(examination))
    assert (found.id, "GEO_PRIMARY_URL" in found.fix) == (Id.REGISTRY_CREDENTIALS, True)
    assert "token-of-the-site" not in repr(found)
