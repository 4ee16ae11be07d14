"""The profiles of the providers that we know, and a careful one for all others.

Sources: the pages of the providers and reports of their users. None of the clouds was at hand: what is said of them
was tried on stand-ins alone (docs/providers.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.providers import amazon
from app.providers.profile import (
    Catalog,
    Creation,
    Deletion,
    Limits,
    Mount,
    Profile,
    Referrers,
    Removal,
    Told,
)
from app.registry import Manners
from app.settings import ProviderName

_MIB = 1024**2

#: Whoever it is: everything is asked for, nothing is presumed, and what is refused is done in another way.
GENERIC = Profile(ProviderName.GENERIC, "another registry", deletions_told=Told.UNKNOWN)

_PROFILES = (
    Profile(
        ProviderName.ECR,
        "Amazon ECR",
        hosts=(amazon.PRIVATE,),
        # `Range` stands still after the first of several chunks, whether the others are kept or not: both were seen
        # (containers-roadmap #2831), and who goes by it sends a chunk where none is wanted (416).
        manners=Manners(chunk=None),
        limits=Limits(manifest=4 * _MIB),
        creation=Creation.CONTROL_PLANE,
        # By the control plane an image goes with its last tag, whoever is pinned to it: only where tags do not move.
        deletion=Deletion(Removal.THROWAWAY_OR_CONTROL_PLANE, Removal.CONTROL_PLANE),
        catalog=Catalog.CONTROL_PLANE,
        # The account setting BLOB_MOUNTING.
        mount=Mount.SOMETIMES,
        immutable_tags=True,
        requires_media_type=True,
        connections=32,
    ),
    Profile(
        ProviderName.ECR_PUBLIC,
        "Amazon ECR Public",
        hosts=amazon.PUBLIC,
        manners=Manners(chunk=None),
        limits=Limits(manifest=4 * _MIB),
        creation=Creation.CONTROL_PLANE,
        free_names=False,
        deletion=Deletion(Removal.THROWAWAY, Removal.CONTROL_PLANE),
        catalog=Catalog.CONTROL_PLANE,
        mount=Mount.SOMETIMES,
        requires_media_type=True,
        connections=16,
        deletions_told=Told.NONE,
    ),
    Profile(
        ProviderName.ACR,
        "Azure Container Registry",
        hosts=(r"[\w-]+(?:\.[\w-]+)*\.azurecr\.(?:io|cn|us|de)",),
        # About 20 MB in one request; above that 413, or the connection ends.
        manners=Manners(whole_up_to=16 * _MIB, chunk=16 * _MIB),
        # What a DELETE by tag takes with it is not documented; by digest it is.
        deletion=Deletion(Removal.THROWAWAY, Removal.REGISTRY),
        immutable_tags=True,
        connections=32,
        # "Not triggered when a tag is deleted."
        deletions_told=Told.SOME,
    ),
    Profile(
        ProviderName.GAR,
        "Google Artifact Registry",
        hosts=(r"[a-z0-9-]+-docker\.pkg\.dev",),
        manners=Manners(chunk=None),
        creation=Creation.BY_HAND,
        to_make="the repository {second} of format Docker in the project {first}"
        " (gcloud artifacts repositories create {second} --repository-format=docker --project={first})",
        free_names=False,
        # A manifest with tags is not deleted there (GOOGLE_MANIFEST_DANGLING_TAG): tags first, which is our order.
        deletion=Deletion(Removal.REGISTRY, Removal.REGISTRY),
        catalog=Catalog.NO,
        mount=Mount.NO,
        immutable_tags=True,
        connections=16,
    ),
    Profile(
        ProviderName.GHCR,
        "GitHub Packages (GHCR)",
        hosts=(r"ghcr\.io", r"containers\.[\w-]+(?:\.[\w-]+)*\.ghe\.com"),
        # A chunk of more than 4 MiB is refused (416); a blob in one request is not.
        manners=Manners(chunk=None),
        limits=Limits(blob=10 * 1024**3),
        free_names=False,
        # A version is a digest with all its tags: a tag alone can only be moved away.
        deletion=Deletion(Removal.THROWAWAY, Removal.CONTROL_PLANE, last_tag_stays=True),
        referrers=Referrers.TAG,
        catalog=Catalog.NO,
        connections=16,
        deletions_told=Told.NONE,
    ),
    Profile(
        ProviderName.BUNDLE_BAR,
        "Bundle Bar",
        hosts=(r"bundle\.bar",),
        manners=Manners(chunk=None),
        limits=Limits(artifact=5 * 10**6),
        free_names=False,
        catalog=Catalog.NO,
        connections=8,
        deletions_told=Told.NONE,
    ),
    Profile(
        ProviderName.BUNDLE_BAR_PRO,
        "Bundle Bar Pro",
        manners=Manners(chunk=None),
        limits=Limits(artifact=25 * 10**6),
        free_names=False,
        catalog=Catalog.NO,
        connections=8,
        deletions_told=Told.NONE,
    ),
    Profile(
        ProviderName.DOCKER_HUB,
        "Docker Hub",
        hosts=(r"(?:registry-1|index|registry)\.docker\.io", r"docker\.io"),
        manners=Manners(delete_actions=("pull", "push", "delete")),
        free_names=False,
        # By digest, and only what no tag stands on: a throw-away manifest would stay under the tag.
        deletion=Deletion(Removal.NONE, Removal.REGISTRY),
        referrers=Referrers.TAG,
        catalog=Catalog.NO,
        immutable_tags=True,
        connections=8,
        ratelimit_floor=20,
        deletions_told=Told.NONE,
    ),
    Profile(
        ProviderName.HARBOR,
        "Harbor",
        creation=Creation.BY_HAND,
        to_make="the project {first}",
        free_names=False,
        catalog=Catalog.ADMINISTRATORS,
        immutable_tags=True,
        connections=32,
        deletions_told=Told.SOME,
    ),
    Profile(
        ProviderName.QUAY,
        "Quay",
        hosts=(r"quay\.io",),
        # Its token service knows neither `delete` nor the catalog; who may push may delete, and anybody may list.
        manners=Manners(chunk=None, delete_actions=("push",), catalog_scope=False),
        free_names=False,
        # By digest it deletes the tags of a manifest, and does not know one without tags.
        deletion=Deletion(Removal.REGISTRY, Removal.REGISTRY),
        connections=16,
        deletions_told=Told.NONE,
    ),
    Profile(ProviderName.ZOT, "zot", deletion=Deletion(Removal.REGISTRY, Removal.REGISTRY)),
    Profile(
        ProviderName.GITLAB,
        "GitLab",
        hosts=(r"registry\.gitlab\.com",),
        creation=Creation.BY_HAND,
        to_make="the project that the path begins with",
        free_names=False,
        # By a token of its own kind (`registry:catalog:*`), which nobody gets at gitlab.com.
        catalog=Catalog.ADMINISTRATORS,
        deletions_told=Told.SOME,
    ),
    Profile(
        ProviderName.DISTRIBUTION_2,
        "CNCF Distribution 2",
        limits=Limits(manifest=4 * _MIB),
        deletion=Deletion(Removal.THROWAWAY, Removal.REGISTRY),
        referrers=Referrers.TAG,
    ),
    Profile(
        ProviderName.DISTRIBUTION_3,
        "CNCF Distribution 3",
        limits=Limits(manifest=4 * _MIB),
        deletion=Deletion(Removal.REGISTRY, Removal.REGISTRY),
        referrers=Referrers.TAG,
    ),
    GENERIC,
)

#: All profiles, by name.
PROFILES: Mapping[ProviderName, Profile] = MappingProxyType({profile.name: profile for profile in _PROFILES})
