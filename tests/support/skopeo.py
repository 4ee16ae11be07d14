"""skopeo as a client that is not ours, and the OCI layouts that it reads."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.support import parts
from tests.support.images import Image
from tests.support.processes import clean_environment
from tests.support.registries import DistributionRegistry

#: Seconds for one copy.
TIMEOUT = 120


def write_layout(directory: Path, image: Image, tag: str = "latest") -> str:
    """Write `image` as an OCI image layout and return its skopeo name, `oci:<directory>:<tag>`."""
    for part in image.walk():
        _write_blob(directory, part.digest, part.manifest)
        for blob in part.blobs:
            _write_blob(directory, blob.digest, blob.data)
    descriptor = {**image.descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}}
    top = {"schemaVersion": 2, "manifests": [descriptor]}
    (directory / "index.json").write_text(json.dumps(top))
    (directory / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    return f"oci:{directory}:{tag}"


def skopeo_push(registry: DistributionRegistry, repository: str, tag: str, layout: str) -> None:
    """Copy a layout (as `write_layout` names it) to the registry, with a token if it wants one."""
    options = []
    if registry.token is not None:
        options = ["--dest-registry-token", registry.token.mint(f"repository:{repository}:pull,push")]
    skopeo_copy(layout, f"docker://{registry.host}/{repository}:{tag}", *options)


def skopeo_pull(registry: DistributionRegistry, repository: str, tag: str, directory: Path) -> None:
    """Copy an image with all its platforms from the registry into an OCI layout."""
    options = []
    if registry.token is not None:
        options = ["--src-registry-token", registry.token.mint(f"repository:{repository}:pull")]
    skopeo_copy(f"docker://{registry.host}/{repository}:{tag}", f"oci:{directory}:{tag}", *options)


def skopeo_copy(source: str, destination: str, *options: str) -> None:
    """Run `skopeo copy --all`, TLS verification off on both sides; AssertionError with what it said if it fails."""
    command = [
        parts.require("skopeo"),
        "--insecure-policy",
        "copy",
        "--all",
        "--quiet",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        *options,
        source,
        destination,
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        # Not the credentials of whoever runs the tests.
        env=clean_environment(REGISTRY_AUTH_FILE="/nonexistent/auth.json"),
    )
    assert done.returncode == 0, f"skopeo copy {source} {destination}: {done.stderr}"


def _write_blob(directory: Path, digest: str, data: bytes) -> None:
    algorithm, _, encoded = digest.partition(":")
    folder = directory / "blobs" / algorithm
    folder.mkdir(parents=True, exist_ok=True)
    (folder / encoded).write_bytes(data)
