"""Secrets and keys are exchanged, as docs/operate.md says, while images are pushed: no event is lost for it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psycopg
import pytest
import requests
from psycopg import sql

from tests.integration.conftest import DeploymentFactory
from tests.support.deployment import ADMIN_TOKEN, SECRET
from tests.support.keys import KeyPair, TokenAuth, make_rsa
from tests.support.postgres import Postgres
from tests.support.rabbitmq import USER, RabbitMQ
from tests.support.registries import Address, DistributionRegistry, Endpoint
from tests.support.running import WEBHOOK, Running
from tests.support.standby import Standby
from tests.support.traffic import Traffic, assert_nothing_lost, failures, refusals
from tests.support.two_sites import SITE, TwoSites, token_in
from tests.support.valkey import Valkey
from tests.support.wait import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

#: Of a credential that a registry does not take.
CREDENTIALS = {"unauthorized", "no_credentials", "denied"}

#: As Redis says that a password is wrong.
REFUSED_PASSWORD = "invalid username-password pair"

#: As RabbitMQ says it.
REFUSED_USER = "ACCESS_REFUSED"

#: bcrypt of two passwords, at the lowest cost.
HTPASSWD = {
    "correct horse": "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
    "battery staple": "$2b$04$abcdefghijklmnopqrstuuhfdSToe28Z2OzxmmHxfI3lnNDfjxoF6",
}
OLD_PASSWORD, NEW_PASSWORD = HTPASSWD


def restart(geo: Running, **env: str) -> None:
    """Start a deployment anew, with these variables changed."""
    geo.stop()
    geo.env.update(env)
    geo.start()


def restart_registry(traffic: Traffic, registry: DistributionRegistry) -> None:
    """Start a registry anew with what was changed of it, and without events in its memory."""
    with traffic.quiet(registry) if registry is traffic.registry else nullcontext():
        registry.stop()
        registry.start()


def test_the_notification_secret(deploy: DeploymentFactory) -> None:
    # Given a registry that tells by the old secret, and pushes all the while
    pair = deploy()
    with Traffic(pair.primary) as traffic:
        traffic.flows()

        # When both are good, the registry gets the new one, and then that alone is good
        restart(pair.geo, GEO_NOTIFICATION_SECRET=f"the-new-secret-of-all,{SECRET}")
        traffic.flows()
        url = f"{pair.geo.url}{WEBHOOK}"
        pair.primary.notify = (Endpoint(url, "the-new-secret-of-all", ignore=True),)
        restart_registry(traffic, pair.primary)
        traffic.flows()
        restart(pair.geo, GEO_NOTIFICATION_SECRET="the-new-secret-of-all")
        traffic.flows()

        # Then nothing was lost, and nothing refused
        assert_nothing_lost(traffic, pair.secondary, pair.geo)
    assert (refusals(pair.geo), failures(pair.geo) & CREDENTIALS) == (0, set())

    # And the old one is worth nothing any more
    assert pair.geo.post({"events": []}).status_code == 401


def test_a_secret_that_was_changed_at_once(deploy: DeploymentFactory) -> None:
    # Given somebody who changed the secret here first, and not by two steps
    pair = deploy()
    with Traffic(pair.primary) as traffic:
        traffic.flows()
        restart(pair.geo, GEO_NOTIFICATION_SECRET="the-new-secret-of-all")
        wait_until(lambda: refusals(pair.geo) > 0, 60, "nothing was refused")
        traffic.flows()

        # When it takes the old one as well again
        restart(pair.geo, GEO_NOTIFICATION_SECRET=f"the-new-secret-of-all,{SECRET}")

        # Then the registry has kept what was refused, and nothing is lost
        assert_nothing_lost(traffic, pair.secondary, pair.geo)


def test_the_secret_key_and_the_admin_token(deploy: DeploymentFactory) -> None:
    # Given somebody who is signed in by the key that was made under var/, and a script with the token
    pair = deploy()
    made = (pair.geo.path / "var/secret_key").read_text().strip()
    with Traffic(pair.primary) as traffic, signed_in(pair.geo, ADMIN_TOKEN) as browser:
        traffic.flows()

        # When the key is exchanged by way of both
        restart(pair.geo, GEO_SECRET_KEY=f"{'n' * 40},{made}")

        # Then the session goes on
        assert page(browser, pair.geo) == 200
        assert page(browser, pair.geo) == 200
        traffic.flows()

        # And with the new one alone it has to be begun again
        restart(pair.geo, GEO_SECRET_KEY="n" * 40)
        assert page(browser, pair.geo) == 303
        (pair.geo.path / "var/secret_key").unlink()

        # When the token is exchanged, Then the old one opens nothing, and the new one everything
        assert api(pair.geo, ADMIN_TOKEN) == 200
        restart(pair.geo, GEO_ADMIN_TOKEN="another-admin-token-0123456789")
        assert (api(pair.geo, ADMIN_TOKEN), api(pair.geo, "another-admin-token-0123456789")) == (401, 200)
        traffic.flows()

        # And no event was lost or refused
        assert_nothing_lost(traffic, pair.secondary, pair.geo)
    assert (refusals(pair.geo), failures(pair.geo) & CREDENTIALS) == (0, set())


@contextmanager
def signed_in(geo: Running, token: str) -> Iterator[requests.Session]:
    with requests.Session() as browser:
        browser.trust_env = False
        form = browser.get(f"{geo.url}/admin/sign-in", timeout=10).text
        csrf = re.search(r'name="csrf_token" value="([^"]+)"', form)
        assert csrf is not None
        answer = browser.post(
            f"{geo.url}/admin/sign-in", data={"csrf_token": csrf[1], "token": token}, timeout=10, allow_redirects=False
        )
        assert answer.status_code == 303
        yield browser


def page(browser: requests.Session, geo: Running) -> int:
    return browser.get(f"{geo.url}/admin", timeout=10, allow_redirects=False).status_code


def api(geo: Running, token: str) -> int:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{geo.url}/api/v4/geo_sites", headers={"PRIVATE-TOKEN": token}, timeout=10).status_code


def test_the_key_pairs_of_both_registries(deploy: DeploymentFactory, tmp_path: Path) -> None:
    # Given registries that trust a key pair each
    old, new = ({side: _pair(tmp_path, f"{age}-{side}") for side in ("primary", "secondary")} for age in ("old", "new"))
    bundles = {side: tmp_path / f"{side}-bundle.crt" for side in old}
    for side, bundle in bundles.items():
        shutil.copy(old[side].certificate_path, bundle)
    auth = {side: TokenAuth(old[side], bundle=bundles[side]) for side in old}
    pair = deploy(
        primary={"token": auth["primary"]},
        secondary={"token": auth["secondary"]},
        **_paths("primary", old["primary"]),
        **_paths("secondary", old["secondary"]),
    )
    registries = {"primary": pair.primary, "secondary": pair.secondary}
    with Traffic(pair.primary) as traffic:
        for side, registry in registries.items():
            traffic.flows()

            # When the new certificate is trusted beside the old one, the new pair is used, and the old one is not
            # trusted any more
            with bundles[side].open("ab") as trusted:
                trusted.write(new[side].certificate_path.read_bytes())
            restart_registry(traffic, registry)
            traffic.flows()
            restart(pair.geo, **_paths(side, new[side]))
            traffic.flows()
            shutil.copy(new[side].certificate_path, bundles[side])
            # The tests themselves push and look by the new one from here on.
            registry.token = TokenAuth(new[side], bundle=bundles[side])
            restart_registry(traffic, registry)
            old[side].key_path.unlink()

            # Then what is pushed arrives by the new one alone
            traffic.flows()
        assert_nothing_lost(traffic, pair.secondary, pair.geo)
    assert refusals(pair.geo) == 0
    assert failures(pair.geo) & CREDENTIALS == set()
    assert "certificate-untrusted" not in pair.geo.geo("check", "--json", status=None)

    # And the old ones are worth nothing any more
    for side, registry in registries.items():
        token = auth[side].mint("registry:catalog:*")
        assert _status(f"{registry.url}/v2/", {"Authorization": f"Bearer {token}"}) == 401


def _pair(path: Path, name: str) -> KeyPair:
    path = path / "pairs"
    path.mkdir(exist_ok=True)
    return make_rsa(path, name)


def _paths(side: str, keys: KeyPair) -> dict[str, str]:
    prefix = f"GEO_{side.upper()}_REGISTRY"
    return {
        f"{prefix}_KEY_PATH": str(keys.key_path),
        f"{prefix}_CERTIFICATE_PATH": str(keys.certificate_path),
        f"{prefix}_ISSUER": "geo-registry",
        f"{prefix}_SERVICE": "container_registry",
    }


def _status(url: str, headers: Mapping[str, str]) -> int:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, headers=dict(headers), timeout=10).status_code


def test_the_passwords_of_both_registries(deploy: DeploymentFactory, tmp_path: Path) -> None:
    # Given registries with users of ours, and somebody else who pushes
    users = {side: tmp_path / f"{side}-htpasswd" for side in ("primary", "secondary")}
    for file in users.values():
        _write_users(file, pusher=OLD_PASSWORD, geo=OLD_PASSWORD)
    described = {
        side: {"token": None, "config": {"auth": {"htpasswd": {"realm": "tests", "path": str(file)}}}}
        for side, file in users.items()
    }
    pair = deploy(
        **described, **_credentials("primary", "geo", OLD_PASSWORD), **_credentials("secondary", "geo", OLD_PASSWORD)
    )
    primary, secondary = (
        Address(registry.url, _basic(registry.url, "pusher", OLD_PASSWORD))
        for registry in (pair.primary, pair.secondary)
    )
    with Traffic(primary) as traffic:
        # When each gets a second user, which is used, and then the first one goes
        for side, file in users.items():
            traffic.flows()
            _write_users(file, pusher=OLD_PASSWORD, geo=OLD_PASSWORD, geo2=NEW_PASSWORD)
            restart(pair.geo, **_credentials(side, "geo2", NEW_PASSWORD))
            _write_users(file, pusher=OLD_PASSWORD, geo2=NEW_PASSWORD)
            traffic.flows()

        # Then nothing has failed for it
        wait_until(lambda: "synced" in pair.geo.geo("repositories"), 30)
        assert failures(pair.geo) & CREDENTIALS == set()

        # When a password is changed at once, Then what needs it fails for so long, and is made up for
        _write_users(users["secondary"], pusher=OLD_PASSWORD, geo2=OLD_PASSWORD)
        traffic.flows()
        wait_until(lambda: failures(pair.geo) & CREDENTIALS, 60, lambda: pair.geo.log_text[-3000:])
        restart(pair.geo, **_credentials("secondary", "geo2", OLD_PASSWORD))
        traffic.flows()
        assert_nothing_lost(traffic, secondary, pair.geo)
    assert refusals(pair.geo) == 0


def _write_users(file: Path, **passwords: str) -> None:
    # A new file in the place of the old: the registry reads it anew when it is another, and never half of it.
    draft = file.with_suffix(".draft")
    draft.write_text("".join(f"{name}:{HTPASSWD[password]}\n" for name, password in passwords.items()))
    draft.replace(file)


def _credentials(side: str, user: str, password: str) -> dict[str, str]:
    prefix = f"GEO_{side.upper()}_REGISTRY"
    return {f"{prefix}_AUTH": "basic", f"{prefix}_USERNAME": user, f"{prefix}_PASSWORD": password}


def _basic(url: str, user: str, password: str) -> dict[str, str]:
    return {"Authorization": requests.Request(auth=(user, password), url=url).prepare().headers["Authorization"]}


def test_the_password_of_redis(deploy: DeploymentFactory, tmp_path: Path) -> None:
    with Valkey(tmp_path / "valkey") as valkey, valkey.client() as admin:
        # Given a broker with a password
        admin.execute_command("ACL", "SETUSER", "default", "resetpass", ">one")
        pair = deploy(**_redis(valkey, "one"))
        with Traffic(pair.primary) as traffic:
            traffic.flows()

            # When a second one is good as well, is used, and then the first one is not good any more
            admin.execute_command("ACL", "SETUSER", "default", ">two")
            restart(pair.geo, **_redis(valkey, "two"))
            admin.execute_command("ACL", "SETUSER", "default", "<one")
            traffic.flows()

            # Then nobody has noticed
            assert REFUSED_PASSWORD not in pair.geo.log_text

            # When it is changed at once, and all who are connected are thrown out
            admin.execute_command("ACL", "SETUSER", "default", "resetpass", ">three")
            admin.client_kill_filter(_type="normal", skipme=True)
            traffic.flows()

            # Then events are taken in all the same, and what they tell of is made up for
            wait_until(lambda: REFUSED_PASSWORD in pair.geo.log_text, 60, lambda: pair.geo.log_text[-3000:])
            restart(pair.geo, **_redis(valkey, "three"))
            assert_nothing_lost(traffic, pair.secondary, pair.geo)
        assert refusals(pair.geo) == 0
        pair.geo.stop()


def _redis(valkey: Valkey, password: str) -> dict[str, str]:
    address = f"redis://:{password}@127.0.0.1:{valkey.port}"
    return {"REDIS_URL": f"{address}/0", "BROKER_URL": f"{address}/1"}


def test_the_user_of_rabbitmq(deploy: DeploymentFactory, tmp_path: Path) -> None:
    with RabbitMQ(tmp_path / "rabbitmq") as server:
        # Given a queue with a user of ours
        pair = deploy(BROKER_URL=server.url)
        with Traffic(pair.primary) as traffic:
            traffic.flows()

            # When there is a second one, which is used, and then the first one goes
            server.control("add_user", "geo2", "one")
            server.control("set_permissions", "geo2", ".*", ".*", ".*")
            restart(pair.geo, BROKER_URL=server.url_of("geo2", "one"))
            server.control("delete_user", USER)
            traffic.flows()

            # Then nobody has noticed
            assert REFUSED_USER not in pair.geo.log_text

            # When its password is changed at once, and all who are connected are thrown out
            server.control("change_password", "geo2", "two")
            server.control("close_all_user_connections", "geo2", "changed")
            traffic.flows()

            # Then events are taken in all the same, and what they tell of is made up for
            wait_until(lambda: REFUSED_USER in pair.geo.log_text, 60, lambda: pair.geo.log_text[-3000:])
            restart(pair.geo, BROKER_URL=server.url_of("geo2", "two"))
            assert_nothing_lost(traffic, pair.secondary, pair.geo)
        assert refusals(pair.geo) == 0
        pair.geo.stop()


def test_the_password_of_the_database(deploy: DeploymentFactory, postgres: Postgres) -> None:
    # Given a database that asks for a password
    url = postgres.create_database()
    name = url.rpartition("/")[2]
    with _asks_for_a_password(postgres, name):
        _set_password(postgres, "one", owns=name)
        pair = deploy(DATABASE_URL=_by_password(url, "one"))
        with Traffic(pair.primary) as traffic:
            traffic.flows()

            # When it is changed, and all who are connected are thrown out
            _set_password(postgres, "two")
            _throw_out(postgres.url("postgres"))
            wait_until(lambda: _status(f"{pair.geo.url}/-/readiness", {}) == 503, 60, "it is ready without a database")
            traffic.flows()

            # Then the registry keeps what it is told to send again, until the new one is used
            restart(pair.geo, DATABASE_URL=_by_password(url, "two"))
            traffic.flows()
            assert_nothing_lost(traffic, pair.secondary, pair.geo)
        assert refusals(pair.geo) == 0
        assert not re.search(r"\bone@|\btwo@", pair.geo.log_text)
        pair.geo.stop()


def test_the_password_of_a_standby(tmp_path: Path) -> None:
    with Postgres() as cluster:
        # Given a standby that asks for a password, as its primary does, and a site that reads it
        url = cluster.create_database()
        name = url.rpartition("/")[2]
        with _asks_for_a_password(cluster, name):
            _set_password(cluster, "one", owns=name)
            with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
                admin.execute("GRANT pg_read_all_data TO geo_rotated")
            with Standby(cluster) as standby, TwoSites(tmp_path, url) as sites:
                at_standby = standby.url(url)
                two = sites.follow(sites.add(), GEO_PRIMARY_DATABASE_URL=_by_password(at_standby, "one"))
                with Traffic(sites.primary) as traffic:
                    traffic.flows()

                    # When it is changed, and all who are connected are thrown out
                    _set_password(cluster, "two")
                    standby.replayed()
                    _throw_out(standby.url("/postgres"))

                    # Then the site says so until the new one is used, and misses nothing
                    wait_until(
                        lambda: "GEO_PRIMARY_DATABASE_URL" in two.geo("status"), 60, lambda: two.log_text[-3000:]
                    )
                    traffic.flows()
                    restart(two, GEO_PRIMARY_DATABASE_URL=_by_password(at_standby, "two"))
                    assert_nothing_lost(traffic, sites.secondary, two, sites.one)
                assert refusals(sites.one) == 0
                two.stop()
                sites.one.stop()


def _throw_out(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'geo_rotated'")


def _by_password(url: str, password: str) -> str:
    return url.replace("postgres@", f"geo_rotated:{password}@")


def _set_password(postgres: Postgres, password: str, owns: str | None = None) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        if owns is not None:
            admin.execute("DROP ROLE IF EXISTS geo_rotated")
            admin.execute("CREATE ROLE geo_rotated LOGIN")
            admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO geo_rotated").format(sql.Identifier(owns)))
        admin.execute(sql.SQL("ALTER ROLE geo_rotated PASSWORD {}").format(sql.Literal(password)))


@contextmanager
def _asks_for_a_password(postgres: Postgres, name: str) -> Iterator[None]:
    """While inside, the role of this test needs its password; afterwards database and role are gone."""
    assert postgres.path is not None
    file = postgres.path / "data/pg_hba.conf"
    before = file.read_text()
    file.write_text(f"host all geo_rotated 127.0.0.1/32 scram-sha-256\n{before}")
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            admin.execute("DROP ROLE IF EXISTS geo_rotated")
            file.write_text(before)
            admin.execute("SELECT pg_reload_conf()")


def test_the_token_of_a_site(tmp_path: Path) -> None:
    with TwoSites(tmp_path) as sites:
        # Given a site that follows, and pushes all the while
        two = sites.follow(sites.add())
        with Traffic(sites.primary) as traffic:
            traffic.flows()

            # When it gets another token, which is used while the former one is good
            new = token_in(sites.one.geo("sites", "token", SITE))
            traffic.flows()
            restart(two, GEO_SITE_TOKEN=new)
            traffic.flows()

            # Then it has read all the while
            assert "GEO_SITE_TOKEN" not in two.log_text

            # When that one is void at once, Then it is told nothing until it has the next, and misses nothing
            void = token_in(sites.one.geo("sites", "token", SITE, "--revoke"))
            wait_until(lambda: "GEO_SITE_TOKEN" in two.geo("status"), 60, lambda: two.log_text[-3000:])
            traffic.flows()
            restart(two, GEO_SITE_TOKEN=void)
            assert_nothing_lost(traffic, sites.secondary, two, sites.one)
        assert refusals(sites.one) == 0
