"""Repository names, tags and digests by the grammar of the OCI distribution and image specifications."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from app.registry.errors import InvalidReference, UnsupportedDigest

#: The longest repository name; clients commonly limit host and name together to this.
REPOSITORY_LENGTH = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")

#: Algorithms that we can compute, with the length of their lower-case hexadecimal form.
_ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


class Hasher(Protocol):
    """What `hashlib` gives: fed with bytes, asked for the hexadecimal digest."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


class Digest:
    """Computing content digests; a digest itself is a plain `algorithm:encoded` str everywhere."""

    @staticmethod
    def of(data: bytes, algorithm: str = "sha256") -> str:
        """Return the digest of the data; raises `UnsupportedDigest` for any algorithm but sha256, 384 and 512."""
        hasher = Digest.hasher(f"{algorithm}:")
        hasher.update(data)
        return f"{algorithm}:{hasher.hexdigest()}"

    @staticmethod
    def hasher(digest: str) -> Hasher:
        """Return a fresh hash object of the digest's algorithm; raises `UnsupportedDigest`."""
        algorithm = Digest.algorithm(digest)
        if algorithm not in _ALGORITHMS:
            raise UnsupportedDigest(f"cannot verify a digest of the algorithm {algorithm[:40]!r}")
        return hashlib.new(algorithm)

    @staticmethod
    def algorithm(digest: str) -> str:
        """Return the part before the colon."""
        return digest.partition(":")[0]

    @staticmethod
    def supported(digest: str) -> bool:
        """Tell whether this is a well-formed digest that we can compute."""
        return is_digest(digest) and Digest.algorithm(digest) in _ALGORITHMS

    @staticmethod
    def differs(digest: str, other: str) -> bool:
        """Tell whether two digests contradict each other; of two algorithms they cannot."""
        return Digest.algorithm(digest) == Digest.algorithm(other) and digest != other


#: How a repository name is told to who gave something else.
REPOSITORY_PATH = "a repository path, such as team/app (without host and tag)"


def is_repository(name: str) -> bool:
    """Tell whether this is a repository name (distribution-spec, "Pulling manifests")."""
    return len(name) <= REPOSITORY_LENGTH and _REPOSITORY.fullmatch(name) is not None


def is_tag(tag: str) -> bool:
    """Tell whether this is a tag (distribution-spec, "Pulling manifests")."""
    return _TAG.fullmatch(tag) is not None


def is_digest(digest: str) -> bool:
    """Tell whether this is a digest (image-spec, descriptor.md); of those that we compute the length counts too."""
    if len(digest) > 512 or _DIGEST.fullmatch(digest) is None:
        return False
    algorithm, _, encoded = digest.partition(":")
    length = _ALGORITHMS.get(algorithm)
    return length is None or (len(encoded) == length and _HEX.fullmatch(encoded) is not None)


def require_repository(name: str) -> str:
    """Return the name, or raise `InvalidReference`: what is not a name must never become part of a URL."""
    if not is_repository(name):
        raise InvalidReference(f"{name[:100]!r} is not a repository name")
    return name


def require_reference(reference: str) -> str:
    """Return the tag or digest, or raise `InvalidReference`."""
    if not (is_tag(reference) or is_digest(reference)):
        raise InvalidReference(f"{reference[:150]!r} is neither a tag nor a digest")
    return reference


def require_digest(digest: str) -> str:
    """Return the digest, or raise `InvalidReference`."""
    if not is_digest(digest):
        raise InvalidReference(f"{digest[:150]!r} is not a digest")
    return digest
