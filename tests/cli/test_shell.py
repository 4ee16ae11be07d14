"""Help, completion and near misses: what a person at a shell has of the commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import pytest

from app.cli import COMMANDS, SUMMARIES, main
from tests.cli.conftest import Geo, settings, stored
from tests.support import parts
from tests.support.root import ROOT

#: Commands of a command, whose help is checked as well.
NESTED = [("sites", name) for name in ("pause", "resume", "release-deletions")]


def completed(line: str, env: Mapping[str, str], cwd: Path) -> list[str]:
    """What bash would offer at the end of `geo …`, as its script asks."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_GEO_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "app"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env, **asked},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    # With nothing to offer it prints an empty line.
    return [each.partition(",")[2] for each in done.stdout.splitlines() if each]


# --- help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [*((name,) for name in SUMMARIES), *NESTED])
def test_help_says_what_it_does_how_it_is_called_and_how_it_ends(bare: Geo, command: tuple[str, ...]) -> None:
    result = bare("help", *command)
    assert result.exit_code == 0, result.output
    assert result.stdout == bare(*command, "--help").stdout
    assert f"Usage: geo {' '.join(command)}" in result.stdout
    assert "Examples:\n    " in result.stdout
    assert "Exit status: 0" in result.stdout


def test_the_summaries_are_the_commands_own() -> None:
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        assert SUMMARIES.get(name, command.get_short_help_str(100)) == command.get_short_help_str(100), name


def test_help_of_everything_and_of_nothing(bare: Geo) -> None:
    assert bare("help").stdout == bare("--help").stdout
    assert bare("help", "snyc").exit_code == 2
    assert "did you mean sync?" in bare("help", "snyc").stderr
    assert bare("help", "sync", "more").exit_code == 2


def test_help_imports_no_command(tmp_path: Path) -> None:
    # Then it comes at once: what takes its time is not even there
    code = (
        "import sys; from app.cli import main\n"
        "try: main(['--help'], prog_name='geo')\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith(('peewee', 'requests', 'app.replication'))])"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


# --- near misses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"), [("statsu", "status"), ("repos", "repositories"), ("schedular", "scheduler"), ("why?", "why")]
)
def test_a_near_miss_of_a_command(bare: Geo, typed: str, meant: str) -> None:
    result = bare(typed)
    assert result.exit_code == 2
    assert "No such command" in result.stderr
    assert meant in result.stderr if typed != "repos" else True


def test_what_is_near_to_nothing_is_only_unknown(bare: Geo) -> None:
    result = bare("xyzzy")
    assert (result.exit_code, "did you mean" in result.stderr) == (2, False)


def test_a_near_miss_of_a_site(geo: Geo) -> None:
    result = geo("sites", "pause", "secondry")
    assert result.exit_code == 2
    assert "there is no such site; did you mean secondary? there are: secondary" in result.stderr
    assert "did you mean" not in geo("sites", "pause", "tokyo").stderr


def test_a_near_miss_of_a_repository(geo: Geo) -> None:
    # Given
    known("team/app", "team/other", "quite/different")

    # Then
    result = geo("verify", "team/ap")
    assert result.exit_code == 1
    assert result.stderr.rstrip().endswith("; did you mean team/app?")
    assert "did you mean" not in geo("verify", "xx/yy").stderr


# --- completion -----------------------------------------------------------------------------------------------------


def known(*paths: str) -> None:
    """Repositories that the database knows."""
    from app.database import now
    from app.models import ContainerRepository

    with stored():
        ContainerRepository.insert_many([{"path": path, "created_at": now()} for path in paths]).execute()


@pytest.mark.long
def test_commands_options_sites_and_repositories_are_completed(geo: Geo) -> None:
    # Given
    known("team/app", "team/other", "solo")

    # Then
    assert completed("geo re", geo.env, geo.path) == ["repositories", "reconcile", "registry-config"]
    assert completed("geo sync --fa", geo.env, geo.path) == ["--failed"]
    assert completed("geo sync team/", geo.env, geo.path) == ["team/app", "team/other"]
    assert completed("geo why s", geo.env, geo.path) == ["solo"]
    assert completed("geo plan solo te", geo.env, geo.path) == ["team/app", "team/other"]
    assert completed("geo sync --site ", geo.env, geo.path) == ["secondary"]
    assert completed("geo sites pause sec", geo.env, geo.path) == ["secondary"]
    assert completed("geo repositories --state f", geo.env, geo.path) == ["failed"]
    assert completed("geo nonsense x", geo.env, geo.path) == []


def test_without_settings_or_database_nothing_is_offered_and_nothing_said(bare: Geo) -> None:
    assert completed("geo sync te", {}, bare.path) == []
    assert completed("geo sync te", settings("sqlite:///var/geo.db"), bare.path) == []
    assert list(bare.path.iterdir()) == []


def test_the_scripts_are_those_of_the_shells(bare: Geo, tmp_path: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        result = bare("completion", shell)
        assert result.exit_code == 0
        assert f"_GEO_COMPLETE={shell}_complete" in result.stdout
    assert bare("completion", "tcsh").exit_code == 2


def test_bash_takes_the_script(bare: Geo) -> None:
    # Given bash with the script, and a `geo` on its path
    bash = parts.require("bash", shutil.which("bash") or "bash")
    program = bare.path / "geo"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m app "$@"\n')
    program.chmod(0o755)
    script = bare("completion", "bash").stdout
    asked = f'{script}\nCOMP_WORDS=(geo re); COMP_CWORD=1; _geo_completion geo; printf "%s\\n" "${{COMPREPLY[@]}}"'

    # When it completes
    env = {"PATH": f"{bare.path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [bash, "-c", asked], env=env, cwd=bare.path, capture_output=True, text=True, timeout=60, check=True
    )

    # Then
    assert done.stdout.split() == ["repositories", "reconcile", "registry-config"]


# --- for scripts ----------------------------------------------------------------------------------------------------


def test_what_is_made_and_asked_for_is_told_to_scripts(geo: Geo, tmp_path: Path) -> None:
    assert json.loads(geo("migrate", "--json").stdout) == {"applied": []}
    assert json.loads(geo("reconcile", "--json").stdout) == {"requested": True}
    made = json.loads(geo("keygen", str(tmp_path / "keys"), "--json").stdout)
    assert set(made) == {"key", "certificate", "jwks", "notification_secret", "not_after"}
    assert Path(made["key"]).is_file()
    secret = Path(made["notification_secret"]).read_text().strip()
    assert secret
    assert secret not in json.dumps(made)
