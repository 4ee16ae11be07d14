"""What each page expects to be there before its first command."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from tests.docs.shell import HERE, Stage
from tests.support import images, parts
from tests.support.deployment import ADMIN_TOKEN, SECRET, environment
from tests.support.keys import KeyPair, TokenAuth, make_rsa
from tests.support.ports import free_port
from tests.support.registries import DistributionRegistry, Version
from tests.support.running import Running, endpoint
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

#: Makes what a page expects in an empty directory.
Setting = Callable[[Path], AbstractContextManager[Stage]]

#: The machines that pages name.
GEO, PRIMARY, SECONDARY = "geo.example.com", "primary.example.com", "secondary.example.com"
REGISTRY, BERLIN, BERLIN_REGISTRY = "registry.example.com", "geo.berlin.example.com", "registry.berlin.example.com"

#: What is on both sides of a running deployment.
IMAGES = (("team/app", "v1"), ("team/app", "v2"), ("team/tool", "v1"))


@contextmanager
def bare(path: Path) -> Iterator[Stage]:
    """One machine with the packages that the README installs."""
    registry_program("2.8")
    parts.require("skopeo")
    with Stage(path) as stage:
        yield stage


@contextmanager
def running(path: Path) -> Iterator[Stage]:
    """A deployment with some images that have arrived. Shells are where `geo up` runs, and have its environment."""
    port = free_port()
    with ExitStack() as stack:
        auth = TokenAuth(_keys(path / "keys"))
        notify = [endpoint(port, ignore=True)]
        primary = stack.enter_context(DistributionRegistry(path / "primary", token=auth, notify=notify))
        secondary = stack.enter_context(DistributionRegistry(path / "secondary", token=auth))
        home = path / "stage" / HERE
        env = environment(primary, secondary, f"sqlite:///{home}/var/geo.db")
        stage = stack.enter_context(Stage(path / "stage", env={**env, "PORT": str(port)}))
        for machine in (HERE, GEO):
            stage.use_port(machine, 8000, port)
        stage.use_port(PRIMARY, 5050, primary.port)
        stage.use_port(SECONDARY, 5050, secondary.port)
        geo = stack.enter_context(Running(stage.directory(), env, port))
        for repository, tag in IMAGES:
            push(primary, repository, tag, images.image())
        for repository, tag in IMAGES:
            _arrives(secondary, repository, tag, geo)
        yield stage


def distribution(version: Version) -> Setting:
    """Three machines: two with a registry's program and a certificate for TLS, and one for us."""

    @contextmanager
    def setting(path: Path) -> Iterator[Stage]:
        parts.require("skopeo")
        programs = {"registry": registry_program(version)}
        with Stage(path, programs=programs, tls=True) as stage:
            trusted = stage.directory(GEO) / "etc/geo/ca"
            trusted.mkdir(parents=True)
            for machine in (PRIMARY, SECONDARY):
                (stage.directory(machine) / "var/lib/registry").mkdir(parents=True)
                certificate = _keys(stage.directory(machine) / "etc/distribution", "tls").certificate_path
                shutil.copy(certificate, trusted / f"{machine.partition('.')[0]}.crt")
            yield stage

    return setting


@contextmanager
def two_sites(path: Path) -> Iterator[Stage]:
    """Two registries, the machine of the primary's deployment with the key of one, and the site's with the other's."""
    with ExitStack() as stack:
        env = {"GEO_NOTIFICATION_SECRET": SECRET, "GEO_ADMIN_TOKEN": ADMIN_TOKEN, "WEB_CONCURRENCY": "1"}
        stage = stack.enter_context(Stage(path / "stage", env=env))
        keys = _keys(stage.directory(GEO)), _keys(stage.directory(BERLIN), "berlin")
        notify = [endpoint(stage.port(GEO, 8000), ignore=True)]
        primary = stack.enter_context(DistributionRegistry(path / "primary", token=TokenAuth(keys[0]), notify=notify))
        secondary = stack.enter_context(DistributionRegistry(path / "secondary", token=TokenAuth(keys[1])))
        stage.use_port(REGISTRY, 8000, primary.port)
        stage.use_port(BERLIN_REGISTRY, 8000, secondary.port)
        push(primary, "team/app", "v1", images.image())
        yield stage


def registry_program(version: Version) -> str:
    """CNCF Distribution's program."""
    if version == "3":
        return parts.optional("registry", "~/go/bin/registry")
    return parts.require("docker-registry", "/usr/bin/docker-registry")


def _keys(directory: Path, name: str = "registry") -> KeyPair:
    directory.mkdir(parents=True, exist_ok=True)
    return make_rsa(directory, name)


def _arrives(registry: DistributionRegistry, repository: str, tag: str, geo: Running) -> None:
    wait_until(
        lambda: digest_of(registry, repository, tag) is not None,
        message=lambda: f"{repository}:{tag} did not arrive\n{geo.log_text[-3000:]}",
    )
