"""Which token services a registry may name: names, addresses, and what the operator allows."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from app.registry import Anonymous, Basic, Digest, InvalidResponse, Unauthorized
from app.registry.realms import Reach, Realms, domain
from app.registry.transport import Transport, discard
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request, Scripted

DATA = b"blob"
DIGEST = Digest.of(DATA)


def realms(url: str = "https://registry.example.com", *addresses: str, trusted: tuple[str, ...] = ()) -> Realms:
    """The policy of a registry that stands at these addresses (a public one unless said otherwise)."""
    return Realms(url, trusted, resolve=lambda _: addresses or ("93.184.216.34",))


def refused(policy: Realms, url: str, address: str = "93.184.216.34", *, credentials: bool = True) -> str | None:
    """The reason for which nothing is sent there, None when it is."""
    try:
        policy.guard(url, credentials=credentials)(address)
    except InvalidResponse as error:
        return error.reason
    return None


def led(policy: Realms, address: str) -> str | None:
    """The reason for which no blob is read from or sent to this address, None when it is."""
    try:
        policy.elsewhere("https://storage.example.net/b")(address)
    except InvalidResponse as error:
        return error.reason
    return None


@pytest.mark.parametrize(
    ("host", "registered"),
    [
        ("registry.example.com", "example.com"),
        ("example.com", "example.com"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("example.co.uk", "example.co.uk"),
        ("team.gitlab.io", "gitlab.io"),
        ("team.azurecr.io", "team.azurecr.io"),
        ("europe-docker.pkg.dev", "europe-docker.pkg.dev"),
        ("1.dkr.ecr.eu-west-1.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com"),
        ("docker.elastic.co", "elastic.co"),
        ("registry", "registry"),
        ("10.1.2.3", "10.1.2.3"),
        ("::1", "::1"),
    ],
)
def test_the_domain_that_somebody_registered(host: str, registered: str) -> None:
    assert domain(host) == registered


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("93.184.216.34", Reach.PUBLIC),
        ("2606:2800:220:1::1", Reach.PUBLIC),
        ("10.0.0.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("192.168.1.1", Reach.PRIVATE),
        ("fd00::1", Reach.PRIVATE),
        ("224.0.0.1", Reach.PRIVATE),
        ("127.0.0.1", Reach.LOOPBACK),
        ("0.0.0.0", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("64:ff9b::10.0.0.1", Reach.PRIVATE),
        ("169.254.169.254", Reach.LINK_LOCAL),
        ("fe80::1%eth0", Reach.LINK_LOCAL),
    ],
)
def test_how_far_an_address_reaches(address: str, reach: Reach) -> None:
    assert Reach.of(address) is reach


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://registry.example.com", "https://registry.example.com/token"),
        ("https://registry.example.com:5050", "https://auth.example.com/token"),
        ("https://registry-1.docker.io", "https://auth.docker.io/token"),
        ("https://registry.hub.docker.com", "https://auth.docker.io/token"),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
        ("https://ghcr.io", "https://ghcr.io/token"),
        ("https://team.azurecr.io", "https://team.azurecr.io/oauth2/token"),
    ],
)
def test_credentials_go_to_the_registrys_own_domain(registry: str, realm: str) -> None:
    assert refused(realms(registry), realm) is None


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://registry.example.com", "https://registry.example.org/token"),
        ("https://registry.example.com", "https://registry.example.com.evil.test/token"),
        ("https://team.azurecr.io", "https://other.azurecr.io/oauth2/token"),
        ("https://example.co.uk", "https://other.co.uk/token"),
        ("https://ghcr.io", "https://auth.docker.io/token"),
    ],
)
def test_credentials_go_to_nobody_elses(registry: str, realm: str) -> None:
    # Given a public registry that names another domain's host, Then it is not told who we are
    assert refused(realms(registry), realm) == "foreign_realm"
    # But it may be asked for an anonymous token
    assert refused(realms(registry), realm, credentials=False) is None
    # And what the operator names is right
    host = realm.split("/")[2]
    assert refused(realms(registry, trusted=(host,)), realm) is None
    assert refused(realms(registry, trusted=(f"{host}:443".upper(),)), realm) is None
    assert refused(realms(registry, trusted=(f"{host}:8443",)), realm) == "foreign_realm"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.8", "169.254.169.254", "::1", "fd00::1"])
@pytest.mark.parametrize("credentials", [True, False])
def test_a_public_registry_cannot_have_us_ask_what_only_we_can_reach(address: str, *, credentials: bool) -> None:
    # Given a token service that leads inside, whatever its name
    policy = realms("https://registry.example.com")
    for host in ("registry.example.com", "auth.example.com"):
        assert refused(policy, f"https://{host}/token", address, credentials=credentials) == "private_realm"
    # Unless the operator named it
    trusting = realms("https://registry.example.com", trusted=("auth.example.com",))
    assert refused(trusting, "https://auth.example.com/token", address, credentials=credentials) is None


@pytest.mark.parametrize(
    ("registry", "realm", "reason"),
    [
        ("10.0.0.5", "10.0.0.8", None),
        ("10.0.0.5", "192.168.7.7", None),
        ("10.0.0.5", "127.0.0.1", "private_realm"),
        ("10.0.0.5", "169.254.169.254", "private_realm"),
        ("10.0.0.5", "93.184.216.34", "foreign_realm"),
        ("127.0.0.1", "127.0.0.1", None),
        ("127.0.0.1", "10.0.0.8", None),
        ("127.0.0.1", "169.254.169.254", "private_realm"),
        ("169.254.1.1", "169.254.1.2", None),
        ("169.254.1.1", "127.0.0.1", "private_realm"),
    ],
)
def test_on_a_private_network_any_host_of_it_may_be_named(registry: str, realm: str, reason: str | None) -> None:
    # Given names that say nothing: `registry` and `auth` of a network of containers
    assert refused(realms("http://registry:5000", registry), "http://auth/token", realm) == reason


def test_one_public_address_makes_a_public_registry() -> None:
    mixed = realms("https://registry.example.com", "10.0.0.5", "93.184.216.34")
    assert refused(mixed, "https://auth.example.com/token", "10.0.0.8") == "private_realm"
    # Also at an address that it gave its own name, as anybody can
    assert refused(mixed, "https://registry.example.com:8443/token", "10.0.0.5") == "private_realm"
    assert refused(mixed, "https://registry.example.com:8443/token", "93.184.216.34") is None


def test_a_registry_without_an_address_is_a_public_one() -> None:
    nowhere = Realms("https://registry.example.com", resolve=lambda _: ())
    assert refused(nowhere, "https://auth.example.com/token", "10.0.0.8") == "private_realm"


def test_the_name_service_is_believed_for_a_minute() -> None:
    # Given a registry whose address changes
    now, asked = [0.0], [0]

    def resolve(_: str) -> tuple[str, ...]:
        asked[0] += 1
        return ("10.0.0.5",) if asked[0] == 1 else ("93.184.216.34",)

    policy = Realms("https://registry.example.com", resolve=resolve, clock=lambda: now[0])
    url = "https://auth.example.com/token"

    # When it is looked at again and again, Then it is asked for once a minute
    assert [refused(policy, url, "10.0.0.8") for _ in range(3)] == [None] * 3
    now[0] = 61.0
    assert refused(policy, url, "10.0.0.8") == "private_realm"
    assert asked == [2]


def naming(realm: Callable[[], str]) -> Callable[[Handler, Request], None]:
    """A registry that names this token service."""
    return lambda handler, _: handler.error(401, WWW_Authenticate=f'Bearer realm="{realm()}",service="svc"')


def test_the_address_that_was_connected_to_counts(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a registry that is taken for a public one, and a realm of its own host that leads to this machine
    monkeypatch.setattr("app.registry.realms._addresses", lambda _: ["93.184.216.34"])
    inside = serve(lambda handler, _: handler.reply(200, {"token": "t"}))
    registry = serve(naming(lambda: f"{inside.url}/token"))

    # When it is asked, with credentials and without, Then nothing is sent inside, also over a connection that is there
    for authenticator in (Basic("geo", "pa:ss"), Anonymous()):
        client = connect(registry.url, authenticator)
        for _ in range(2):
            with pytest.raises(InvalidResponse, match="on this machine") as raised:
                client.ping()
            assert raised.value.reason == "private_realm"
    assert inside.seen == []

    # And once the operator names that host, the service is asked
    with pytest.raises(Unauthorized):
        connect(registry.url, Anonymous(), token_hosts=["127.0.0.1"]).ping()
    assert [request.path.partition("?")[0] for request in inside.seen] == ["/token"]


@pytest.mark.parametrize(
    ("address", "refusal"),
    [
        ("93.184.216.34", None),
        ("10.0.0.8", None),
        ("127.0.0.1", "redirect"),
        ("::1", "redirect"),
        ("0.0.0.0", "redirect"),
        ("169.254.169.254", "redirect"),
        ("fd00:ec2::254", "redirect"),
        ("100.100.100.200", "redirect"),
        ("168.63.129.16", "redirect"),
    ],
)
def test_a_storage_is_where_others_reach_it_too(address: str, refusal: str | None) -> None:
    assert led(realms(), address) == refusal


def test_a_registry_on_this_machine_may_have_its_storage_there() -> None:
    assert led(realms("http://localhost:5000", "127.0.0.1", "::1"), "127.0.0.1") is None


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1"])
@pytest.mark.parametrize("farther", ["93.184.216.34", "10.0.0.5"])
def test_a_registry_does_not_come_nearer_by_an_address_that_it_adds_to_its_name(address: str, farther: str) -> None:
    # Given a registry whose name leads to itself, and to what only this machine reaches
    policy = realms("https://registry.example.com", address, farther)

    # Then it may neither have its storage nor its token service there
    assert led(policy, address) == "redirect"
    assert refused(policy, "https://registry.example.com:8443/token", address) == "private_realm"


def test_what_is_link_local_is_for_the_operator_to_name() -> None:
    # Given a registry of which nothing else is known than that it is on the segment
    near = ("http://169.254.1.1:5000", "169.254.1.1")
    assert led(realms(*near), "169.254.169.254") == "redirect"
    assert led(realms(*near), "127.0.0.1") == "redirect"
    assert led(realms(*near, trusted=("storage.example.net",)), "169.254.1.2") is None


def test_where_the_registry_was_reached_counts_for_an_hour() -> None:
    # Given a registry that was reached at a public address
    now = [0.0]
    policy = Realms("https://registry.example.com", resolve=lambda _: ("127.0.0.1",), clock=lambda: now[0])
    policy.met("93.184.216.34")

    # When its name leads to this machine from then on, Then nothing else does
    assert led(policy, "127.0.0.1") == "redirect"
    assert refused(policy, "https://registry.example.com:8443/token", "127.0.0.1") == "private_realm"

    # And a registry that has truly moved is there in the end
    policy.met("127.0.0.1")
    now[0] = 3601.0
    assert led(policy, "127.0.0.1") is None


def test_where_a_client_reaches_its_registry_is_noted(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a registry and a storage on this machine, and a name service that says something else
    monkeypatch.setattr("app.registry.realms._addresses", lambda _: ["169.254.1.1"])
    storage = serve(lambda handler, _: handler.reply(200, DATA))
    client = connect(serve(lambda handler, _: handler.reply(307, Location=f"{storage.url}/b")).url, Anonymous())

    # When a blob is read, twice over the same connection, Then it comes from there
    for _ in range(2):
        with client.open_blob("a/x", DIGEST) as stream:
            assert b"".join(stream) == DATA


@pytest.mark.parametrize("addresses", [["93.184.216.34"], ["127.0.0.1", "93.184.216.34"]], ids=["public", "mixed"])
def test_neither_a_blob_nor_an_upload_leads_into_this_machine(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    # Given a registry that is taken for a public one, and leads to a port of this machine
    monkeypatch.setattr("app.registry.realms._addresses", lambda _: addresses)
    inside = serve(lambda handler, _: handler.reply(200, DATA))

    def answer(handler: Handler, request: Request) -> None:
        status = 202 if request.method == "POST" else 307
        handler.reply(status, Location=f"{inside.url}/latest/meta-data")

    client = connect(serve(answer).url, Anonymous())

    def write() -> None:
        upload = client.start_upload("a/x")
        assert upload is not None
        upload.put([DATA], len(DATA), DIGEST)

    # When a blob is read, looked for and written, Then nothing is sent there
    for work in (
        lambda: client.open_blob("a/x", DIGEST).__enter__(),
        lambda: client.head_blob("a/x", DIGEST),
        write,
    ):
        with pytest.raises(InvalidResponse, match="on this machine") as raised:
            work()
        assert raised.value.reason == "redirect"
    assert inside.seen == []


def test_a_connection_that_was_kept_alive_is_judged_too(serve: Serve, connect: Connect) -> None:
    # Given a client that has a connection to a host, as it had to its registry
    server: Scripted = serve(lambda handler, _: handler.reply(200))
    transport = Transport()
    try:
        discard(transport.send("GET", server.url, headers={}, authorization=None))

        # When the next request over it has to be judged, Then nothing is sent
        def nobody(address: str) -> None:
            raise InvalidResponse(f"not to {address}")

        with pytest.raises(InvalidResponse, match=r"not to 127\.0\.0\.1"):
            transport.send("GET", f"{server.url}/token", headers={}, authorization="Basic x", guard=nobody)
    finally:
        transport.close()
    assert server.paths() == ["GET /"]


def test_a_connection_whose_peer_is_gone_is_made_anew(serve: Serve) -> None:
    # Given a connection that was kept alive, and is reset when it should be judged: there is no peer's address then
    server: Scripted = serve(lambda handler, _: handler.reply(200))
    judged: list[str] = []

    def guard(address: str) -> None:
        judged.append(address)
        if len(judged) == 2:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    transport = Transport()
    try:
        for _ in range(2):
            discard(transport.send("GET", server.url, headers={}, authorization=None, resend=True, guard=guard))
    finally:
        transport.close()

    # Then the request is sent over another
    assert judged == ["127.0.0.1"] * 3
    assert server.paths() == ["GET /"] * 2
