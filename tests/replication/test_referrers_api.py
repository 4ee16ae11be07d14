from __future__ import annotations

from app.registry import Anonymous, RegistryClient
from app.replication.referrers_api import ASK_AGAIN, Support
from tests.support import images
from tests.support.answering import Answer, Request
from tests.support.oci_content import Refused
from tests.support.oci_registry import OciRegistry
from tests.support.wire import push


def test_a_registry_is_asked_again_in_time(repository: str) -> None:
    # Given a registry without the API
    time = 0.0
    support = Support(clock=lambda: time)
    with OciRegistry(referrers=False) as registry, RegistryClient(registry.url, Anonymous()) as client:
        digest = push(registry, repository, None, images.image())
        assert support.referrers(client, repository, digest) is None

        # When it gets it, that counts after ten minutes
        registry.features.referrers = True
        assert not support.has(client, repository, digest)
        time = ASK_AGAIN + 1
        assert support.has(client, repository, digest)
        assert support.referrers(client, repository, digest) == []
        assert registry.count("/referrers/") == 3


def test_an_unknown_repository_says_nothing_of_the_others(repository: str) -> None:
    # Given a registry that calls a repository unknown which holds nothing
    class Strict(OciRegistry):
        def respond(self, request: Request) -> Answer:
            if "/referrers/" in request.path and f"/{repository}/" not in request.path:
                raise Refused(404, "NAME_UNKNOWN", "no such repository")
            return super().respond(request)

    support = Support()
    with Strict() as registry, RegistryClient(registry.url, Anonymous()) as client:
        digest = push(registry, repository, None, images.image())

        # Then its API counts as absent there, and is asked for elsewhere
        assert not support.has(client, "other/repository", digest)
        assert support.has(client, repository, digest)
        assert not support.has(client, "other/repository", digest)
        assert registry.count("/other/repository/referrers/") == 1
