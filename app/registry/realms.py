"""Realms: which hosts a registry may name as its token service, whom we tell there who we are, and where else it may
lead us.

Whoever answers as the registry chooses the realm. So it must not lead to what only we can reach, such as a service on
this machine or a cloud's metadata (a server-side request forgery), nor our credentials to somebody else's host.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterable
from enum import IntEnum
from urllib.parse import urlsplit

from app.registry.errors import InvalidResponse

#: Domains that are nobody's own: each name below them may belong to somebody else.
SHARED_DOMAINS = frozenset(
    {
        *("azurecr.io", "azurecr.cn", "azurecr.us", "pkg.dev", "on.aws", "amazonaws.com", "amazonaws.com.cn"),
        *("jfrog.io", "cloudfront.net", "azurewebsites.net", "run.app", "herokuapp.com", "github.io", "onrender.com"),
    }
)

#: Second levels under which countries register: `example.co.uk` is a domain of somebody's, `co.uk` is not.
_SECOND_LEVELS = frozenset({"ac", "co", "com", "edu", "go", "gob", "gov", "mil", "ne", "net", "or", "org"})

#: Token services of registries on another domain, as their vendors have it.
KNOWN = {"registry.hub.docker.com": frozenset({"auth.docker.io"})}

#: Addresses that stand for those of IPv4 behind a translator (RFC 6052).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")

#: Where clouds answer to their machines beside the link-local addresses: Amazon by IPv6, Alibaba, Azure.
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")))

#: Seconds for which an answer of the name service is believed.
_BELIEVED = 60.0

#: Seconds for which it counts where the registry itself was reached.
_REMEMBERED = 3600.0

#: Told the address of a peer before anything is sent to it; raises a `RegistryError` where nothing may be.
Guard = Callable[[str], None]


class Reach(IntEnum):
    """From where an address can be reached, by ever fewer."""

    PUBLIC = 0
    #: A private network, or another range that is not routed.
    PRIVATE = 1
    #: This machine.
    LOOPBACK = 2
    #: The network segment: where clouds answer to their machines (169.254.169.254).
    LINK_LOCAL = 3

    @classmethod
    def of(cls, address: str) -> Reach:
        """The reach of an IP address, PUBLIC if it is one of everybody's; raises `ValueError` for anything else."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(ip, ipaddress.IPv6Address) and (ip.ipv4_mapped is not None or ip in _TRANSLATED):
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if ip.is_loopback or ip.is_unspecified:
            return cls.LOOPBACK
        if ip.is_link_local or ip in _METADATA:
            return cls.LINK_LOCAL
        return cls.PUBLIC if ip.is_global and not ip.is_multicast else cls.PRIVATE

    def may_name(self, other: Reach) -> bool:
        """Whether a registry of this reach may name a token service of the other."""
        return other <= self if self is not Reach.LINK_LOCAL else other is not Reach.LOOPBACK


