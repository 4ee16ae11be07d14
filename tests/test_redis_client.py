"""Clients of real servers: over TLS with an authority of their own, as a user with few rights, by way of Sentinels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.redis_client import connect
from tests.support.ports import free_port
from tests.support.sentinel import Sentinels
from tests.support.tls import Authority, TlsFront
from tests.support.valkey import Valkey
from tests.support.wait import wait_until


@contextlib.contextmanager
def client(url: str) -> Iterator[redis.Redis]:
    with contextlib.closing(connect(url, socket_timeout=5)) as found:
        yield found


def test_a_plain_address(valkey: Valkey) -> None:
    with client(valkey.url) as found:
        assert found.ping()


def test_tls_with_an_authority_of_its_own(valkey: Valkey, tmp_path: Path) -> None:
    # Given a server behind TLS whose certificate a private authority signed
    authority = Authority(tmp_path)
    with TlsFront(valkey.port, authority.issue()) as front:
        url = front.url.replace("https", "rediss") + "/0"

        # Then who knows the authority talks to it
        with client(f"{url}?ssl_ca_certs={authority.ca_path}") as found:
            assert found.ping()

        # And who does not, does not
        with client(url) as found, pytest.raises(redis.ConnectionError, match="certificate"):
            found.ping()

    # Nor where the certificate is another's
    with TlsFront(valkey.port, authority.issue("elsewhere.example")) as front:
        url = front.url.replace("https", "rediss") + f"/0?ssl_ca_certs={authority.ca_path}"
        with client(url) as found, pytest.raises(redis.ConnectionError, match="certificate"):
            found.ping()


def test_a_user_and_password(valkey: Valkey) -> None:
    # Given a user of the server's own access control
    with valkey.client() as admin:
        admin.execute_command("ACL", "SETUSER", "geo", "on", ">p@ss/word", "~geo:*", "+@all")
        try:
            # Then it is that user who asks
            with client(f"redis://geo:p%40ss%2Fword@{valkey.host}/0") as found:
                assert found.acl_whoami() == "geo"
                with pytest.raises(redis.exceptions.NoPermissionError):
                    found.set("other", "1")
        finally:
            admin.execute_command("ACL", "DELUSER", "geo")


def test_sentinels_that_are_not_there_are_an_error_of_the_connection() -> None:
    with (
        client(f"redis+sentinel://127.0.0.1:{free_port()}/mymaster") as found,
        pytest.raises(redis.ConnectionError, match="mymaster"),
    ):
        found.ping()


@pytest.mark.long
def test_the_master_that_the_sentinels_name_is_asked_whichever_that_is(tmp_path: Path) -> None:
    # Given a client that has talked to the first master
    with Sentinels(tmp_path) as sentinels, client(sentinels.url(3)) as found:
        found.set("before", "1")
        assert _port(found) == sentinels.master.port
        wait_until(lambda: _replicated(sentinels, "before"))

        # When that one is killed
        sentinels.fail_over()

        # Then the same client talks to the other, in the same database
        assert wait_until(lambda: _asked(found)) == b"1"
        assert _port(found) == sentinels.replica.port
        found.set("after", "1")

        # And with some of the Sentinels gone too
        sentinels.processes[0].kill()
        with client(sentinels.url(3)) as another:
            assert another.get("after") == b"1"

        # And when the first comes back it is a replica, and nobody writes to it
        sentinels.master.start()
        wait_until(lambda: _role(sentinels.master) == "slave", timeout=60)
        assert _port(found) == sentinels.replica.port


@pytest.mark.long
def test_servers_and_sentinels_that_speak_tls_alone(tmp_path: Path) -> None:
    # Given servers and Sentinels with certificates of a private authority
    authority = Authority(tmp_path / "authority")
    with Sentinels(tmp_path / "sentinels", authority) as sentinels:
        # Then who knows it is let to the master
        with client(sentinels.url()) as found:
            assert found.ping()
            assert _port(found) == sentinels.master.port

            # And after a failover to the other
            sentinels.fail_over()
            assert wait_until(lambda: _answers(found))
            assert _port(found) == sentinels.replica.port

        # And who does not know it is let to none
        with client(sentinels.url().partition("?")[0]) as found, pytest.raises(redis.ConnectionError):
            found.ping()


@pytest.mark.long
def test_sentinels_that_want_a_password(tmp_path: Path) -> None:
    # Given Sentinels with a password of their own
    with Sentinels(tmp_path, password="hush") as sentinels:
        # Then they are asked by it, and the server is not
        with client(f"{sentinels.url()}?sentinel_password=hush") as found:
            assert found.ping()
        with client(f"{sentinels.url()}?sentinel_password=wrong") as found, pytest.raises(redis.RedisError):
            found.ping()


def _asked(client: redis.Redis) -> object:
    try:
        return client.get("before")
    except redis.ConnectionError:
        return None


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _port(client: redis.Redis) -> int:
    """Of the server that answers."""
    info = client.info("server")
    return int(info["tcp_port"])


def _replicated(sentinels: Sentinels, key: str) -> bool:
    with sentinels.replica.client(3) as replica:
        return bool(replica.exists(key))


def _role(server: Valkey) -> str | None:
    """None while it does not answer: it drops whoever is connected when it becomes a replica."""
    try:
        with server.client() as asked:
            return str(asked.info("replication")["role"])
    except redis.ConnectionError:
        return None
