"""What all commands have in common: help, exit statuses, and errors as sentences."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import COMMANDS
from tests.cli.conftest import Geo, settings
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.root import ROOT

#: Commands that look at the database, with what they need.
READERS = [
    ("status",),
    ("status", "--json"),
    ("sites",),
    ("sites", "pause", "secondary"),
    ("repositories",),
    ("repositories", "--json"),
    ("events",),
    ("events", "--quarantined"),
    ("why", "team/app:v1"),
    ("why", "team/app:v1", "--json"),
    ("plan",),
    ("plan", "team/app", "--json"),
    ("reconcile",),
    ("sync", "team/app"),
    ("sync", "--all"),
    ("console", "-c", "print(Event.select().count())"),
]

#: Some of them, for what takes longer.
FEW = [("status", "--json"), ("sites", "pause", "secondary"), ("why", "team/app:v1"), ("sync", "--all"), READERS[-1]]

EVERY = sorted(COMMANDS)


def assert_sentence(text: str) -> None:
    assert text.startswith("geo: "), text
    assert "Traceback" not in text
    assert "LINE 1" not in text


def test_help_names_every_command_with_a_whole_sentence(bare: Geo) -> None:
    lines = bare("--help").stdout.partition("Commands:")[2].strip().splitlines()
    assert sorted(line.split()[0] for line in lines) == EVERY
    for line in lines:
        assert line.rstrip().endswith("."), line
        assert not line.rstrip().endswith("..."), line
    # What a newcomer needs comes first.
    assert lines[0].split()[0] == "up"
    assert bare("-h").exit_code == 0
    assert "geo-registry" in bare("--version").stdout


@pytest.mark.parametrize("command", [*((name,) for name in EVERY), *(("sites", n) for n in ("pause", "resume"))])
def test_every_command_explains_itself_without_settings(bare: Geo, command: tuple[str, ...]) -> None:
    result = bare(*command, "--help")
    assert result.exit_code == 0, result.output
    assert "Usage: geo" in result.stdout
    # Every option says what it is for.
    for line in result.stdout.partition("Options:")[2].splitlines():
        assert not (line.startswith("  -") and len(line.split("  ")) < 2), line


@pytest.mark.parametrize("command", [*READERS, ("up",), ("web",), ("worker",), ("scheduler",), ("migrate",)])
def test_missing_settings_are_all_named(bare: Geo, command: tuple[str, ...]) -> None:
    result = bare(*command)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert_sentence(result.stderr)
    for name in (
        "GEO_NOTIFICATION_SECRET",
        "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL",
        "GEO_SECONDARY_REGISTRY_URL",
    ):
        assert name in result.stderr
    assert list(bare.path.iterdir()) == []


@pytest.mark.parametrize("command", READERS)
def test_a_database_that_was_never_made_is_not_made_by_looking(bare: Geo, command: tuple[str, ...]) -> None:
    # Given a directory in which nothing has run
    bare.env.update(settings("sqlite:///var/geo.db"))

    # When
    result = bare(*command)

    # Then
    assert result.exit_code == 1
    assert_sentence(result.stderr)
    assert "geo migrate" in result.stderr
    assert str(bare.path) in result.stderr
    assert list(bare.path.iterdir()) == []


@pytest.mark.parametrize("command", FEW)
def test_an_unmigrated_database_is_said_to_be_one(bare: Geo, database_url: str, command: tuple[str, ...]) -> None:
    # Given
    bare.env.update(settings(database_url))
    if database_url.startswith("sqlite"):
        Path(database_url.removeprefix("sqlite:///")).touch()

    # Then
    result = bare(*command)
    assert result.exit_code == 1
    assert_sentence(result.stderr)
    assert "geo migrate" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [*FEW, ("migrate",), ("up",)])
def test_an_unreachable_database_is_said_to_be_one(bare: Geo, command: tuple[str, ...]) -> None:
    bare.env.update(settings(f"postgresql://geo:very-secret@127.0.0.1:{free_port()}/geo"))
    result = bare(*command)
    assert result.exit_code == 1
    sentence = result.stderr.splitlines()[-1]
    assert_sentence(sentence)
    assert "is it running" in sentence
    assert "very-secret" not in result.output


def test_a_password_that_is_refused_is_not_printed(bare: Geo, postgres: Postgres) -> None:
    bare.env.update(settings(f"postgresql://nobody:very-secret@127.0.0.1:{postgres.port}/nothing"))
    result = bare("status")
    assert result.exit_code == 1
    assert_sentence(result.stderr)
    assert "very-secret" not in result.output


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "sqlite:///"),
        ("sqlite:///", "sqlite:///"),
        ("mysql://localhost/geo", "postgresql://"),
        ("sqlite:////dev/null/geo.db", "DATABASE_URL"),
    ],
)
@pytest.mark.parametrize("command", ["migrate", "up"])
def test_a_database_that_cannot_be_is_a_mistake_in_the_settings(bare: Geo, command: str, url: str, said: str) -> None:
    bare.env.update(settings(url))
    result = bare(command)
    assert result.exit_code == 2, result.output
    assert_sentence(result.stderr)
    assert said in result.stderr


def test_patterns_that_match_nothing_are_a_mistake_in_the_settings(bare: Geo) -> None:
    bare.env.update(settings("sqlite:///var/geo.db"))
    result = bare("migrate", GEO_REPOSITORIES="team/* Team/APP")
    assert result.exit_code == 2
    assert_sentence(result.stderr)
    assert "GEO_REPOSITORIES" in result.stderr
    assert "Team/APP" in result.stderr


@pytest.mark.parametrize("command", ["migrate", "up"])
def test_one_registry_in_both_roles_is_refused(bare: Geo, command: str) -> None:
    bare.env.update(settings("sqlite:///var/geo.db"))
    result = bare(command, GEO_SECONDARY_REGISTRY_URL="http://127.0.0.1:9")
    assert result.exit_code == 2
    assert_sentence(result.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("status", "--no-such-option"),
        ("status", "extra"),
        ("why",),
        ("why", "registry.example.com:5000/team/app:v1"),
        ("why", "team/app:"),
        ("why", "team/app:v 1"),
        ("why", "team/app@sha256:short"),
        ("plan", "team/app", "--all"),
        ("plan", "team/app:v1"),
        ("plan", "Team/App"),
        ("plan", "--site", "nowhere"),
        ("sync",),
        ("sync", "team/app", "--all"),
        ("sync", "team/app", "--wait"),
        ("token",),
        ("registry-config",),
        ("registry-config", "tertiary"),
        ("registry-config", "primary"),
        ("events", "-n", "0"),
        ("events", "-n", "many"),
        ("repositories", "--state", "broken"),
        ("sites", "pause"),
        ("sites", "pause", "primary"),
        ("sites", "pause", "nowhere"),
        ("keygen", "--algorithm", "dsa", "keys"),
    ],
)
def test_wrong_usage_exits_2(bare: Geo, arguments: tuple[str, ...]) -> None:
    bare.env.update(settings(f"sqlite:///{bare.path / 'geo.db'}"))
    assert bare("migrate").exit_code == 0
    result = bare(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr


# --- as a program ------------------------------------------------------------------------------------------------


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings(f"sqlite:///{path / 'geo.db'}")}
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env=env,
        cwd=path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.long
def test_nothing_is_coloured_where_no_terminal_is(tmp_path: Path) -> None:
    assert run(tmp_path, "migrate").returncode == 0
    for arguments in (("status",), ("sites",), ("repositories",), ("why", "team/app")):
        done = run(tmp_path, *arguments)
        assert "\x1b" not in done.stdout + done.stderr


def test_a_terminal_gets_colour(tmp_path: Path) -> None:
    assert run(tmp_path, "migrate").returncode == 0
    ours, theirs = pty.openpty()
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
        **settings(f"sqlite:///{tmp_path / 'geo.db'}"),
    }
    with subprocess.Popen([sys.executable, "-m", "app", "sites"], env=env, cwd=tmp_path, stdout=theirs) as process:
        assert process.wait(60) == 0
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        assert b"\x1b[2m" in terminal.read(4096)


def test_a_reader_that_leaves_gets_no_traceback(tmp_path: Path) -> None:
    assert run(tmp_path, "migrate").returncode == 0
    reading, writing = os.pipe()
    os.close(reading)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings(f"sqlite:///{tmp_path / 'geo.db'}")}
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "app", "status"],
            env=env,
            cwd=tmp_path,
            stdout=pipe,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert b"Traceback" not in done.stderr
