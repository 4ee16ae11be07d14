"""Blobs of registries that keep them on an object storage and redirect to it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import requests

from app.registry import Descriptor, copy_blob
from app.replication.spool import Spool, SpoolDirectory
from tests.registry.conftest import Connect, key_token
from tests.support import wire
from tests.support.keys import TokenAuth
from tests.support.link import Link
from tests.support.registries import RegistryFactory
from tests.support.s3 import S3

MIB = 1024 * 1024
SIZE = 24 * MIB


@pytest.mark.parametrize("spooled", [False, True])
@pytest.mark.parametrize("version", ["2.8", "3"])
def test_a_blob_comes_from_the_storage_through_a_line_that_breaks(
    version: str,
    spooled: bool,
    registry_factory: RegistryFactory,
    connect: Connect,
    token_auth: TokenAuth,
    tmp_path: Path,
) -> None:
    # Given a registry with its storage behind an S3 API, and a line to the latter that soon breaks
    with S3(tmp_path) as storage, Link(storage.port) as link:
        primary = registry_factory(
            "primary", version=version, token=token_auth, config=storage.registry_config(link.port)
        )
        secondary = registry_factory("secondary")
        data = random.Random(1).randbytes(SIZE)
        digest = wire.push_blob(primary, "a/x", data)
        answer = requests.get(
            f"{primary.url}/v2/a/x/blobs/{digest}",
            headers=primary.authorization("repository:a/x:pull"),
            allow_redirects=False,
            timeout=30,
        )
        assert answer.status_code == 307
        assert f":{link.port}/" in answer.headers["Location"]
        link.cut_after = 5 * MIB

        # When the blob is copied
        source = connect(primary.url, key_token(primary), actions=("pull",))
        descriptor = Descriptor("application/octet-stream", digest, SIZE)
        spool = Spool(SpoolDirectory(tmp_path / "spool", 1024**4))
        opener = spool.opener(source, "a/x", descriptor) if spooled else source
        copy_blob(opener, connect(secondary.url), "a/x", descriptor)

        # Then it arrived in parts, of each of which the registry was asked anew
        assert wire.fetch_blob(secondary, "a/x", digest) == data
        assert link.cuts >= 4
