"""Each way of proving who sends, with what fits and what does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from app.notifications.authentication import (
    Closed,
    HeaderSecret,
    HubSignature,
    IdentityToken,
    Refused,
    Scheme,
    Sender,
    encoded,
)

SECRETS = encoded(["new-secret", "old-secret"])


def allowed(header: str | None, secrets: tuple[bytes, ...]) -> bool:
    """Whether this value of Authorization is let in."""
    return refusal(HeaderSecret(secrets), {} if header is None else {"authorization": header}) is None


def refusal(scheme: Scheme, headers: dict[str, str], body: Iterable[bytes] = (), **query: list[str]) -> str | None:
    """Why it is refused, or None."""
    try:
        check = scheme.begin(Sender(headers, query))
        for chunk in body:
            check.update(chunk)
        check.finish()
    except Refused as error:
        return "temporary" if error.temporary else error.reason
    assert check.done
    return None


# --- a secret in a header ------------------------------------------------------------------------------------------


def basic(password: str, user: str = "geo") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        "new-secret",
        "old-secret",
        "Bearer new-secret",
        "bearer  old-secret ",
        basic("new-secret"),
        basic("old-secret", user=""),
        basic("new-secret").replace("Basic", "basic"),
    ],
)
def test_a_secret_is_taken_in_every_form(header: str) -> None:
    assert allowed(header, SECRETS)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
        basic("new-secret").rstrip("=")[:-1],
        basic(""),
        # The user's name is not the secret.
        "Basic " + base64.b64encode(b"new-secret:").decode(),
        "new-secre",
        "new-secret,old-secret",
        "NEW-SECRET",
        "Token new-secret",
        "Bearer Bearer new-secret",
        "ÿ\xa0",
        "x" * 100_000,
    ],
)
def test_anything_else_is_refused(header: str | None) -> None:
    assert not allowed(header, SECRETS)


def test_without_a_secret_nobody_is_allowed() -> None:
    assert not allowed("", ())
    assert not allowed("anything", ())


@pytest.mark.parametrize("form", ["{}", "Bearer {}"])
def test_a_secret_beyond_ascii_fits_as_the_server_hands_it_on(form: str) -> None:
    # Given a secret whose bytes on the wire are UTF-8, which WSGI decodes as Latin-1
    secret = "pässwörd-ключ"
    handed_on = form.format(secret).encode().decode("latin-1")

    # Then it is the secret
    assert allowed(handed_on, encoded([secret]))
    assert allowed(basic(secret), encoded([secret]))


def test_a_secret_may_itself_look_like_a_scheme() -> None:
    assert allowed("Bearer abc", encoded(["Bearer abc"]))
    assert allowed(basic("a:b"), encoded(["a:b"]))


# --- a secret in the address ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["new-secret", "old-secret"])
def test_a_secret_in_the_address_is_taken_where_that_is_meant(secret: str) -> None:
    assert refusal(HeaderSecret(SECRETS, parameters=("secret",)), {}, secret=[secret]) is None
    assert refusal(HeaderSecret(SECRETS, parameters=("secret",)), {}, secret=["x", secret]) is None
    assert refusal(HeaderSecret(SECRETS), {}, secret=[secret]) == "no_credential"


def test_a_wrong_secret_in_the_address_is_refused() -> None:
    scheme = HeaderSecret(SECRETS, parameters=("secret",))
    for values in (["wrong"], [""], ["\ud800"], []):
        assert refusal(scheme, {}, secret=values) == ("wrong_credential" if values else "no_credential")
    assert refusal(scheme, {}, token=["new-secret"]) == "no_credential"


def test_another_header_may_hold_it() -> None:
    scheme = HeaderSecret(SECRETS, names=("authorization", "x-api-key"))
    assert refusal(scheme, {"x-api-key": "old-secret"}) is None
    assert refusal(scheme, {"x-api-key": "old-secret", "authorization": "wrong"}) is None
    assert refusal(scheme, {"x-other": "old-secret"}) == "no_credential"


# --- GitHub's signature --------------------------------------------------------------------------------------------

BODY = b'{"action": "published"}'


def signed(body: bytes, secret: bytes = SECRETS[0]) -> dict[str, str]:
    return {"x-hub-signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()}


@pytest.mark.parametrize("secret", SECRETS)
def test_the_raw_body_is_signed_with_one_of_the_secrets(secret: bytes) -> None:
    assert refusal(HubSignature(SECRETS), signed(BODY, secret), [BODY[:5], BODY[5:]]) is None


def test_githubs_own_example_of_a_signature_fits() -> None:
    # Given the values with which GitHub's documentation lets one try it out
    header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    scheme = HubSignature((b"It's a Secret to Everybody",))

    # Then
    assert refusal(scheme, {"x-hub-signature-256": header}, [b"Hello, World!"]) is None


@pytest.mark.parametrize("body", [BODY + b" ", BODY[:-1], b"", BODY.replace(b": ", b":")])
def test_another_body_does_not_fit(body: bytes) -> None:
    assert refusal(HubSignature(SECRETS), signed(BODY), [body]) == "wrong_credential"


def test_another_secret_does_not_fit() -> None:
    assert refusal(HubSignature(SECRETS), signed(BODY, b"new-secre"), [BODY]) == "wrong_credential"
    assert refusal(HubSignature(()), signed(BODY, b""), [BODY]) == "wrong_credential"


@pytest.mark.parametrize(
    "header", [None, "", "sha256=", "sha256=" + "0" * 63, "sha1=" + "0" * 40, "md5=" + "0" * 64, "0" * 64]
)
def test_without_a_signature_the_body_is_not_even_read(header: str | None) -> None:
    headers = {} if header is None else {"x-hub-signature-256": header}
    with pytest.raises(Refused) as caught:
        HubSignature(SECRETS).begin(Sender(headers))
    assert caught.value.reason == "no_credential"


@settings(deadline=None, max_examples=50)
@given(header=st.text(min_size=64, max_size=64), body=st.binary(max_size=50))
def test_no_signature_raises_anything_else(header: str, body: bytes) -> None:
    found = refusal(HubSignature(SECRETS), {"x-hub-signature-256": f"sha256={header}"}, [body])
    # Blanks behind it are no part of it, and then it is too short for one.
    assert found == ("wrong_credential" if header == header.rstrip() else "no_credential")


# --- Google's identity token ---------------------------------------------------------------------------------------

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
AUDIENCE, EMAIL = "https://geo.example.com/gar", "push@my-project.iam.gserviceaccount.com"


class Keys:
    """One key, by its id."""

    def find(self, kid: str) -> Any:
        if kid != "k1":
            raise Refused("wrong_credential", "no such key")
        return KEY.public_key()


SCHEME = IdentityToken(AUDIENCE, (EMAIL, "next@my-project.iam.gserviceaccount.com"), Keys())


def claims(**other: Any) -> dict[str, Any]:
    """What Google says; a `timedelta` stands for a time so far from now."""
    moment = int(time.time())
    given = {"aud": AUDIENCE, "iss": "https://accounts.google.com", "email": EMAIL, "email_verified": True}
    said = {**given, "sub": "113774264463038321964", "iat": moment, "exp": moment + 3600, **other}
    return {
        name: moment + int(value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in said.items()
    }


def bearing(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def token(key: Any = KEY, kid: str | None = "k1", algorithm: str = "RS256", **other: Any) -> str:
    said = {name: value for name, value in claims(**other).items() if value is not None}
    return jwt.encode(said, key, algorithm, headers={} if kid is None else {"kid": kid})


@pytest.mark.parametrize(
    "other",
    [{}, {"iss": "accounts.google.com"}, {"email": SCHEME.emails[1]}, {"exp": timedelta(seconds=-5)}],
    ids=["as it is", "other issuer", "other account", "clocks differ"],
)
def test_googles_token_is_taken(other: dict[str, Any]) -> None:
    assert refusal(SCHEME, bearing(token(**other))) is None


@pytest.mark.parametrize(
    "other",
    [
        {"aud": "https://elsewhere.example.com"},
        {"aud": None},
        {"iss": "https://accounts.example.com"},
        {"iss": None},
        {"email": "somebody@else.iam.gserviceaccount.com"},
        {"email": None},
        {"email": [EMAIL]},
        {"email": EMAIL.upper()},
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "true"},
        {"exp": timedelta(hours=-1)},
        {"exp": None},
        {"iat": timedelta(hours=1)},
        {"nbf": timedelta(hours=1)},
        {"kid": "k2"},
        {"kid": None},
        {"key": OTHER_KEY},
        {"algorithm": "PS256"},
        {"algorithm": "HS256", "key": "x" * 64},
        {"algorithm": "none", "key": None},
    ],
    ids=lambda other: " ".join(name if name == "key" else f"{name}={value}" for name, value in other.items()),
)
def test_any_other_token_is_refused(other: dict[str, Any]) -> None:
    assert refusal(SCHEME, bearing(token(**other))) == "wrong_credential"


@pytest.mark.parametrize(
    "value",
    [
        "abc",
        "a.b.c",
        "....",
        "\xe9.\xe9.\xe9",
        base64.urlsafe_b64encode(b"[" * 9000).decode() + ".e30.AA",
        base64.urlsafe_b64encode(b'{"alg":"RS256","kid":["k1"]}').decode().rstrip("=") + ".e30.AA",
        base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"k1"}').decode().rstrip("=") + ".e30.AA",
    ],
    ids=["word", "dots", "more dots", "latin1", "deep", "odd kid", "bad signature"],
)
def test_what_is_no_token_is_refused(value: str) -> None:
    assert refusal(SCHEME, bearing(value)) == "wrong_credential"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "new-secret"])
def test_without_a_bearer_nobody_is_let_in(header: str | None) -> None:
    assert refusal(SCHEME, {} if header is None else {"authorization": header}) == "no_credential"


def test_what_is_not_set_up_lets_nobody_in() -> None:
    assert refusal(Closed("set it"), bearing(token())) == "not_configured"


def test_a_refusal_says_what_to_change() -> None:
    for scheme in (
        HeaderSecret(SECRETS, advice="this"),
        HubSignature(SECRETS, advice="this"),
        IdentityToken(AUDIENCE, (EMAIL,), Keys(), advice="this"),
        Closed("this"),
    ):
        with pytest.raises(Refused, match=r"^this$"):
            scheme.begin(Sender())


def test_who_sends_is_not_shown() -> None:
    sender = Sender({"authorization": "new-secret"}, {"secret": ["new-secret"]})
    assert "new-secret" not in repr((sender, HeaderSecret(SECRETS), HubSignature(SECRETS).begin(Sender(signed(BODY)))))
