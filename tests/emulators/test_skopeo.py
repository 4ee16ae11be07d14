"""The emulators by the word of somebody else's client: what skopeo pushes to the real ones, it pushes to these."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.emulators.ecr import Ecr
from tests.emulators.emulator import Emulator
from tests.providers.replication.vendors import VENDORS, Vendor, prepare
from tests.support import images, parts
from tests.support.compare import assert_same
from tests.support.moto import Moto
from tests.support.oci_registry import OciRegistry
from tests.support.wire import push, tags

pytestmark = pytest.mark.long


@pytest.fixture(params=sorted(VENDORS))
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return VENDORS[request.param]


@pytest.fixture
def registry(vendor: Vendor, request: pytest.FixtureRequest) -> Iterator[Emulator]:
    def server() -> Moto:
        moto: Moto = request.getfixturevalue("moto")
        return moto

    with vendor.start(server) as registry:
        yield registry


def test_skopeo_copies_into_it_and_out_of_it(registry: Emulator, vendor: Vendor) -> None:
    # Given an image for several platforms elsewhere
    repository = f"{vendor.owner}/app"
    prepare(registry, repository)
    password = registry.new_password()[0] if isinstance(registry, Ecr) else registry.password
    credentials = f"{registry.username}:{password}"
    with OciRegistry() as before, OciRegistry() as after:
        push(before, repository, "v1", images.index())

        # When it is copied through the vendor's registry
        address = f"docker://127.0.0.1:{registry.port}/{repository}:v1"
        into = ["--dest-creds", credentials, f"docker://127.0.0.1:{before.port}/{repository}:v1", address]
        out_of = ["--src-creds", credentials, address, f"docker://127.0.0.1:{after.port}/{repository}:v1"]
        for arguments in (into, out_of):
            _skopeo(
                "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", *arguments
            )

        # Then it is the same everywhere, and listed
        assert_same(before, registry, repository, "v1")
        assert_same(before, after, repository, "v1")
        assert tags(registry, repository) == ["v1"]
        listed = _skopeo("list-tags", "--tls-verify=false", "--creds", credentials, address.rpartition(":")[0])
        assert json.loads(listed)["Tags"] == ["v1"]

        # And nobody else gets in
        with pytest.raises(subprocess.CalledProcessError):
            _skopeo("inspect", "--raw", "--tls-verify=false", "--creds", "somebody:else", address)


def _skopeo(*arguments: str) -> str:
    command = [parts.require("skopeo"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
