from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Geo, settings
from tests.support import images
from tests.support.receivers import Receiver
from tests.support.registries import DistributionRegistry
from tests.support.root import ROOT
from tests.support.wait import wait_until
from tests.support.wire import push


@pytest.fixture
def keyed(bare: Geo) -> Geo:
    """With keys, and no database: these commands need none."""
    made = bare("keygen", "keys")
    assert made.exit_code == 0
    bare.env.update(settings("sqlite:///var/geo.db"))
    lines = [line.strip() for line in made.stdout.splitlines() if line.startswith("  GEO_")]
    bare.env.update(dict(line.split("=", 1) for line in lines))
    return bare


def test_keys_are_made_once(bare: Geo) -> None:
    # Given
    first = bare("keygen")
    assert first.exit_code == 0
    assert {path.suffix for path in (bare.path / "keys").iterdir()} >= {".key"}
    before = {path.name: path.read_bytes() for path in (bare.path / "keys").iterdir()}

    # When they are made again, then nothing is overwritten
    second = bare("keygen")
    assert second.exit_code == 1
    assert second.stderr.startswith("geo: ")
    assert {path.name: path.read_bytes() for path in (bare.path / "keys").iterdir()} == before

    # Unless that is asked for
    assert bare("keygen", "--overwrite").exit_code == 0
    assert {path.name: path.read_bytes() for path in (bare.path / "keys").iterdir()} != before


def test_a_directory_that_cannot_be_made_is_a_sentence(bare: Geo) -> None:
    (bare.path / "file").touch()
    result = bare("keygen", "file/keys")
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("geo: ")


def test_what_keygen_prints_is_the_environment(keyed: Geo) -> None:
    assert keyed("migrate").exit_code == 0
    assert len(keyed.env["GEO_NOTIFICATION_SECRET"]) >= 32


def test_a_token_needs_no_database(keyed: Geo) -> None:
    token = keyed("token", "team/app")
    assert token.exit_code == 0
    assert token.stdout.count(".") == 2
    header = keyed("token", "team/app", "--site", "secondary", "-a", "pull", "-a", "push", "--header")
    assert header.stdout.startswith("Authorization: Bearer ")
    assert not (keyed.path / "var").exists()


@pytest.mark.parametrize("arguments", [("Team/APP",), ("team/app", "-a", "explode"), ("team/app", "-a", "")])
def test_a_token_for_nothing_is_wrong_usage(keyed: Geo, arguments: tuple[str, ...]) -> None:
    result = keyed("token", *arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_registry_without_our_tokens_is_said_to_be_one(bare: Geo) -> None:
    bare.env.update(settings("sqlite:///var/geo.db"))
    result = bare("token", "team/app")
    assert result.exit_code == 1
    assert "GEO_PRIMARY_REGISTRY_AUTH" in result.stderr


def test_gitlabs_lines(keyed: Geo) -> None:
    result = keyed("registry-config", "primary", "--webhook", "https://geo.example.com/", "--gitlab")
    assert result.exit_code == 0
    assert "'https://geo.example.com/api/v4/container_registry_event/events'" in result.stdout
    assert keyed.env["GEO_NOTIFICATION_SECRET"] in result.stdout
    assert keyed("registry-config", "secondary", "--gitlab").exit_code == 0


@pytest.mark.parametrize("webhook", ["geo.example.com", "ftp://geo", "https://user:pw@geo.example.com", "http://"])
def test_an_address_that_no_registry_could_use(keyed: Geo, webhook: str) -> None:
    result = keyed("registry-config", "primary", "--webhook", webhook)
    assert result.exit_code == 2
    assert result.stdout == ""


@pytest.mark.parametrize("version", ["2.8", "3"])
def test_a_real_registry_takes_the_configuration(keyed: Geo, tmp_path: Path, version: str) -> None:
    # Given what is printed for the primary, with tokens
    with Receiver() as receiver:
        printed = keyed(
            "registry-config",
            "primary",
            "--webhook",
            receiver.url,
            "--realm",
            "http://127.0.0.1:1/token",
            "--certificate-path",
            keyed.env["GEO_REGISTRY_CERTIFICATE_PATH"],
        )
        assert printed.exit_code == 0, printed.output

        # When a registry runs with it
        registry = Configured(tmp_path / "registry", printed.stdout, version)
        with registry:
            token = keyed("token", "team/app", "-a", "pull", "-a", "push").stdout.strip()
            push(registry, "team/app", "v1", images.image(), token=token)

            # Then it takes our tokens, and tells of the push and of nothing else
            wait_until(lambda: receiver.received, message=lambda: registry.log_text)
            wait_until(lambda: registry.log_text)
        (one,) = receiver.received
        assert one.path == "/api/v4/container_registry_event/events"
        assert one.headers["authorization"] == keyed.env["GEO_NOTIFICATION_SECRET"]
        assert [event["target"].get("tag") for event in one.events] == ["v1"]


class Configured(DistributionRegistry):
    """A registry whose configuration is a minimal one with the printed sections below it."""

    def __init__(self, path: Path, printed: str, version: str) -> None:
        super().__init__(path, version=version)  # type: ignore[arg-type]
        self.printed = printed

    def _write_config(self) -> None:
        own = {
            "version": "0.1",
            "log": json.dumps({"level": "info"}),
            "storage": json.dumps({"filesystem": {"rootdirectory": str(self.storage)}}),
            "http": json.dumps({"addr": self.host}),
        }
        text = "\n".join(f"{name}: {value}" for name, value in own.items())
        (self.path / "config.yml").write_text(f"{text}\n{self.printed}")


def test_the_console(tmp_path: Path) -> None:
    # Given
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings(f"sqlite:///{tmp_path / 'geo.db'}")}

    def geo(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "app", *arguments],
            env=env,
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert geo("migrate").returncode == 0

    # When a line is given, or typed
    given = geo("console", "-c", "print(ContainerRepositoryRegistry.replication_enabled(), Event.select().count())")
    typed = geo(
        "console", stdin="ContainerRepositoryRegistry.replication_enabled()\nContainerRepositoryRegistry.first()\n"
    )

    # Then
    assert (given.returncode, given.stdout) == (0, "True 0\n")
    assert typed.returncode == 0
    assert "True" in typed.stdout
    assert "sync_repository" in typed.stderr

    # And a mistake in it is Python's to tell
    broken = geo("console", "-c", "1/0")
    assert broken.returncode == 1
    assert "ZeroDivisionError" in broken.stderr


def test_scripts_get_a_token_and_a_configuration_as_objects(keyed: Geo) -> None:
    minted = json.loads(keyed("token", "team/app", "-a", "pull", "-a", "push", "--json").stdout)
    assert (minted["repository"], minted["actions"]) == ("team/app", ["pull", "push"])
    assert minted["registry"] == "http://127.0.0.1:9"
    assert minted["header"] == f"Authorization: Bearer {minted['token']}"
    assert minted["token"].count(".") == 2
    for arguments, form in (((), "distribution"), (("--gitlab",), "gitlab")):
        command = ("registry-config", "secondary", *arguments)
        told = json.loads(keyed(*command, "--json").stdout)
        assert told == {"role": "secondary", "format": form, "config": keyed(*command).stdout}
