from __future__ import annotations

import pytest

from app.registry import errors
from app.registry.errors import NotFound, RegistryError, Unreachable, redacted


def test_an_error_reads_as_one_line_with_request_and_advice() -> None:
    error = Unreachable("connection\nrefused", method="GET", url="https://r.example:5000/v2/a/x/tags/list?n=5")

    assert str(error) == (
        "GET r.example:5000/v2/a/x/tags/list: connection refused; check that the registry runs and that its "
        "address, name resolution and firewalls are right"
    )
    assert (error.reason, error.temporary) == ("unreachable", True)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@r.example/v2/?_state=secret#secret", "https://r.example/v2/"),
        ("http://[::1]:5000/v2/?X-Amz-Signature=secret", "http://[::1]:5000/v2/"),
        ("http://r.example:secret/", "(an unreadable URL)"),
        ("/v2/?token=secret", "/v2/"),
    ],
)
def test_no_url_in_an_error_holds_a_secret(url: str, shown: str) -> None:
    assert redacted(url) == shown
    assert "secret" not in str(RegistryError("x", url=url))
    assert "secret" not in repr(RegistryError("x", url=url))


def test_only_the_registry_s_own_word_is_a_witness() -> None:
    assert NotFound("x", codes=("MANIFEST_UNKNOWN",)).witnessed
    assert NotFound("x", codes=("NAME_UNKNOWN",)).witnessed
    assert not NotFound("x").witnessed
    assert not NotFound("x", codes=("NOT_FOUND",)).witnessed


def test_a_404_of_somebody_elses_stays_an_error() -> None:
    NotFound("x", codes=("MANIFEST_UNKNOWN",)).require_witness()
    error = NotFound("x")
    with pytest.raises(NotFound) as raised:
        error.require_witness()
    assert raised.value is error


def test_every_type_has_its_own_reason_and_says_what_it_is() -> None:
    types = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RegistryError)]

    assert len({kind.default_reason for kind in types}) == len(types) > 15
    assert all(kind.__doc__ for kind in types)


def test_a_body_is_kept_up_to_its_limit() -> None:
    assert len(RegistryError("x", body=b"x" * 100_000).body) == errors.BODY_LIMIT
