"""Deployments between Distribution and the registries of vendors."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from werkzeug.serving import make_server

from app import database, migrate
from app.replication import sites
from app.replication.context import Nobody
from app.settings import Settings
from app.web.application import create_app
from tests.api.stand import Quiet
from tests.emulators.ecr import Ecr
from tests.emulators.emulator import Emulator
from tests.emulators.gar import AUDIENCE, EMAIL
from tests.providers.replication.vendors import VENDORS, Vendor
from tests.support.aws import somebody
from tests.support.deployment import Deployment, offline_environment
from tests.support.identity import key_set, serving
from tests.support.moto import Moto
from tests.support.registries import DistributionRegistry, Registry
from tests.support.running import WEBHOOK


@dataclass(frozen=True, slots=True)
class Meeting:
    """A deployment with its webhook, which no worker serves."""

    geo: Deployment
    url: str

    def webhook(self, dialect: str) -> str:
        return f"{self.url}{WEBHOOK}/{dialect}"


class Meet(Protocol):
    def __call__(self, primary: Registry, secondary: Registry, env: Mapping[str, str]) -> Meeting: ...


@pytest.fixture(scope="package")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DistributionRegistry]:
    """Distribution 2.8, shared."""
    with DistributionRegistry(tmp_path_factory.mktemp("distribution")) as registry:
        yield registry


@pytest.fixture(scope="package")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy: migrating anew takes longer than what is tried here."""
    path = tmp_path_factory.mktemp("template") / "geo.db"
    database.configure(f"sqlite:///{path}")
    migrate.migrate()
    database.database.close_all()
    return path


@pytest.fixture
def meet(template: Path, tmp_path: Path) -> Iterator[Meet]:
    """Start a deployment between two registries, and its webhook; one at a time."""
    with ExitStack() as stack:

        def make(primary: Registry, secondary: Registry, env: Mapping[str, str]) -> Meeting:
            shutil.copy(template, tmp_path / "geo.db")
            keys = stack.enter_context(serving(200, key_set("a")))
            between = offline_environment(
                f"sqlite:///{tmp_path}/geo.db",
                GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=primary.url,
                GEO_SECONDARY_REGISTRY_URL=secondary.url,
                GEO_NOTIFICATION_AUDIENCE=AUDIENCE,
                GEO_NOTIFICATION_EMAIL=EMAIL,
                GEO_NOTIFICATION_KEYS_URL=keys,
            )
            settings = Settings.from_env({**between, **env})
            app = create_app(settings, Nobody())
            database.database.obj.autoconnect = False
            site = sites.apply_environment(settings)
            assert site is not None
            geo = Deployment(app.extensions["geo"], site)
            stack.callback(geo.close)
            server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
            serving_thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            serving_thread.start()

            def stop() -> None:
                server.shutdown()
                serving_thread.join(30)
                server.server_close()

            stack.callback(stop)
            return Meeting(geo, f"http://127.0.0.1:{server.server_port}")

        yield make


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of somebody who has an account with Amazon."""
    somebody(monkeypatch, "us-east-1")


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository that no other test uses, where the vendor lets us have one."""
    owner = request.getfixturevalue("vendor").owner if "vendor" in request.fixturenames else "team"
    return f"{owner}/app-{uuid.uuid4().hex[:8]}"


@pytest.fixture(params=sorted(VENDORS))
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return VENDORS[request.param]


@pytest.fixture
def theirs(
    vendor: Vendor, account: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Emulator]:
    """The vendor's registry."""

    def server() -> Moto:
        moto: Moto = request.getfixturevalue("moto")
        return moto

    with vendor.start(server) as registry:
        # Where Amazon's own client finds its API.
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", registry.url)
        yield registry


@pytest.fixture
def amazons(moto: Moto, account: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ecr]:
    """A registry of Amazon's, which Amazon's own client finds."""
    with Ecr(moto.url) as registry:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", registry.url)
        yield registry
