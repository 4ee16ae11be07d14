"""Why a real registry does not take our token: each cause told apart from the others."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from app.replication.check import Id, Severity
from app.replication.check import registry as registry_check
from tests.replication.check.conftest import Examine, answering, only, troubles
from tests.support.answering import Answer
from tests.support.keys import KeyPair, TokenAuth, make_rsa
from tests.support.registries import DistributionRegistry, RegistryFactory

pytestmark = pytest.mark.timeout(60)


def dated(keys: KeyPair, path: Path, begins: dt.timedelta, ends: dt.timedelta) -> Path:
    """Another certificate of the same key, valid from and until these times from now."""
    instant = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(keys.certificate.subject)
        .issuer_name(keys.certificate.issuer)
        .public_key(keys.private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(instant + begins)
        .not_valid_after(instant + ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(keys.private_key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_all_is_well(primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine) -> None:
    # Given two registries that trust our key
    examination = examine(primary, secondary)

    # When both are looked at, Then nothing is found
    assert troubles(registry_check.primary(examination)) == []
    assert troubles(registry_check.secondary(examination)) == []


def test_another_service(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, keys: KeyPair, examine: Examine
) -> None:
    # Given a primary that wants tokens for another service
    primary = registry_factory("other", token=TokenAuth(keys, service="registry.example"))
    examination = examine(primary, secondary, GEO_REGISTRY_SERVICE="container_registry")

    # When it is looked at
    found = only(registry_check.primary(examination))

    # Then the line to change is told
    assert found.id is Id.SERVICE_WRONG
    assert found.fix == "export GEO_PRIMARY_REGISTRY_SERVICE=registry.example"


def test_an_issuer_as_gitlab_has_it(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, keys: KeyPair, examine: Examine
) -> None:
    # Given a primary with GitLab's issuer, and no token service that answers
    primary = registry_factory("other", token=TokenAuth(keys, issuer="omnibus-gitlab-issuer"))
    examination = examine(primary, secondary, GEO_REGISTRY_ISSUER="geo-registry")

    # When it is looked at
    found = only(registry_check.primary(examination))

    # Then the issuer was found by trying
    assert found.id is Id.ISSUER_UNTRUSTED
    assert found.fix == "export GEO_PRIMARY_REGISTRY_ISSUER=omnibus-gitlab-issuer"


def test_the_other_side_has_the_right_issuer(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, keys: KeyPair, examine: Examine
) -> None:
    # Given a primary whose issuer was set for the secondary by mistake
    primary = registry_factory("other", token=TokenAuth(keys, issuer="of my own"))
    env = {"GEO_REGISTRY_ISSUER": "geo-registry", "GEO_SECONDARY_REGISTRY_ISSUER": "of my own"}

    # When it is looked at, Then that is found
    found = only(registry_check.primary(examine(primary, secondary, **env)))
    assert (found.id, found.fix) == (Id.ISSUER_UNTRUSTED, "export GEO_PRIMARY_REGISTRY_ISSUER='of my own'")


@contextmanager
def token_service(auth: TokenAuth, signer: KeyPair | None = None) -> Iterator[str]:
    """A token service that gives tokens to anybody; its address."""
    token = auth.mint(keys=signer or auth.keys, headers={"x5c": (signer or auth.keys).x5c})
    with answering(lambda request: Answer(200, json.dumps({"token": token}).encode())) as url:
        yield f"{url}/token"


def test_an_issuer_that_its_own_token_service_tells(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, keys: KeyPair, examine: Examine
) -> None:
    # Given a primary with an issuer that nobody would guess, and a token service
    auth = TokenAuth(keys, issuer="c0ffee")
    with token_service(auth) as realm:
        primary = registry_factory("other", token=TokenAuth(keys, issuer="c0ffee", realm=realm))

        # When it is looked at
        found = only(registry_check.primary(examine(primary, secondary, GEO_REGISTRY_ISSUER="geo-registry")))

    # Then its own tokens have told
    assert (found.id, found.fix) == (Id.ISSUER_UNTRUSTED, "export GEO_PRIMARY_REGISTRY_ISSUER=c0ffee")


def test_a_key_that_its_own_tokens_do_not_have(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, keys: KeyPair, tmp_path: Path, examine: Examine
) -> None:
    # Given a primary that trusts another key, and a token service that signs with that one
    other = make_rsa(tmp_path, "other")
    with token_service(TokenAuth(other)) as realm:
        primary = registry_factory("other", token=TokenAuth(keys, bundle=other.certificate_path, realm=realm))

        # When it is looked at, Then it is the key, and not the issuer
        assert only(registry_check.primary(examine(primary, secondary))).id is Id.KEY_UNTRUSTED


def test_a_key_that_is_not_trusted(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, keys: KeyPair, tmp_path: Path, examine: Examine
) -> None:
    # Given a primary that trusts another key, and whose token service does not answer
    other = make_rsa(tmp_path, "other")
    primary = registry_factory("other", token=TokenAuth(keys, bundle=other.certificate_path))

    # When it is looked at
    found = only(registry_check.primary(examine(primary, secondary)))

    # Then what is left is said, and how its log tells one from the other
    assert found.id is Id.KEY_OR_ISSUER_UNTRUSTED
    assert "untrusted key" in found.why
    assert "rootcertbundle" in found.fix


def test_a_certificate_that_is_not_trusted(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, keys: KeyPair, tmp_path: Path, examine: Examine
) -> None:
    # Given a certificate of the trusted key that was made by an authority of its own
    other = make_rsa(tmp_path, "authority")
    stranger = _by(other, keys, tmp_path / "stranger.crt")
    primary = registry_factory("other", token=TokenAuth(keys))

    # When it is looked at, Then the certificate is found to be the reason
    examination = examine(primary, secondary, GEO_REGISTRY_CERTIFICATE_PATH=str(stranger))
    assert only(registry_check.primary(examination)).id is Id.CERTIFICATE_UNTRUSTED


def _by(authority: KeyPair, keys: KeyPair, path: Path) -> Path:
    certificate = (
        x509.CertificateBuilder()
        .subject_name(keys.certificate.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(keys.private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime.now(dt.UTC) - dt.timedelta(hours=1))
        .not_valid_after(dt.datetime.now(dt.UTC) + dt.timedelta(days=30))
        .sign(authority.private_key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(
    ("begins", "ends", "expected"), [(-10, -1, Id.CERTIFICATE_EXPIRED), (1, 10, Id.CERTIFICATE_NOT_YET_VALID)]
)
def test_a_certificate_out_of_its_time(
    begins: int,
    ends: int,
    expected: Id,
    registry_factory: RegistryFactory,
    secondary: DistributionRegistry,
    keys: KeyPair,
    tmp_path: Path,
    examine: Examine,
) -> None:
    # Given a certificate that both we and the registry have, and that is not valid now
    path = dated(keys, tmp_path / "dated.crt", dt.timedelta(days=begins), dt.timedelta(days=ends))
    primary = registry_factory("other", token=TokenAuth(keys, bundle=path))
    examination = examine(primary, secondary, GEO_REGISTRY_CERTIFICATE_PATH=str(path))

    # When it is looked at, Then its dates are the reason, and nothing else is blamed
    assert only(registry_check.primary(examination)).id is expected


def test_a_certificate_that_ends_soon(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, keys: KeyPair, tmp_path: Path, examine: Examine
) -> None:
    # Given a certificate with two days left
    path = dated(keys, tmp_path / "dated.crt", dt.timedelta(days=-1), dt.timedelta(days=2))
    primary = registry_factory("other", token=TokenAuth(keys, bundle=path))
    examination = examine(primary, secondary, GEO_REGISTRY_CERTIFICATE_PATH=str(path))

    # When it is looked at
    found = only(registry_check.primary(examination))

    # Then it is only a warning
    assert (found.id, found.severity) == (Id.CERTIFICATE_EXPIRING, Severity.WARNING)


def test_a_key_that_cannot_be_read(
    primary: DistributionRegistry, secondary: DistributionRegistry, tmp_path: Path, examine: Examine
) -> None:
    # Given a file that is no key, of which nothing must be shown
    path = tmp_path / "no.key"
    path.write_text("hush hush")

    # When it is looked at
    found = only(registry_check.primary(examine(primary, secondary, GEO_PRIMARY_REGISTRY_KEY_PATH=str(path))))

    # Then
    assert found.id is Id.KEY_UNUSABLE
    assert "hush" not in repr(found)
