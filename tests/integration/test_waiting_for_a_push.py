"""A CI job's push and its wait, between two real registries."""

from __future__ import annotations

import pytest
import requests

from tests.integration.conftest import DeploymentFactory
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import ADMIN_TOKEN
from tests.support.wire import digest_of, push


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_job_waits_until_a_site_has_what_it_pushed_verified(deploy: DeploymentFactory) -> None:
    # Given a deployment that has never heard of the repository
    pair = deploy()

    def wait(**query: str | int) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            address = f"{pair.geo.url}/api/v4/geo/container_repositories/wait"
            headers = {"PRIVATE-TOKEN": ADMIN_TOKEN}
            return session.get(address, params={"path": "team/app", **query}, headers=headers, timeout=90)

    # When a job pushes an image and at once waits for its digest
    push(pair.primary, "team/app", "v1", images.index([images.image(), images.image(architecture="arm64")]))
    digest = digest_of(pair.primary, "team/app", "v1")
    assert digest is not None
    answer = wait(digest=digest, tag="v1", timeout=60)

    # Then it is told when the secondary has it, verified
    assert answer.status_code == 200, answer.text
    reference = answer.json()["reference"]
    assert reference["observed_digest"] == reference["verified_digest"] == digest
    assert_same(pair.primary, pair.secondary, "team/app", "v1")

    # And what nobody pushed does not come, and the answer says why
    never = wait(digest="sha256:" + "0" * 64, timeout=1)
    assert never.status_code == 504
    assert never.json()["cause"] == "unknown"
