"""Docker's schema 1 manifests, signed as old clients sign them (image manifest version 2, schema 1)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.images import DOCKER_LAYER, SCHEMA1_SIGNED, Blob, Image, layer

#: What the signed form cuts off the payload and puts behind the signatures.
_TAIL = b"\n}"


def schema1(repository: str, tag: str, layers: Sequence[bytes] | None = None) -> Image:
    """Build a signed schema 1 image; it can be pushed to this repository and tag alone.

    Its digest is that of the payload without the signatures, which the registry makes anew for every GET: compare
    payloads, not bytes.
    """
    blobs = [Blob(data, DOCKER_LAYER) for data in layers or [layer(), layer()]]
    # The topmost layer comes first.
    names = [hashlib.sha256(blob.data + repository.encode()).hexdigest() for blob in blobs]
    history = [{"id": name} for name in names]
    for child, parent in zip(history, names[1:], strict=False):
        child["parent"] = parent
    payload = json.dumps(
        {
            "schemaVersion": 1,
            "name": repository,
            "tag": tag,
            "architecture": "amd64",
            "fsLayers": [{"blobSum": blob.digest} for blob in blobs],
            "history": [{"v1Compatibility": json.dumps(entry)} for entry in history],
        },
        indent=3,
    ).encode()
    return Image(_sign(payload), SCHEMA1_SIGNED, tuple(blobs), payload=payload)


def _sign(payload: bytes) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    head = payload.removesuffix(_TAIL)
    protected = _base64url(json.dumps({"formatLength": len(head), "formatTail": _base64url(_TAIL)}).encode())
    signed = f"{protected}.{_base64url(payload)}".encode()
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
    signature = {
        "header": {"jwk": _jwk(key.public_key()), "alg": "ES256"},
        "signature": _base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big")),
        "protected": protected,
    }
    return head + b',\n   "signatures": ' + json.dumps([signature]).encode() + _TAIL


def _jwk(key: ec.EllipticCurvePublicKey) -> dict[str, Any]:
    numbers = key.public_numbers()
    return {
        "crv": "P-256",
        "kid": _libtrust_id(key),
        "kty": "EC",
        "x": _base64url(numbers.x.to_bytes(32, "big")),
        "y": _base64url(numbers.y.to_bytes(32, "big")),
    }


def _libtrust_id(key: ec.EllipticCurvePublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    encoded = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return ":".join(encoded[start : start + 4] for start in range(0, len(encoded), 4))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
