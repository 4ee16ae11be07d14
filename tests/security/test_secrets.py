"""No secret of a deployment is told: in no answer, page, metric, row, command line, `repr` or log."""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask

from app.boot import boot
from app.cli import main
from app.confidential import secret_values
from app.database import connection
from app.deployment import Deployment, web_command
from app.embedded import EmbeddedValkey
from app.models import Site
from app.replication import remote_sites, site_tokens
from app.replication.remote_sites import Change, Declaration
from app.settings import Secret, Settings
from tests.support.deployment import ADMIN_TOKEN, SECRET, offline_environment
from tests.support.face import Face, face
from tests.support.keys import TokenAuth
from tests.support.ports import free_port
from tests.support.seed import seed

#: Secrets of every kind, each unlike any other text.
SECRETS = {
    "GEO_NOTIFICATION_SECRET": "notify-6f0d2a7c41,notify-next-19c3a5",
    "GEO_ADMIN_TOKEN": "admin-0b7e55d1f3a9",
    "GEO_SECRET_KEY": "session-key-93ab41de77",
    "GEO_PRIMARY_REGISTRY_PASSWORD": "primary-pass-aa31f0",
    "GEO_SECONDARY_REGISTRY_PASSWORD": "secondary-pass-77c1e2",
}
ACCOUNTS = {
    "GEO_PRIMARY_REGISTRY_AUTH": "basic",
    "GEO_PRIMARY_REGISTRY_USERNAME": "reader",
    "GEO_SECONDARY_REGISTRY_AUTH": "basic",
    "GEO_SECONDARY_REGISTRY_USERNAME": "writer",
}
VALUES = [one for value in SECRETS.values() for one in value.split(",")]


def tells(text: str, *more: str) -> list[str]:
    """The secrets that are in the text."""
    return [secret for secret in (*VALUES, *more) if secret in text]


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Face]:
    """A deployment with rows in it and a secret of every kind, whose registries are not there."""
    env: dict[str, Any] = {
        "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": f"http://127.0.0.1:{free_port()}",
        "GEO_SECONDARY_REGISTRY_URL": f"http://127.0.0.1:{free_port()}",
        **ACCOUNTS,
        **SECRETS,
    }
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state", **env) as started:
        seed(started.site)
        yield started


def addresses(app: Flask) -> Iterator[tuple[str, str]]:
    """Every route with something in place of each part that varies."""
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<int:\w+>", "1", re.sub(r"<(path:)?\w+>", "x", rule.rule))
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, path


def test_no_answer_tells_a_secret(deployed: Face) -> None:
    # Given a site with a token, and somebody who is signed in and has the admin token
    remote_sites.apply([Change(None, Declaration("berlin"))])
    with connection():
        token = site_tokens.issue(Site.get(Site.name == "berlin"))
    deployed.app.testing = False
    deployed.sign_in(SECRETS["GEO_ADMIN_TOKEN"])
    admin = {"PRIVATE-TOKEN": SECRETS["GEO_ADMIN_TOKEN"]}
    notify = {"Authorization": VALUES[0]}
    site = {"Authorization": f"Bearer {token}"}

    # When everything is asked for, rightly and wrongly
    asked = set()
    for method, path in addresses(deployed.app):
        for headers in ({}, admin, notify, site, {"Authorization": "Basic !"}):
            answer = deployed.client.open(path, method=method, headers=headers, data=b"{")
            asked.add(answer.status_code)

            # Then no secret is in it
            assert tells(f"{answer.headers}\n{answer.text}", token) == [], f"{method} {path}"
            answer.close()
    assert {200, 401, 404} <= asked


def test_the_database_holds_no_secret(deployed: Face, tmp_path: Path) -> None:
    # Given a site with a token, and somebody who has signed in
    remote_sites.apply([Change(None, Declaration("berlin"))])
    with connection():
        token = site_tokens.issue(Site.get(Site.name == "berlin"))
    deployed.sign_in(SECRETS["GEO_ADMIN_TOKEN"])

    # When all files of the database are read, Then none is there
    files = [path for path in tmp_path.iterdir() if path.name.startswith("geo.db")]
    kept = b"".join(path.read_bytes() for path in files).decode("latin-1")
    assert "berlin" in kept
    assert tells(kept, token) == []


