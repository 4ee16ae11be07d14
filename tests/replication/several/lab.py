"""A laboratory for one deployment with several sites: every registry is behind a proxy of its own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from app import database, metrics
from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site
from app.replication.work import run_due
from app.site_environment import suffix
from tests.support.deployment import Deployment, offline_environment
from tests.support.images import Image
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry
from tests.support.wire import push

#: The sites, in the order of the environment.
NAMES = ("berlin", "eu-west", "tokyo")


class Lab:
    """Registries for the primary and each site; `start` deploys between them."""

    def __init__(self, path: Path, template: Path, stack: ExitStack) -> None:
        self.path = path
        self.stack = stack
        self.primary = stack.enter_context(DistributionRegistry(path / "primary"))
        self.secondaries = {name: stack.enter_context(DistributionRegistry(path / name)) for name in NAMES}
        self.before_primary = stack.enter_context(Proxy(self.primary))
        self.before = {name: stack.enter_context(Proxy(each)) for name, each in self.secondaries.items()}
        self.url = f"sqlite:///{path / 'geo.db'}"
        shutil.copy(template, path / "geo.db")
        self._deployment: Deployment | None = None
        stack.callback(self.stop)

    def environment(self, *names: str, **more: str) -> dict[str, str]:
        """The environment with these sites, all of them unless some are named."""
        wanted = names or NAMES
        env = offline_environment(self.url, GEO_SITE_NAME=",".join(wanted))
        del env["GEO_SECONDARY_REGISTRY_URL"]
        env["GEO_REGISTRY_REPLICATION_PRIMARY_API_URL"] = self.before_primary.url
        env["GEO_SPOOL_DIR"] = str(self.path / "spool")
        for name in wanted:
            env[f"GEO_SECONDARY_REGISTRY_URL_{suffix(name)}"] = self.before[name].url
        return env | more

    def start(self, *names: str, **more: str) -> Deployment:
        """Begin, or begin anew, with these sites."""
        return self.start_with(self.environment(*names, **more))

    def start_with(self, env: Mapping[str, str]) -> Deployment:
        self.stop()
        self._deployment = Deployment.start(env)
        return self._deployment

    def stop(self) -> None:
        if self._deployment is not None:
            self._deployment.close()
            self._deployment = None
        else:
            metrics.buffer.close()
        if database.database.obj is not None:
            database.database.close_all()

    def pushed(self, geo: Deployment, repository: str, tag: str, image: Image) -> str:
        """Push an image, and tell; return its digest."""
        digest = push(self.primary, repository, tag, image)
        geo.event("push", repository, tag, digest)
        return digest


def site(name: str) -> Site:
    with connection():
        found: Site = Site.get(Site.name == name)
        return found


def row(geo: Deployment, name: str, repository: str) -> Registry:
    """The tracking row of the repository on the site of this name."""
    return geo.row(repository, site(name))


def work(geo: Deployment, threads: int = 3) -> None:
    """Read the events, and sync what is due in as many threads as a worker process has."""
    geo.mark()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run_due, geo.context) for _ in range(threads)]:
            done.result()
