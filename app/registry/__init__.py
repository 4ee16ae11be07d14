"""A client of OCI registries, for who copies between them. Knows nothing of the rest of the application."""

from __future__ import annotations

from app.registry.answers import from_response
from app.registry.auth import Authenticator, Challenge, Fetch, KeyToken, Scope, StaticBearer
from app.registry.blob_stream import BlobStream
from app.registry.blobs import Upload
from app.registry.client import RegistryClient
from app.registry.credential import Credential, Credentials, Fixed, Issued, TokenShare, Use
from app.registry.errors import (
    ActionNotAllowed,
    Denied,
    DigestMismatch,
    InvalidKey,
    InvalidManifest,
    InvalidReference,
    InvalidResponse,
    NoCredentials,
    NotFound,
    PatchedMismatch,
    RateLimited,
    RegistryError,
    Rejected,
    ServerError,
    Stopped,
    TimedOut,
    TLSFailed,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unreachable,
    Unsupported,
    UnsupportedDigest,
)
from app.registry.limits import Limiter, Meter, NoLimit, Permit, Quota, always_bulk, bulk
from app.registry.manifests import Descriptor, Manifest
from app.registry.manners import Manners
from app.registry.references import Digest, is_digest, is_repository, is_tag
from app.registry.resume import BlobReader, Patience, ResumingStream, Watch
from app.registry.token_service import Account, Anonymous, Basic, OwnTokenService
from app.registry.tokens import SigningKey
from app.registry.transfer import Opener, Source, TransferResult, copy_blob, holds, straight

__all__ = [
    "Account",
    "ActionNotAllowed",
    "Anonymous",
    "Authenticator",
    "Basic",
    "BlobReader",
    "BlobStream",
    "Challenge",
    "Credential",
    "Credentials",
    "Denied",
    "Descriptor",
    "Digest",
    "DigestMismatch",
    "Fetch",
    "Fixed",
    "InvalidKey",
    "InvalidManifest",
    "InvalidReference",
    "InvalidResponse",
    "Issued",
    "KeyToken",
    "Limiter",
    "Manifest",
    "Manners",
    "Meter",
    "NoCredentials",
    "NoLimit",
    "NotFound",
    "Opener",
    "OwnTokenService",
    "PatchedMismatch",
    "Patience",
    "Permit",
    "Quota",
    "RateLimited",
    "RegistryClient",
    "RegistryError",
    "Rejected",
    "ResumingStream",
    "Scope",
    "ServerError",
    "SigningKey",
    "Source",
    "StaticBearer",
    "Stopped",
    "TLSFailed",
    "TimedOut",
    "TokenShare",
    "TooLarge",
    "TooManyRequests",
    "TransferResult",
    "Unauthorized",
    "Unreachable",
    "Unsupported",
    "UnsupportedDigest",
    "Upload",
    "Use",
    "Watch",
    "always_bulk",
    "bulk",
    "copy_blob",
    "from_response",
    "holds",
    "is_digest",
    "is_repository",
    "is_tag",
    "straight",
]
