"""What clients do with referrers (distribution-spec 1.1): attach something to a manifest, and ask what is attached."""

from __future__ import annotations

import json
from typing import NamedTuple

import requests

from tests.support import images
from tests.support.images import OCI_INDEX, Image
from tests.support.registries import Registry
from tests.support.wire import TIMEOUT, WireError, fetch, push


class Pushed(NamedTuple):
    """One push as a registry would notify of it; without a tag it was by digest."""

    digest: str
    tag: str | None = None


def attach(registry: Registry, repository: str, referrer: Image) -> list[Pushed]:
    """Push `referrer`, and list it under its subject where the registry does not; tell what was pushed, in order."""
    pushed = [Pushed(push(registry, repository, None, referrer))]
    subject = str(referrer.document["subject"]["digest"])
    if _listed(registry, repository, subject) is not None:
        return pushed
    tag = subject.replace(":", "-")
    entries = [*_fallback(registry, repository, tag), _entry(referrer)]
    index = images.raw({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, OCI_INDEX)
    return [*pushed, Pushed(push(registry, repository, tag, index), tag)]


def referring(registry: Registry, repository: str, digest: str) -> list[dict[str, object]]:
    """Descriptors of what refers to `digest`, by digest: from the API, or from the fallback tag without it."""
    listed = _listed(registry, repository, digest)
    entries = _fallback(registry, repository, digest.replace(":", "-")) if listed is None else listed
    return sorted(entries, key=lambda entry: str(entry["digest"]))


def _listed(registry: Registry, repository: str, digest: str) -> list[dict[str, object]] | None:
    with requests.Session() as session:
        session.trust_env = False
        url = f"{registry.url}/v2/{repository}/referrers/{digest}"
        granted = registry.authorization(f"repository:{repository}:pull")
        answer = session.get(url, headers=granted, timeout=TIMEOUT, verify=registry.verify)
    if answer.status_code == 404:
        return None
    answer.raise_for_status()
    manifests: list[dict[str, object]] = answer.json()["manifests"]
    return manifests


def _fallback(registry: Registry, repository: str, tag: str) -> list[dict[str, object]]:
    try:
        manifests: list[dict[str, object]] = json.loads(fetch(registry, repository, tag).body)["manifests"]
    except WireError as error:
        if error.status != 404:
            raise
        return []
    return manifests


def _entry(referrer: Image) -> dict[str, object]:
    document = referrer.document
    entry: dict[str, object] = dict(referrer.descriptor)
    entry.pop("platform", None)
    artifact_type = document.get("artifactType") or document.get("config", {}).get("mediaType")
    # An index may have none.
    if artifact_type:
        entry["artifactType"] = artifact_type
    if document.get("annotations"):
        entry["annotations"] = document["annotations"]
    return entry
