"""Who one may be at a vendor's registry: each kind of account that has the rights is enough, and no more is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from app.models import SyncState
from tests.emulators.acr import NULL_GUID, Acr
from tests.emulators.asking import ask
from tests.emulators.ecr import Ecr
from tests.emulators.gar import Gar
from tests.emulators.gitlab import GitLab
from tests.emulators.harbor import Harbor
from tests.providers.replication.conftest import Meet
from tests.providers.replication.vendors import VENDORS
from tests.support import images
from tests.support.compare import assert_same
from tests.support.registries import DistributionRegistry
from tests.support.wait import wait_until
from tests.support.wire import push, tags

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

#: Makes an account for a repository: user and password.
Account = Callable[[Any, str], tuple[str, str]]


def _principal(registry: Acr, repository: str) -> tuple[str, str]:
    registry.principals["a1b2c3"] = "principal-secret"
    return "a1b2c3", "principal-secret"


def _refresh_token(registry: Acr, repository: str) -> tuple[str, str]:
    form = {"grant_type": "access_token", "service": registry.host, "access_token": registry.entra_token}
    return NULL_GUID, ask(registry, "POST", "/oauth2/exchange", data=form).json()["refresh_token"]


def _scoped(*actions: str) -> Account:
    def account(registry: Acr, repository: str) -> tuple[str, str]:
        return "geo", registry.scoped_token("geo", **{repository: actions})

    return account


def _deploy_token(*scopes: str) -> Account:
    return lambda registry, repository: registry.deploy_token(*scopes)


#: By the vendor's name, what may read.
READERS: Mapping[str, tuple[Callable[[], Any], str, Account]] = {
    "acr, a service principal": (Acr, "team/app", _principal),
    "acr, a refresh token": (Acr, "team/app", _refresh_token),
    "acr, a scoped token": (Acr, "team/app", _scoped("pull", "metadata_read")),
    "gar, a key": (lambda: Gar("p/r"), "p/r/app", lambda registry, _: ("_json_key", registry.json_key)),
    "gar, a token": (lambda: Gar("p/r"), "p/r/app", lambda registry, _: (registry.username, registry.oauth_token())),
    "gitlab, a deploy token": (GitLab, "group/app", _deploy_token("read_registry")),
    "harbor, a robot": (lambda: Harbor("library"), "library/app", lambda registry, _: registry.robot("geo", "library")),
}

#: What may write and delete.
WRITERS: Mapping[str, tuple[Callable[[], Any], str, Account]] = {
    "acr, a scoped token": (Acr, "team/app", _scoped("pull", "push", "delete", "metadata_read")),
    "gitlab, a deploy token": (GitLab, "group/app", _deploy_token("read_registry", "write_registry")),
    "harbor, a robot": (lambda: Harbor("library"), "library/app", lambda registry, _: registry.robot("geo", "library")),
    "harbor, the system's robot": (lambda: Harbor("library"), "library/app", lambda registry, _: registry.robot("geo")),
}


def settings(kind: str, side: str, account: tuple[str, str]) -> dict[str, str]:
    named = {"PROVIDER": kind.partition(",")[0], "AUTH": "basic", "USERNAME": account[0], "PASSWORD": account[1]}
    return {f"GEO_{side}_REGISTRY_{name}": value for name, value in named.items()}


@pytest.mark.parametrize("kind", sorted(READERS))
def test_who_may_read(meet: Meet, distribution: DistributionRegistry, repository: str, kind: str) -> None:
    # Given a primary of which an account may read one repository
    start, owner, account = READERS[kind]
    name = f"{owner}-{repository[-8:]}"
    with start() as theirs:
        for tag in ("v1", "v2"):
            push(theirs, name, tag, images.index())
        env = {**settings(kind, "PRIMARY", account(theirs, name)), "GEO_REPOSITORIES": name}
        geo = meet(theirs, distribution, env).geo

        # When it is synced in full, by the listing of its tags
        geo.event("push", name, "v1")
        geo.settle()
        closed = geo.row(name).replicator.sync()

        # Then all of it arrives
        assert (closed.state, geo.failure(name)) == (SyncState.SYNCED, "")
        for tag in ("v1", "v2"):
            assert_same(theirs, distribution, name, tag)


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_who_may_write(meet: Meet, distribution: DistributionRegistry, repository: str, kind: str) -> None:
    # Given a secondary where an account may push to one repository, and delete
    start, owner, account = WRITERS[kind]
    name = f"{owner}-{repository[-8:]}"
    with start() as theirs:
        geo = meet(distribution, theirs, settings(kind, "SECONDARY", account(theirs, name))).geo

        # When a tag is pushed, and deleted
        kept, gone = images.index(), images.image()
        for tag, image in (("kept", kept), ("gone", gone)):
            geo.event("push", name, tag, push(distribution, name, tag, image))
        geo.settle()
        assert_same(distribution, theirs, name, "gone")
        answer = ask(distribution, "DELETE", f"/v2/{name}/manifests/{gone.digest}")
        assert answer.status_code == 202
        geo.event("delete", name, "gone")
        geo.settle()

        # Then that is done
        assert tags(theirs, name) == ["kept"]
        assert_same(distribution, theirs, name, "kept")
        assert (geo.row(name).state, geo.failure(name)) == (SyncState.SYNCED, "")


@pytest.mark.long
def test_amazons_password_is_renewed_before_it_expires(
    meet: Meet, distribution: DistributionRegistry, repository: str, amazons: Ecr
) -> None:
    # Given a secondary at Amazon, whose passwords are good for a while, after which it says 403 and not 401
    amazons.lifetime = 4.0
    geo = meet(distribution, amazons, VENDORS["ecr"].settings(amazons, "SECONDARY")).geo
    geo.event("push", repository, "v1", push(distribution, repository, "v1", images.image()))
    geo.settle()
    assert_same(distribution, amazons, repository, "v1")

    # When that has passed
    wait_until(lambda: amazons.oldest_password < time.time())
    geo.event("push", repository, "v2", push(distribution, repository, "v2", images.image()))
    geo.settle()

    # Then what comes later arrives with another
    assert geo.failure(repository) == ""
    assert_same(distribution, amazons, repository, "v2")
    assert amazons.control.operations.count("GetAuthorizationToken") > 1
