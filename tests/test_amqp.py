from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import amqp
from app.settings import SettingsError
from tests.support import parts
from tests.support.ports import free_port
from tests.support.rabbitmq import PASSWORD, RabbitMQ
from tests.support.tls import Authority, TlsFront


@pytest.fixture(autouse=True)
def _client() -> None:
    parts.library("pika", "pika")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


def test_every_wait_has_an_end_unless_the_address_says_otherwise() -> None:
    found = amqp.parameters("amqp://geo:p%40ss@host/%2Fgeo?heartbeat=7")
    assert (found.host, found.port, found.virtual_host) == ("host", 5672, "/geo")
    assert (found.credentials.username, found.credentials.password) == ("geo", "p@ss")
    assert found.heartbeat == 7
    for waited in (found.socket_timeout, found.stack_timeout, found.blocked_connection_timeout):
        assert 0 < waited <= 10


def test_tls_by_the_names_of_rabbitmqs_own_documents(tmp_path: Path) -> None:
    # Given an authority of one's own
    authority = Authority(tmp_path)

    # Then it is the one that is trusted, and the name is compared
    found = amqp.parameters(f"amqps://host/?cacertfile={authority.ca_path}&server_name_indication=other")
    assert found.ssl_options.server_hostname == "other"
    assert found.ssl_options.context.verify_mode is ssl.CERT_REQUIRED
    assert [ca["subject"] for ca in found.ssl_options.context.get_ca_certs()] == [((("commonName", "authority"),),)]
    assert amqp.parameters("amqps://host/").ssl_options.server_hostname == "host"

    # And unless one asks for it, what is there is not believed
    careless = amqp.parameters("amqps://host/?verify=verify_none").ssl_options.context
    assert careless.verify_mode is ssl.CERT_NONE


def test_without_its_client_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqp, "find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match=r"geo-registry\[rabbitmq\]"):
        amqp.require("amqp://host")
    amqp.require("redis://host")


def test_nobody_there_is_told_with_the_reason() -> None:
    with pytest.raises(OSError, match="refused"):
        amqp.probe(f"amqp://127.0.0.1:{free_port()}")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_real_server(server: RabbitMQ, tmp_path: Path) -> None:
    # Given a server, then we are let in
    amqp.probe(server.url)

    # And not by another password, or to what there is not
    with pytest.raises(amqp.Refused) as told:
        amqp.probe(server.url.replace("p%40ss", "wrong"))
    assert PASSWORD not in str(told.value)
    with pytest.raises(amqp.Refused):
        amqp.probe(server.url.removesuffix("%2F") + "elsewhere")

    # And over TLS with an authority of one's own, but not without knowing it
    authority = Authority(tmp_path)
    with TlsFront(server.port, authority.issue()) as front:
        port = front.url.rpartition(":")[2]
        url = server.url.replace("amqp:", "amqps:").replace(f":{server.port}/", f":{port}/")
        amqp.probe(f"{url}?cacertfile={authority.ca_path}")
        with pytest.raises(OSError, match="certificate"):
            amqp.probe(url)
