"""deploy/Dockerfile: what it takes, and what it makes of it. `test_image.py` takes its steps."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import PurePosixPath

import pytest

from app.cli import COMMANDS
from app.settings import Settings
from tests.deploy.dockerfile import context, copied, is_sent, stages
from tests.deploy.facts import probes
from tests.support.deployment import offline_environment
from tests.support.root import ROOT

BUILD, FINAL = stages()


def test_what_it_copies_is_sent_and_nothing_else_is() -> None:
    # Given what the build copies of the checkout
    sources = [PurePosixPath(source) for each in BUILD.all("COPY") for source, _ in copied(each, PurePosixPath("/src"))]

    # Then all of that is there, and of all that is sent there is nothing that is not copied
    sent = context()
    for source in sources:
        assert [path for path in sent if path.is_relative_to(source)], source
    assert [path for path in sent if not any(path.is_relative_to(source) for source in sources)] == []


@pytest.mark.parametrize(
    "path",
    [
        *(".git/config", ".env", ".venv/bin/python", "var/geo.db", "tests/conftest.py"),
        *("deploy/.env", "deploy/keys/registry.key", "app/__pycache__/boot.cpython-311.pyc"),
    ],
)
def test_no_secret_and_no_history_is_sent(path: str) -> None:
    assert not is_sent(PurePosixPath(path))
    assert is_sent(PurePosixPath("app/admin/templates/base.html"))
    assert is_sent(PurePosixPath("deploy/build-requirements.txt"))


def test_nothing_is_installed_without_a_hash() -> None:
    # Given every line that installs something
    installing = [
        line
        for each in BUILD.all("RUN")
        for line in each.text.split("&&")
        if re.search(r"pip .*\b(install|wheel)\b", line)
    ]

    # Then it either checks hashes, or reaches for nothing
    assert len(installing) == 4
    for line in installing:
        assert "--require-hashes" in line or "--no-index" in line, line
    assert FINAL.all("ADD") == BUILD.all("ADD") == []

    # And the build's own lock is of what the project asks for
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert declared["build-system"]["requires"] == declared["dependency-groups"]["build"]
    assert re.search(r"^setuptools==\d", (ROOT / "deploy/build-requirements.txt").read_text(), re.MULTILINE)


def test_every_extra_is_installed() -> None:
    # Given what the project asks for, whatever the settings are
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {match[0] for one in asked if (match := re.match(r"[a-z0-9-]+", one))}
    assert {"boto3", "azure-identity", "google-auth", "psycopg", "opentelemetry-sdk"} <= names

    # Then what the image installs has all of it, and RabbitMQ's client, which an extra of Dramatiq's names
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert (names | {"pika"}) - locked == set()


def test_it_runs_as_a_number_in_the_directory_that_can_be_written() -> None:
    user, group = FINAL.last("USER").text.split(":")
    assert user.isdecimal()
    assert int(user) >= 10_000
    assert group.isdecimal()
    # The last that is said of it: nothing is done as somebody else afterwards.
    assert [each.word for each in FINAL.instructions][-6:] == [
        *("USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
    ]
    assert FINAL.last("WORKDIR").text == FINAL.last("VOLUME").text == "/data"


def test_its_commands_and_addresses_are_ours() -> None:
    # Given a deployment where nothing is said
    settings = Settings.from_env(offline_environment("sqlite:///geo.db"))

    # Then it runs a command that there is, in the form that gets signals
    for word in ("ENTRYPOINT", "CMD"):
        assert json.loads(FINAL.last(word).text)
    program, command = FINAL.command
    assert (program, command in COMMANDS) == ("geo", True)
    assert FINAL.last("STOPSIGNAL").text == "SIGTERM"

    # And its port and its probe are those of web
    assert FINAL.last("EXPOSE").text == str(settings.port)
    probe = FINAL.healthcheck[-1]
    assert f"or {settings.port}" in probe
    (path,) = re.findall(r"'GET', '([^']+)'", probe)
    assert path in probes()


def test_its_python_is_one_that_we_declare() -> None:
    (version,) = set(re.findall(r"^python:(\d\.\d+)-slim-bookworm$", f"{BUILD.base}\n{FINAL.base}", re.MULTILINE))
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert BUILD.base == FINAL.base
    assert f"Programming Language :: Python :: {version}" in declared["classifiers"]
