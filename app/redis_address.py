"""Addresses of Redis and Valkey: `redis://`, `rediss://`, `unix://`, and by way of Sentinels.

A plain address is redis-py's own form. Sentinels have none there; ours is the one that most Python programs know:

    redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/database][?options]

`rediss+sentinel://` is the same with TLS, to the Sentinels too. User and password are the servers'; the Sentinels' are
the options `sentinel_username` and `sentinel_password`. All other options are redis-py's, such as `ssl_ca_certs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlencode

PLAIN = frozenset({"redis", "rediss", "unix"})
SENTINEL = frozenset({"redis+sentinel", "rediss+sentinel"})

#: Where Sentinels listen where nothing else is said.
SENTINEL_PORT = 26379

#: Options that are for the Sentinels alone.
OWN = ("sentinel_username", "sentinel_password")

#: Options that are secret, PostgreSQL's `sslpassword` among them; a password in the address itself is one anyway.
SECRET = ("password", "sentinel_password", "ssl_password", "sslpassword")

_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.%]+)\]|(?P<name>[^\[\]:,@/?#\s]+))(?::(?P<port>[0-9]{1,5}))?")


class InvalidAddress(ValueError):
    """It is not of the form; the message says what is wrong with it and quotes nothing of it."""


def is_sentinel(url: str) -> bool:
    return url.partition("://")[0] in SENTINEL


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """The server that Sentinels take for the master of `service` at the time."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int
    #: As in the address: before its `@`, and after its `?`.
    userinfo: str = ""
    query: str = ""
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> SentinelAddress:
        """Read such an address.

        Raises:
            InvalidAddress: when it is none.
        """
        scheme, _, rest = url.partition("://")
        # Not by urllib: it knows of one host.
        authority, _, tail = rest.partition("/")
        userinfo, _, hosts = authority.rpartition("@")
        path, _, query = tail.partition("?")
        service, _, database = path.partition("/")
        if "#" in url or "?" in authority:
            raise InvalidAddress("reserved characters in a user name or password must be percent-encoded")
        if not service:
            raise InvalidAddress("the name that the Sentinels know the servers by is missing: …/mymaster/0")
        if not re.fullmatch(r"[0-9]{0,5}", database):
            raise InvalidAddress("after the name comes the number of a database, or nothing")
        return cls(
            hosts=tuple(_hosts(hosts)),
            service=unquote(service),
            database=int(database or 0),
            userinfo=userinfo,
            query=query,
            tls=scheme.startswith("rediss"),
        )

    def __str__(self) -> str:
        scheme = "rediss+sentinel" if self.tls else "redis+sentinel"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        userinfo = f"{self.userinfo}@" if self.userinfo else ""
        query = f"?{self.query}" if self.query else ""
        return f"{scheme}://{userinfo}{hosts}/{quote(self.service, safe='')}/{self.database}{query}"

    def own(self) -> dict[str, str]:
        """The options that are for the Sentinels alone, by the names of a server's own."""
        given = parse_qs(self.query)
        return {name.removeprefix("sentinel_"): given[name][0] for name in OWN if name in given}

    def server(self) -> str:
        """The address of a server as redis-py knows it, but for its host: options, user and database."""
        options = [(name, value) for name, value in parse_qsl(self.query) if name not in OWN]
        userinfo = f"{self.userinfo}@" if self.userinfo else ""
        scheme = "rediss" if self.tls else "redis"
        return f"{scheme}://{userinfo}server/{self.database}" + (f"?{urlencode(options)}" if options else "")


def in_next_database(url: str) -> str:
    """The same server, and the database after that one."""
    if is_sentinel(url):
        address = SentinelAddress.parse(url)
        return str(replace(address, database=address.database + 1))
    head, _, query = url.partition("?")
    named = parse_qs(query).get("db")
    scheme, _, rest = head.partition("://")
    host, _, path = rest.partition("/")
    if scheme == "unix":
        return f"{head}?{_with_database(query, int(named[0]) + 1 if named else 1)}"
    if named:
        return f"{head}?{_with_database(query, int(named[0]) + 1)}"
    number = path.replace("/", "")
    return f"{scheme}://{host}/{int(number) + 1 if number.isdecimal() else 1}" + (f"?{query}" if query else "")


def secrets_in(url: str) -> Iterator[str]:
    """What must not be told of an address: passwords, as they are and as they stand in it."""
    authority, _, query = url.partition("://")[2].partition("?")
    password = authority.partition("/")[0].rpartition("@")[0].partition(":")[2]
    if password:
        yield from (password, unquote(password))
    for name, value in parse_qsl(query):
        if name in SECRET:
            yield from (value, quote(value, safe=""))


def problem(url: str) -> str | None:
    """What is wrong with an address that names Sentinels; None if nothing is, or it names none."""
    if not is_sentinel(url):
        return None
    try:
        SentinelAddress.parse(url)
    except InvalidAddress as error:
        return str(error)
    return None


def _hosts(text: str) -> Iterator[tuple[str, int]]:
    for each in text.split(","):
        match = _HOST.fullmatch(each)
        if match is None or int(match["port"] or 1) not in range(1, 65536):
            raise InvalidAddress("the Sentinels' hosts are host:port, separated by commas")
        yield unquote(match["ipv6"] or match["name"]), int(match["port"] or SENTINEL_PORT)


def _with_database(query: str, number: int) -> str:
    kept = [(name, value) for name, value in parse_qsl(query) if name != "db"]
    return urlencode([*kept, ("db", number)], safe="/")
