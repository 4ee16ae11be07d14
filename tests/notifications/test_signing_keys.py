"""Keys are fetched when they are needed, and neither more often nor larger than they should."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from app.notifications.authentication import Refused
from app.notifications.signing_keys import DEFAULT_AGE, MAX_AGE, MAX_ANSWER, PAUSE, SigningKeys, fetch_keys
from tests.support.identity import key_set, serving


class Issuer:
    """Answers as it is told, and counts."""

    def __init__(self, *kids: str, age: float | None = 600) -> None:
        self.answer: Callable[[], bytes] = lambda: key_set(*kids)
        self.age = age
        self.asked = 0
        self.now = 1000.0
        self.keys = SigningKeys("https://keys.example.com", self.fetch, lambda: self.now)

    def fetch(self, url: str) -> tuple[bytes, float | None]:
        assert url == "https://keys.example.com"
        self.asked += 1
        return self.answer(), self.age

    def fail(self) -> None:
        def failing() -> bytes:
            raise OSError("no answer")

        self.answer = failing


def refusal(issuer: Issuer, kid: str) -> Refused:
    with pytest.raises(Refused) as caught:
        issuer.keys.find(kid)
    return caught.value


def test_keys_are_fetched_once_for_as_long_as_they_are_good() -> None:
    issuer = Issuer("a", "b")
    for _ in range(5):
        assert issuer.keys.find("a").key_id == "a"
        assert issuer.keys.find("b").key_id == "b"
    assert issuer.asked == 1

    # When they are old
    issuer.now += 601
    issuer.keys.find("a")
    assert issuer.asked == 2


@pytest.mark.parametrize(("age", "kept"), [(None, DEFAULT_AGE), (0, 60), (10**9, MAX_AGE)])
def test_what_the_issuer_says_of_their_age_has_bounds(age: float | None, kept: float) -> None:
    issuer = Issuer("a", age=age)
    issuer.keys.find("a")
    issuer.now += kept
    issuer.keys.find("a")
    assert issuer.asked == 1
    issuer.now += 1
    issuer.keys.find("a")
    assert issuer.asked == 2


def test_a_new_key_is_found_before_the_old_ones_are_old() -> None:
    # Given
    issuer = Issuer("a")
    issuer.keys.find("a")

    # When the issuer takes another
    issuer.answer = lambda: key_set("b")
    issuer.now += PAUSE

    # Then it is found, and the old one is gone
    assert issuer.keys.find("b").key_id == "b"
    assert refusal(issuer, "a").reason == "wrong_credential"


def test_made_up_keys_cost_the_issuer_little() -> None:
    # When somebody names a thousand keys that are none, in a minute
    issuer = Issuer("a")
    for number in range(1000):
        issuer.now += 0.06
        assert not refusal(issuer, f"made-up-{number}").temporary

    # Then it was asked about every PAUSE seconds
    assert issuer.asked <= 60 / PAUSE + 1


def test_while_the_issuer_is_away_its_keys_stay_good_for_a_day() -> None:
    # Given
    issuer = Issuer("a")
    issuer.keys.find("a")

    # When it is away
    issuer.fail()
    issuer.now += 3600
    assert issuer.keys.find("a").key_id == "a"
    assert refusal(issuer, "b").temporary

    # Then not for ever
    issuer.now += MAX_AGE
    assert refusal(issuer, "a").reason == "keys_unavailable"


def test_an_issuer_that_was_never_there_is_waited_for() -> None:
    # Given
    issuer = Issuer("a")
    good = issuer.answer
    issuer.fail()
    assert refusal(issuer, "a").temporary

    # When it comes back, Then it is asked again, after a while
    issuer.answer = good
    assert refusal(issuer, "a").temporary
    issuer.now += PAUSE
    assert issuer.keys.find("a").key_id == "a"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"keys": 1}',
        b'{"keys": []}',
        b"[" * 100_000,
        b'{"keys": [{"kty": "RSA", "kid": "a"}]}',
    ],
)
def test_an_answer_without_keys_is_none(body: bytes) -> None:
    issuer = Issuer()
    issuer.answer = lambda: body
    assert refusal(issuer, "a").temporary


def test_a_key_of_another_kind_costs_none_of_the_others() -> None:
    issuer = Issuer()
    document = json.loads(key_set("a", 7))
    document["keys"] += [{"kty": "EC", "kid": "b"}, {"kty": "RSA", "kid": "c", "n": "%"}, None]
    issuer.answer = lambda: json.dumps(document).encode()
    assert issuer.keys.find("a").key_id == "a"
    for kid in ("b", "c"):
        assert not refusal(issuer, kid).temporary


def test_those_who_ask_at_once_share_one_answer() -> None:
    issuer = Issuer("a")
    threads = [threading.Thread(target=issuer.keys.find, args=("a",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert issuer.asked == 1


# --- over HTTP -----------------------------------------------------------------------------------------------------


def test_keys_come_over_http_with_their_age() -> None:
    with serving(200, key_set("a"), Cache_Control="public, max-age=21600, must-revalidate") as url:
        assert fetch_keys(url) == (key_set("a"), 21600.0)
        assert SigningKeys(url).find("a").key_id == "a"
    with serving(200, key_set("a")) as url:
        assert fetch_keys(url)[1] is None


@pytest.mark.parametrize("status", [301, 404, 500])
def test_any_other_answer_is_none(status: int) -> None:
    with serving(status, key_set("a"), Location="http://127.0.0.1:9/") as url, pytest.raises(OSError):
        fetch_keys(url)


def test_an_answer_has_a_size() -> None:
    with serving(200, b" " * (MAX_ANSWER + 1)) as url, pytest.raises(OSError, match="too large"):
        fetch_keys(url)


def test_nobody_there_is_no_answer() -> None:
    with serving(200, b"") as url:
        pass
    with pytest.raises(OSError):
        fetch_keys(url)
