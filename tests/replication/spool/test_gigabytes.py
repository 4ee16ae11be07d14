"""Blobs of gigabytes."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator

import pytest
import requests

from app import deployment
from app.registry import Digest
from tests.replication.spool.lab import MIB, REPOSITORY, Lab
from tests.support.copying import command
from tests.support.processes import Process
from tests.support.root import ROOT
from tests.support.wait import wait_until


def big(lab: Lab, mib: int, seed: int) -> tuple[str, int]:
    """Push a blob that is never held in memory."""

    def pieces() -> Iterator[bytes]:
        generator = random.Random(seed)
        for _ in range(mib):
            yield generator.randbytes(1024) * 1024

    hasher = Digest.hasher("sha256:")
    for piece in pieces():
        hasher.update(piece)
    digest = f"sha256:{hasher.hexdigest()}"
    upload = lab.client(lab.primary.url).start_upload(REPOSITORY)
    assert upload is not None
    upload.put(pieces(), mib * MIB, digest)
    return digest, mib * MIB


def copied(lab: Lab, *blobs: tuple[str, int]) -> dict[str, float]:
    """Copy the blobs at the same time through the spool, in a process of their own, and return its figures."""
    line = command(lab.link.url, lab.secondary.url, REPOSITORY, *blobs, spool=lab.spool_path)
    # With the heaps that our own processes get.
    env = deployment.environment(os.environ)
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    for digest, size in blobs:
        head = requests.head(f"{lab.secondary.url}/v2/{REPOSITORY}/blobs/{digest}", timeout=30)
        assert int(head.headers["Content-Length"]) == size
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_worker_killed_at_four_fifths_of_a_gigabyte(lab: Lab) -> None:
    digest, size = big(lab, 1024, 1)
    lab.link.rate, lab.link.round_trip = 20e6, 0.08
    line = command(lab.link.url, lab.secondary.url, REPOSITORY, (digest, size), spool=lab.spool_path)
    process = Process(line, log=lab.path / "copying.log", cwd=ROOT).start()
    wait_until(lambda: lab.link.carried >= size * 0.8, 300, process.log.read_text)
    process.kill()

    copied(lab, (digest, size))
    assert lab.link.carried < size * 1.1


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_gigabyte_over_connections_that_end_after_64_mib(lab: Lab) -> None:
    blob = big(lab, 1024, 2)
    lab.link.cut_after = 64 * MIB

    assert copied(lab, blob)["received"] < 1024 * MIB * 1.1
    assert lab.link.cuts >= 15


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_memory_of_a_process_does_not_grow_with_its_blobs(lab: Lab) -> None:
    # Given four blobs of 2 GiB over a line that makes all of them come by several connections
    blobs = [big(lab, 2048, seed) for seed in range(4)]
    lab.link.rate = 30e6

    # When they are copied at the same time, Then that costs a few buffers for each connection
    assert copied(lab, *blobs)["memory"] < 100e6
    assert lab.link.most_at_once > 8
