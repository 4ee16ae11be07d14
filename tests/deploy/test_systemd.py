"""deploy/systemd: units that systemd takes, that run our commands, and that may write to one directory."""

from __future__ import annotations

import configparser
import os
import subprocess
from pathlib import Path

import pytest

from app.cli import COMMANDS
from app.settings import STATE_DIRECTORY
from tests.deploy.facts import DOWN_WITHIN
from tests.support import parts
from tests.support.processes import clean_environment
from tests.support.root import ROOT

DIRECTORY = ROOT / "deploy/systemd"
SERVICES = sorted(DIRECTORY.glob("*.service"))
PROGRAM = "/opt/geo/bin/geo"

#: Points out of ten that systemd gives a service for what it could do: a service without any limit has 9.6.
EXPOSURE = 2.0


class Unit(configparser.RawConfigParser):
    """A unit file. A key that comes twice is an error here, which ours have no need for."""

    def __init__(self, path: Path) -> None:
        super().__init__(delimiters=("=",), comment_prefixes=("#",), interpolation=None)
        self.read_string(path.read_text())

    def optionxform(self, optionstr: str) -> str:
        return optionstr


each_service = pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)


def commands(unit: Unit) -> list[list[str]]:
    return [unit["Service"][key].split() for key in ("ExecStartPre", "ExecStart") if key in unit["Service"]]


@each_service
def test_it_runs_commands_of_ours(path: Path) -> None:
    run = commands(Unit(path))
    assert all(program == PROGRAM and command in COMMANDS for program, command in run)
    # The schema comes first, but where the command sees to it.
    wanted = path.stem.removeprefix("geo-").rstrip("@")
    assert [command for _, command in run] == (["up"] if wanted == "geo" else ["migrate", wanted])


@each_service
def test_it_is_nobody_and_writes_to_its_state_alone(path: Path) -> None:
    # Given
    service = Unit(path)["Service"]
    (user,) = [
        line.split()[1] for line in (DIRECTORY / "geo.sysusers.conf").read_text().splitlines() if line.startswith("u ")
    ]

    # Then
    assert service["User"] == service["Group"] == user
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    assert "ReadWritePaths" not in service
    # The state is kept below the working directory.
    assert not STATE_DIRECTORY.is_absolute()
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"


@each_service
def test_it_has_time_to_stop_and_never_gives_up(path: Path) -> None:
    unit = Unit(path)
    # Dramatiq's and our own leader tell their children; whoever is told twice drops what it does.
    assert unit["Service"]["KillMode"] == "mixed"
    assert int(unit["Service"]["TimeoutStopSec"]) >= DOWN_WITHIN + 5
    assert unit["Service"]["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"


def test_all_say_the_same_of_what_they_may() -> None:
    own = {"ExecStart", "ExecStartPre", "TimeoutStartSec"}
    said = [{key: value for key, value in Unit(path)["Service"].items() if key not in own} for path in SERVICES]
    assert len(SERVICES) == 4
    assert all(each == said[0] for each in said)


def test_the_target_has_all_of_them_or_the_one() -> None:
    target = Unit(DIRECTORY / "geo.target")
    assert target["Unit"]["Conflicts"] == "geo.service"
    for path in SERVICES:
        unit = Unit(path)
        if path.stem == "geo":
            assert unit["Unit"]["Conflicts"] == "geo.target"
        else:
            assert unit["Unit"]["PartOf"] == unit["Install"]["WantedBy"] == "geo.target"


def test_systemd_takes_them(tmp_path: Path) -> None:
    # Given the units with a program that is there
    analyze = parts.optional("systemd-analyze")
    for path in [*SERVICES, DIRECTORY / "geo.target"]:
        text = path.read_text().replace(PROGRAM, "/bin/true")
        (tmp_path / path.name.replace("@", "@1")).write_text(text)
    env = clean_environment(SYSTEMD_UNIT_PATH=f"{tmp_path}{os.pathsep}")
    units = sorted(map(str, tmp_path.iterdir()))

    # When systemd reads them, Then it has nothing to say: what it does not know it ignores, with a word
    done = subprocess.run(
        [analyze, "verify", "--man=no", *units], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")

    # And what they could do to the machine is little
    limit = f"--threshold={EXPOSURE * 10:.0f}"
    services = [unit for unit in units if unit.endswith(".service")]
    done = subprocess.run(
        [analyze, "security", "--offline=true", limit, "--no-pager", *services],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
