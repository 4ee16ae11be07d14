"""Addresses of RabbitMQ, by the parameters that its own documents give them: `amqps://host/vhost?cacertfile=/ca.pem`."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from app.settings import SettingsError

if TYPE_CHECKING:
    import pika

SCHEMES = frozenset({"amqp", "amqps"})

#: Seconds in which a connection has to be made, and without a sign of life after which it is given up.
CONNECTING, SILENCE = 3, 20

#: Options of the URI that say what TLS needs; https://www.rabbitmq.com/docs/uri-query-parameters
_TLS = ("cacertfile", "certfile", "keyfile", "verify", "server_name_indication")

#: What a channel is closed with that asks for a queue that nobody has declared.
_NOT_FOUND = 404


class Refused(Exception):
    """RabbitMQ answers, and does not let us in."""


def is_amqp(url: str) -> bool:
    return url.partition("://")[0] in SCHEMES


def require(url: str) -> None:
    """Make sure that we can talk to a queue at that address, if it is RabbitMQ's.

    Raises:
        SettingsError: when the client is not installed.
    """
    if is_amqp(url) and find_spec("pika") is None:
        raise SettingsError(
            ["BROKER_URL is RabbitMQ's, and the client for it is not installed: pip install 'geo-registry[rabbitmq]'."]
        )


def parameters(url: str) -> pika.URLParameters:
    """How to connect there. What the address leaves open is set so that every wait has an end.

    Raises:
        OSError, ssl.SSLError: when a certificate that it names cannot be read.
    """
    import pika

    parts = urlsplit(url)
    given = parse_qs(parts.query)
    # It tells of each attempt to connect, with a stack; what came of it is raised, and told by whoever asked.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    ours = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in _TLS]
    found = pika.URLParameters(urlunsplit(parts._replace(query=urlencode(ours))))
    for name, value in (
        ("socket_timeout", CONNECTING),
        ("stack_timeout", CONNECTING * 2),
        # A server that is short of memory or disk says that it takes nothing at present.
        ("blocked_connection_timeout", CONNECTING),
        ("heartbeat", SILENCE),
    ):
        if name not in given:
            setattr(found, name, value)
    if parts.scheme == "amqps" and "ssl_options" not in given:
        named = {name: given[name][0] for name in _TLS if name in given}
        found.ssl_options = pika.SSLOptions(_tls(named), named.get("server_name_indication") or parts.hostname)
    return found


def probe(url: str) -> None:
    """Sign in there and open a channel, as whoever uses the queue does.

    Raises:
        Refused: when we are not let in.
        OSError: when nobody answers, or not as RabbitMQ would.
    """
    with _connected(url) as connection:
        connection.channel()


def consumers(url: str, queues: Iterable[str]) -> dict[str, int]:
    """How many worker processes serve each of these queues; none serves one that was never declared.

    Raises:
        Refused, OSError: as `probe`.
    """
    from pika import exceptions

    found = {}
    with _connected(url) as connection:
        for queue in queues:
            try:
                found[queue] = connection.channel().queue_declare(queue, passive=True).method.consumer_count
            except exceptions.ChannelClosedByBroker as error:
                if error.reply_code != _NOT_FOUND:
                    raise Refused(str(error)) from error
                found[queue] = 0
    return found


@contextmanager
def _connected(url: str) -> Iterator[pika.BlockingConnection]:
    import pika
    from pika import exceptions

    try:
        connection = pika.BlockingConnection(parameters(url))
    except (
        exceptions.AuthenticationError,
        exceptions.ProbableAuthenticationError,
        exceptions.ProbableAccessDeniedError,
        exceptions.ConnectionClosedByBroker,
    ) as error:
        raise Refused(str(error) or type(error).__name__) from error
    except exceptions.AMQPError as error:
        raise ConnectionError(_reason(error)) from error
    try:
        yield connection
    finally:
        connection.close()


def _reason(error: BaseException) -> str:
    """What pika says of a connection that could not be made: it keeps the reason in what it carries."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    reason = getattr(error, "exception", None) or getattr(error, "exceptions", [None])[-1] or error
    return str(reason) or type(reason).__name__


def _tls(named: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=named.get("cacertfile"))
    if named.get("verify") == "verify_none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if "certfile" in named:
        context.load_cert_chain(named["certfile"], named.get("keyfile"))
    return context