def test_no_command_line_tells_a_secret(tmp_path: Path) -> None:
    # Given settings with secrets of every kind
    env = offline_environment("postgresql://geo:database-pass-5e1c@db.example/geo", **ACCOUNTS, **SECRETS)
    env["REDIS_URL"] = "redis://:redis-pass-8d22@redis.example/0"
    settings = Settings.from_env(env)

    # When all that is started is looked at as the list of processes shows it
    with EmbeddedValkey(tmp_path / "valkey") as valkey:
        programs = Deployment(settings, env, valkey).programs()
        shown = "\n".join(word for program in programs for word in [*program.argv, *web_command()])

    # Then none is in it
    assert "dramatiq" in shown
    assert tells(shown, "database-pass-5e1c", "redis-pass-8d22") == []


def test_no_command_takes_a_secret_as_an_argument() -> None:
    # Given every command
    def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
        yield path, command
        if isinstance(command, click.Group):
            context = click.Context(main)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                yield from commands(child, f"{path} {name}")

    # When its arguments are looked at, Then none would put a secret into the list of processes
    for path, command in commands(main, "geo"):
        for parameter in command.params:
            takes = not (isinstance(parameter, click.Option) and parameter.is_flag)
            assert not (takes and re.search("secret|password|token", parameter.name or "")), f"{path} {parameter.name}"


def test_no_representation_tells_a_secret(tmp_path: Path) -> None:
    # Given a process that has booted
    settings = Settings.from_env(offline_environment(f"sqlite:///{tmp_path}/geo.db", **ACCOUNTS, **SECRETS))
    context = boot(settings)
    try:
        # When all that it holds is shown, as at the console or in an error
        seen: list[object] = [settings, context, *vars(context).values()]
        for client in (context.primary, context.secondary):
            assert client is not None
            endpoint = client._endpoint
            seen += [client, endpoint, *vars(endpoint).values(), *vars(endpoint._authenticator).values()]
        shown = "\n".join(f"{each!r} {each} {each:}" for each in seen)
    finally:
        context.close()

    # Then none is in it
    assert "Secret(…)" in shown
    assert tells(shown) == []


def test_a_secret_is_written_nowhere_by_accident() -> None:
    secret = Secret("database-pass-5e1c")
    assert "database" not in f"{secret} {secret!r} {secret:} {[secret]} {({'a': secret},)}"
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_an_error_nobody_thought_of_is_logged_without_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, token_auth: TokenAuth
) -> None:
    # Given a process that knows its secrets, and an error whose words and cause hold them
    from app.logging import JsonFormatter, PlainFormatter

    settings = Settings.from_env(
        offline_environment("postgresql://geo:database%2Dpass%2D5e1c@db.example/geo", **ACCOUNTS, **SECRETS)
        | {"REDIS_URL": "rediss://geo:redis-pass-8d22@redis.example/0"}
    )
    from app import logging as logs

    before = logs._secrets
    logs.conceal(secret_values(settings))
    key = token_auth.keys.key_path.read_text().splitlines()[1]
    more = ("database-pass-5e1c", "database%2Dpass%2D5e1c", "redis-pass-8d22")
    try:
        try:
            try:
                raise ValueError(f"cannot use {VALUES} {more}")
            except ValueError as error:
                raise RuntimeError("Authorization: Bearer eyJhbGciOiJub25lIn0.e30.AAAA") from error
        except RuntimeError:
            logging.getLogger("tests").exception("it failed with %s", VALUES, extra={"secret": VALUES[0]})
            assert tells(traceback.format_exc())
        (record,) = caplog.records

        # When it is logged in either form, Then none of them is in the lines
        for formatter in (JsonFormatter(), JsonFormatter(2000), PlainFormatter()):
            line = formatter.format(record)
            assert "RuntimeError" in line
            assert tells(line, *more, key, "eyJhbGciOiJub25lIn0") == []
    finally:
        logs._secrets = before


def test_the_tokens_of_tests_are_none_of_these() -> None:
    assert not {SECRET, ADMIN_TOKEN} & set(VALUES)
