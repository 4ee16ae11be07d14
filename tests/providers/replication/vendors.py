"""The registries of vendors, as the tests of replication need to know them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import boto3

from tests.emulators.acr import Acr
from tests.emulators.asking import ask, deleting, pushing
from tests.emulators.bundle_bar import BundleBar
from tests.emulators.docker_hub import DockerHub
from tests.emulators.ecr import Ecr
from tests.emulators.emulator import Emulator, basic
from tests.emulators.gar import Gar
from tests.emulators.ghcr import Ghcr
from tests.emulators.gitlab import GitLab
from tests.emulators.harbor import Harbor
from tests.emulators.quay import Quay
from tests.emulators.zot import Zot
from tests.support.moto import Moto

_MIB: Final = 1024**2

#: Begins an emulator; Amazon's needs moto.
Start = Callable[[Callable[[], Moto]], Emulator]

#: Deletes a tag as the vendor's own users do.
Delete = Callable[[Any, str, str], None]


@dataclass(frozen=True, slots=True)
class Vendor:
    """One kind of registry, by the provider's name in the settings."""

    name: str
    start: Start
    #: What the names of its repositories begin with.
    owner: str = "team"
    #: How a tag is deleted there; None: not at all, or only with the whole package.
    delete: Delete | None = None
    #: Whether its events tell of that.
    told: bool = False
    #: Whether a deleted tag is deleted there too, as a secondary.
    follows: bool = True
    #: Bytes of the large layer: above what it has in the way of limits, or below what it takes at all.
    large: int = 6 * _MIB

    def settings(self, registry: Emulator, side: str) -> Mapping[str, str]:
        """The environment that says what is on this side (PRIMARY, SECONDARY)."""
        # By the kind of credentials that is the vendor's own, where it has one.
        kind = self.name if self.name in ("acr", "gar", "ghcr") else "basic"
        account = {"AUTH": kind, "USERNAME": registry.username, "PASSWORD": registry.password}
        if isinstance(registry, Ecr):
            account = {"AUTH": "ecr"}
        if isinstance(registry, Ecr | Ghcr):
            account["CONTROL_URL"] = registry.url
        named = {"PROVIDER": self.name, **account}
        return {f"GEO_{side}_REGISTRY_{name}": value for name, value in named.items()}


def amazon(registry: Ecr) -> Any:
    """Amazon's own client; close it."""
    account = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    return boto3.session.Session(**account).client("ecr", endpoint_url=registry.url)


def prepare(registry: Emulator, repository: str) -> None:
    """Make the repository, where it does not come by pushing."""
    if isinstance(registry, Ecr):
        client = amazon(registry)
        client.create_repository(repositoryName=repository)
        client.close()


def _by_tag(registry: Emulator, repository: str, tag: str) -> None:
    scope = pushing(repository) if isinstance(registry, Quay) else deleting(repository)
    answer = ask(registry, "DELETE", f"/v2/{repository}/manifests/{tag}", scope)
    assert answer.status_code == 202, answer.text


def _by_amazon(registry: Ecr, repository: str, tag: str) -> None:
    client = amazon(registry)
    answer = client.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": tag}])
    client.close()
    assert not answer["failures"], answer


def _by_azure(registry: Acr, repository: str, tag: str) -> None:
    answer = ask(registry, "DELETE", f"/acr/v1/{repository}/_tags/{tag}", deleting(repository))
    assert answer.status_code == 202, answer.text


def _by_github(registry: Ghcr, repository: str, tag: str) -> None:
    owner, _, package = repository.partition("/")
    versions = f"/orgs/{owner}/packages/container/{package}/versions"
    header = {"Authorization": f"Bearer {registry.password}"}
    for version in ask(registry, "GET", versions, headers=header).json():
        if version["metadata"]["container"]["tags"] == [tag]:
            answer = ask(registry, "DELETE", f"{versions}/{version['id']}", headers=header)
            assert answer.status_code == 204, answer.text


def _by_harbor(registry: Harbor, repository: str, tag: str) -> None:
    project, _, name = repository.partition("/")
    path = f"/api/v2.0/projects/{project}/repositories/{name}/artifacts/{tag}/tags/{tag}"
    header = {"Authorization": basic(registry.username, registry.password)}
    answer = ask(registry, "DELETE", path, headers=header)
    assert answer.status_code == 200, answer.text


VENDORS: Final = {
    vendor.name: vendor
    for vendor in (
        Vendor("ecr", lambda moto: Ecr(moto().url), delete=_by_amazon, told=True),
        Vendor("acr", lambda _: Acr(), delete=_by_azure, large=21 * _MIB),
        Vendor("gar", lambda _: Gar("my-project/my-repo"), "my-project/my-repo", delete=_by_tag, told=True),
        Vendor("ghcr", lambda _: Ghcr(), "codertocat", delete=_by_github),
        Vendor("docker-hub", lambda _: DockerHub(limit=1000), follows=False),
        Vendor("harbor", lambda _: Harbor("library"), "library", delete=_by_harbor),
        Vendor("quay", lambda _: Quay(), delete=_by_tag),
        Vendor("bundle-bar", lambda _: BundleBar(), "geo", follows=False, large=2 * _MIB),
        Vendor("zot", lambda _: Zot(), delete=_by_tag, told=True),
        Vendor("gitlab", lambda _: GitLab(), "group/project", delete=_by_tag, told=True),
    )
}