class Realms:
    """The policy for one registry at `url`. `trusted` are hosts (`name` or `name:port`) that may be named, or led to,
    whatever they are, as the operator says. Shared by threads."""

    def __init__(
        self,
        url: str,
        trusted: Iterable[str] = (),
        *,
        resolve: Callable[[str], Iterable[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = (urlsplit(url).hostname or "").lower()
        self._trusted = frozenset(each.lower() for each in trusted)
        self._resolve = resolve or _addresses
        self._clock = clock
        self._lock = threading.Lock()
        self._reaches: tuple[frozenset[Reach], float] | None = None
        #: Not the same lock: that one is held while a name is resolved, and every request comes by here.
        self._meeting = threading.Lock()
        self._met: dict[Reach, float] = {}

    def met(self, address: str) -> None:
        """Note where the registry itself was reached, for who answers as the registry may have its name lead elsewhere
        a moment later (DNS rebinding). A guard of its own requests, which lets all of them go."""
        reach = _reach_of(address)
        with self._meeting:
            self._met[reach] = self._clock()

    def guard(self, url: str, *, credentials: bool) -> Guard:
        """Judge a request elsewhere than to the registry itself, and return what has to judge the peer's address.

        Raises `InvalidResponse` (reason `foreign_realm`) where credentials would go to another domain's host. On a
        private network names say little: there any host of a private network may be the token service. What the
        guard raises has that reason too, or `private_realm`.
        """
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if self._trusts(url):
            return _anybody
        same = host == self._host or host in KNOWN.get(self._host, ()) or domain(host) == domain(self._host)
        if credentials and not same and self._farthest() is Reach.PUBLIC:
            raise InvalidResponse(
                f"the registry names a token service at {host}, which is of another domain; no credentials are sent"
                " there unless it is one of the registry's token hosts",
                reason="foreign_realm",
                url=url,
            )

        def judge(address: str) -> None:
            reach = Reach.of(address)
            if reach is Reach.PUBLIC:
                if credentials and not same:
                    raise InvalidResponse(
                        f"the registry is on a private network and names a token service at {host}, which is not; no"
                        " credentials are sent there unless it is one of the registry's token hosts",
                        reason="foreign_realm",
                        url=url,
                    )
                return
            if not self._farthest().may_name(reach):
                raise InvalidResponse(
                    f"the registry names a token service at {host}, which is {_WORDS[reach]} ({address}); nothing is"
                    " sent there unless it is one of the registry's token hosts",
                    reason="private_realm",
                    url=url,
                )

        return judge

    def elsewhere(self, url: str) -> Guard:
        """What has to judge the peer's address where a blob is, or goes, at another host: the registry's storage, as
        it says.

        Storages stand on private networks too, and get no credentials. This machine is none, unless the registry is
        nowhere but there itself; what is link-local is none at all. What the guard raises has the reason `redirect`.
        """
        if self._trusts(url):
            return _anybody
        host = urlsplit(url).hostname or ""

        def judge(address: str) -> None:
            reach = Reach.of(address)
            if reach is Reach.LINK_LOCAL or (reach is Reach.LOOPBACK and self._farthest() is not Reach.LOOPBACK):
                raise InvalidResponse(
                    f"the registry leads to {host}, which is {_WORDS[reach]} ({address}); nothing is sent there unless"
                    " it is one of the registry's token hosts",
                    reason="redirect",
                    url=url,
                )

        return judge

    def _trusts(self, url: str) -> bool:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        return not self._trusted.isdisjoint({host, f"{host}:{port}"})

    def _farthest(self) -> Reach:
        """From where the registry can be reached, of all its addresses that from which most can.

        Whoever has a name can add any address to it, so none makes the registry nearer than another does. One public
        address makes it a public registry; so does none at all.
        """
        found = self._own()
        with self._meeting:
            since = self._clock() - _REMEMBERED
            return min((*found, *(reach for reach, at in self._met.items() if at > since)), default=Reach.PUBLIC)

    def _own(self) -> frozenset[Reach]:
        with self._lock:
            if self._reaches is None or self._clock() >= self._reaches[1]:
                found = frozenset(Reach.of(each) for each in self._resolve(self._host))
                self._reaches = found, self._clock() + _BELIEVED
            return self._reaches[0]


_WORDS = {
    Reach.PRIVATE: "in a private network",
    Reach.LOOPBACK: "on this machine",
    Reach.LINK_LOCAL: "a link-local address",
}


def domain(host: str) -> str:
    """The domain that somebody registered, as far as can be told without a list of all suffixes.

    An address, a name without dots and a name below a shared domain (`x.azurecr.io`) are their own.
    """
    labels = host.rstrip(".").split(".")
    for start in range(1, len(labels)):
        if ".".join(labels[start:]) in SHARED_DOMAINS:
            return host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        kept = 3 if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVELS else 2
        return ".".join(labels[-kept:])
    return host


@functools.lru_cache(maxsize=1024)
def _reach_of(address: str) -> Reach:
    return Reach.of(address)


def _anybody(address: str) -> None:
    """Mind no address: the operator said so."""


def _addresses(host: str) -> list[str]:
    try:
        return [str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return []
