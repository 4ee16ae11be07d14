"""A small multi-platform image, made here: random layers, so that every one is new to both registries."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from dataclasses import dataclass

from app.registry import Digest, Manifest, RegistryClient
from app.registry.media_types import OCI_INDEX, OCI_MANIFEST

PLATFORMS = (("linux", "amd64"), ("linux", "arm64"))

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True, slots=True)
class DemoImage:
    """An index, the manifests it names, and all their blobs by digest."""

    index: Manifest
    manifests: tuple[Manifest, ...]
    blobs: dict[str, bytes]

    @property
    def size(self) -> int:
        return sum(len(data) for data in self.blobs.values())

    def push(self, registry: RegistryClient, repository: str, tag: str) -> None:
        """Push in the order of every client: blobs, manifests, index by its tag."""
        for digest, data in self.blobs.items():
            upload = registry.start_upload(repository)
            if upload is not None:
                upload.put([data], len(data), digest)
        for manifest in self.manifests:
            registry.put_manifest(repository, manifest.digest, manifest)
        registry.put_manifest(repository, tag, self.index)


def build(layer_size: int = 2 * 1024 * 1024) -> DemoImage:
    """An image of one layer for each platform."""
    blobs: dict[str, bytes] = {}
    manifests = []
    entries = []
    for system, architecture in PLATFORMS:
        content = _archive(os.urandom(layer_size))
        layer = gzip.compress(content, compresslevel=1, mtime=0)
        config = _json(
            {
                "os": system,
                "architecture": architecture,
                "config": {"Cmd": ["/hello"]},
                "rootfs": {"type": "layers", "diff_ids": [Digest.of(content)]},
            }
        )
        blobs |= {Digest.of(layer): layer, Digest.of(config): config}
        manifest = Manifest.parse(
            _json(
                {
                    "schemaVersion": 2,
                    "mediaType": OCI_MANIFEST,
                    "config": _descriptor(CONFIG_TYPE, config),
                    "layers": [_descriptor(LAYER_TYPE, layer)],
                }
            ),
            OCI_MANIFEST,
        )
        manifests.append(manifest)
        entries.append(
            _descriptor(OCI_MANIFEST, manifest.data) | {"platform": {"os": system, "architecture": architecture}}
        )
    index = _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    return DemoImage(Manifest.parse(index, OCI_INDEX), tuple(manifests), blobs)


def _archive(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("hello")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": Digest.of(data), "size": len(data)}


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()
