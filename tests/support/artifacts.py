"""What people keep in registries beside images: charts, attestations, SBOMs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from tests.support import images
from tests.support.images import Blob, Image

DSSE_LAYER = "application/vnd.dsse.envelope.v1+json"
IN_TOTO_LAYER = "application/vnd.in-toto+json"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def cosign_attachment(of: Image | str, kind: Literal["att", "sbom"]) -> tuple[str, Image]:
    """Build an attestation or SBOM as cosign 2 keeps it and return (its tag, the image to push under that tag)."""
    digest = of if isinstance(of, str) else of.digest
    media_type = DSSE_LAYER if kind == "att" else "spdx+json"
    return f"{digest.replace(':', '-')}.{kind}", images.image([Blob(_encode({"of": digest}), media_type)])


def attested(*, by_subject: bool = False) -> Image:
    """Build an index of one image and its in-toto attestation, as BuildKit does.

    :param by_subject: the attestation is an artifact that has the image as its subject, as of late.
    """
    child = images.image()
    statement = Blob(
        _encode({"_type": "https://in-toto.io/Statement/v0.1", "serial": os.urandom(8).hex()}),
        IN_TOTO_LAYER,
        {"annotations": {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}},
    )
    if by_subject:
        kind = "application/vnd.docker.attestation.manifest.v1+json"
        attestation = images.artifact(kind, [statement], subject=child)
    else:
        attestation = images.image([statement])
    marks = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": child.digest}
    unknown = {"os": "unknown", "architecture": "unknown"}
    return images.index([child, replace(attestation, platform=unknown, annotations=marks)])


def helm_chart() -> Image:
    """Build a Helm chart."""
    config = Blob(_encode({"apiVersion": "v2", "name": "chart", "version": "0.1.0"}), HELM_CONFIG)
    return images.image([Blob(images.layer(), HELM_CHART)], config=config)


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=3).encode()
