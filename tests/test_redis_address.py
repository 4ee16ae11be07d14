from __future__ import annotations

import pytest

from app.redis_address import InvalidAddress, SentinelAddress, in_next_database, problem, secrets_in

MINE = "redis+sentinel://geo:p%40ss@one:26380,two,[::1]:26381/mymaster/2?sentinel_password=hush&ssl_ca_certs=/ca.pem"


def test_it_is_taken_apart() -> None:
    address = SentinelAddress.parse(MINE)
    assert address.hosts == (("one", 26380), ("two", 26379), ("::1", 26381))
    assert (address.service, address.database, address.tls) == ("mymaster", 2, False)

    # What is for the Sentinels goes to them, and all else to the servers
    assert address.own() == {"password": "hush"}
    assert address.server() == "redis://geo:p%40ss@server/2?ssl_ca_certs=%2Fca.pem"
    assert SentinelAddress.parse(MINE.replace("redis+", "rediss+")).server().startswith("rediss://")


def test_it_is_put_together_again() -> None:
    address = SentinelAddress.parse(MINE)
    assert SentinelAddress.parse(str(address)) == address
    assert "[::1]:26381" in str(address)


@pytest.mark.parametrize(
    ("url", "next_"),
    [
        ("redis://host:6379", "redis://host:6379/1"),
        ("redis://host/", "redis://host/1"),
        ("redis://:p%2Fw@host/3?socket_keepalive=yes", "redis://:p%2Fw@host/4?socket_keepalive=yes"),
        ("redis://host/3?db=7", "redis://host/3?db=8"),
        ("rediss://host/0?ssl_ca_certs=/ca.pem", "rediss://host/1?ssl_ca_certs=/ca.pem"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock?db=1"),
        ("unix:///run/valkey.sock?db=4", "unix:///run/valkey.sock?db=5"),
        ("unix:///run/valkey.sock?password=a%2Fb", "unix:///run/valkey.sock?password=a/b&db=1"),
        ("redis+sentinel://one,two:7/mymaster", "redis+sentinel://one:26379,two:7/mymaster/1"),
        ("rediss+sentinel://u:p@one/m/3?a=b", "rediss+sentinel://u:p@one:26379/m/4?a=b"),
    ],
)
def test_the_database_after_it(url: str, next_: str) -> None:
    assert in_next_database(url) == next_


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+sentinel://one,two", "name"),
        ("redis+sentinel://one//0", "name"),
        ("redis+sentinel:///mymaster", "hosts"),
        ("redis+sentinel://one,/mymaster", "hosts"),
        ("redis+sentinel://one:99999/mymaster", "hosts"),
        ("redis+sentinel://one:two/mymaster", "hosts"),
        ("redis+sentinel://one/mymaster/zero", "database"),
        ("redis+sentinel://:pa?ss@one/mymaster", "percent-encoded"),
        ("redis+sentinel://:pa#ss@one/mymaster", "percent-encoded"),
    ],
)
def test_what_is_none_is_told_and_not_quoted(url: str, said: str) -> None:
    with pytest.raises(InvalidAddress, match=said) as told:
        SentinelAddress.parse(url)
    assert problem(url) == str(told.value)
    assert not {"pa", "ss"} & set(str(told.value).replace("password", "").split())


def test_other_addresses_have_no_problem_here() -> None:
    assert problem("redis://host") is None
    assert problem("redis+sentinel://one/mymaster") is None


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        (MINE, {"p%40ss", "p@ss", "hush"}),
        ("redis://host/0?password=open", {"open"}),
        ("postgresql://geo:s3cret@host/geo", {"s3cret"}),
        ("postgresql://geo@host/geo?sslkey=/etc/geo/client.key&sslpassword=a%2Fb", {"a/b", "a%2Fb"}),
        ("redis://host:6379/0", set()),
        ("redis://user@host:6379/0", set()),
        ("rediss://host/0?ssl_password=a%2Fb", {"a/b", "a%2Fb"}),
    ],
)
def test_what_is_secret_in_it(url: str, secrets: set[str]) -> None:
    assert set(secrets_in(url)) == secrets
