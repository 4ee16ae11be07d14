"""Tag write: a tag put on a manifest, also where the registry's owner has said that tags do not move."""

from __future__ import annotations

from app.registry import Denied, Manifest, NotFound, RegistryClient, RegistryError, Rejected, Unsupported

#: What registries say of a tag that must not move: Amazon and Google in words alone, Harbor by a code.
_WORDS = (b"immutab", b"cannot be overwritten", b"is locked")
_CODES = frozenset({"TAG_IMMUTABLE", "PRECONDITION"})


class TagImmutable(Exception):
    """The tag stands on something else, and the registry lets nobody move it."""

    reason = "tag_immutable"
    temporary = False


def put_tag(registry: RegistryClient, repository: str, tag: str, manifest: Manifest, *, total_timeout: float) -> None:
    """Push the manifest under the tag, whole within so many seconds.

    A tag that must not move and stands on it already is as it should be: some refuse even that (Amazon does).

    Raises:
        TagImmutable: it must not move, and stands on something else.
        RegistryError: as `put_manifest`.
    """
    try:
        registry.put_manifest(repository, tag, manifest, total_timeout=total_timeout)
    except (Rejected, Denied, Unsupported) as error:
        if not _says_immutable(error):
            raise
        standing = _standing(registry, repository, tag, error)
        if standing == manifest.digest:
            return
        raise TagImmutable(
            f"the tag {tag} of {repository} on {registry.name} stands on {standing} and must not move to"
            f" {manifest.digest}: {error.message}; let tags move there, or delete this one there"
        ) from error


def _says_immutable(error: RegistryError) -> bool:
    said = error.body.lower()
    return not _CODES.isdisjoint(error.codes) or any(word in said for word in _WORDS)


def _standing(registry: RegistryClient, repository: str, tag: str, refusal: RegistryError) -> str:
    try:
        return registry.head_manifest(repository, tag).digest
    except NotFound:
        # Then it is another rule.
        raise refusal from None
