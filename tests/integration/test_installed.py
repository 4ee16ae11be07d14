"""The wheel, installed into a fresh environment and run in a directory that has nothing to do with the checkout."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from app import __version__
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import environment
from tests.support.keys import TokenAuth
from tests.support.parts import required_here
from tests.support.ports import free_port
from tests.support.processes import clean_environment
from tests.support.registries import RegistryFactory
from tests.support.root import ROOT
from tests.support.running import Running, endpoint, processes_of
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

#: A wheel is built and installed for all of them.
pytestmark = pytest.mark.long

#: What a distribution is built from.
SOURCES = ("app", "workers", "migrations", "pyproject.toml", "README.md")


def build_wheel(directory: Path) -> Path:
    """Build the wheel from a copy: building leaves its traces in the tree."""
    tree = directory / "tree"
    tree.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(directory), str(tree)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 and not required_here():
        # pip fetches the build backend.
        pytest.skip(f"no wheel can be built here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    (wheel,) = directory.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bin_directory(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel in it, and the locked dependencies beside it."""
    directory = tmp_path_factory.mktemp("installed")
    home = directory / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    python = str(home / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel)], check=True)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    # A path file in it would put the checkout there, too; those of a directory named by one are not read.
    Path(packages, "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_the_wheel_has_all_that_is_not_a_test(wheel: Path) -> None:
    # Given everything below the packages
    wanted = {
        path.relative_to(ROOT).as_posix()
        for name in SOURCES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"app/py.typed", "app/admin/templates/base.html", "app/admin/static/style.css"} <= wanted

    # Then the wheel has it, and nothing beside it but what it says of itself
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert "geo = app.cli:main" in archive.read(next(each for each in names if "entry_points" in each)).decode()
    assert sorted(wanted - names) == []
    assert sorted(name for name in names - wanted if ".dist-info/" not in name) == []
    # One wheel for all machines
    assert wheel.name == f"geo_registry-{__version__}-py3-none-any.whl"


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    # Given what it says, and what the project declares
    said = metadata(wheel)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    # Then both are of one mind, and the program too
    assert said["Name"] == "geo-registry"
    assert said["Version"] == __version__
    assert said["Summary"] == declared["description"]
    assert set(said.get_all("Provides-Extra", [])) == declared["optional-dependencies"].keys()
    assert said.get_payload() == (ROOT / "README.md").read_text()

    # And every version of Python is declared from the oldest that is taken on
    minors = sorted(
        int(text) for text in re.findall(r"Python :: 3\.(\d+)$", "\n".join(said.get_all("Classifier", [])), re.M)
    )
    oldest = re.fullmatch(r">=3\.(\d+)", said["Requires-Python"])
    assert oldest is not None
    assert minors == list(range(int(oldest[1]), minors[-1] + 1))
    assert sys.version_info.minor in minors


def test_every_extra_that_the_program_speaks_of_is_declared(wheel: Path) -> None:
    # Given the extras, and what pages and messages tell people to install
    extras = set(metadata(wheel).get_all("Provides-Extra", []))
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", *(ROOT / "app").rglob("*.py")]
    spoken = {
        name
        for page in pages
        for found in re.findall(r"(?:\.|geo-registry)\[([a-z0-9,]+)\]", page.read_text())
        for name in found.split(",")
    }

    # Then each is one
    assert spoken
    assert sorted(spoken - extras) == []


def test_the_program_tells_its_version(bin_directory: Path, tmp_path: Path) -> None:
    for command in ([bin_directory / "geo"], [bin_directory / "python", "-m", "app"]):
        done = subprocess.run(
            [*map(str, command), "--version"],
            env=clean_environment(),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"geo-registry, version {__version__}\n"


def test_it_runs_installed_beside_modules_of_the_same_names(
    bin_directory: Path, tmp_path: Path, registry_factory: RegistryFactory, token_auth: TokenAuth
) -> None:
    # Given an empty directory but for modules that are called like ours
    home = tmp_path / "home"
    home.mkdir()
    for name in ("app", "workers", "migrations"):
        (home / name).mkdir()
        (home / name / "__init__.py").write_text("raise RuntimeError('this is another project')\n")
    port = free_port()
    primary = registry_factory("primary", token=token_auth, notify=[endpoint(port, ignore=True)])
    secondary = registry_factory("secondary", token=token_auth)
    env = environment(primary, secondary, f"sqlite:///{home}/var/geo.db")
    running = Running(home, env, port, [str(bin_directory / "geo")])
    del running.env["PYTHONPATH"]

    # When `geo up` runs in it, and an image is pushed
    with running:
        push(primary, "team/app", "v1", images.index([images.image(), images.image(architecture="arm64")]))

        # Then it arrives
        wait_until(
            lambda: digest_of(secondary, "team/app", "v1") == digest_of(primary, "team/app", "v1"),
            message=lambda: running.log_text[-4000:],
        )
        assert_same(primary, secondary, "team/app", "v1")

        # And the pages, the probes and every kind of command work
        assert running.get("/-/readiness").status_code == 200
        assert "stylesheet" in running.get("/admin/sign-in").text
        assert '"synced": 1' in running.geo("status", "--json")
        running.geo("console", "-c", "sync_repository.send(ContainerRepositoryRegistry.first().id)")
        assert "another project" not in running.log_text

        # And when it is told to end, nothing is left
        assert running.stop() == 0
    assert processes_of(home) == []


@pytest.mark.parametrize("module", ["app", "workers", "migrations"])
def test_what_runs_is_what_is_installed(bin_directory: Path, tmp_path: Path, module: str) -> None:
    code = f"import {module}; print({module}.__file__)"
    env = clean_environment(
        GEO_NOTIFICATION_SECRET="secret",
        GEO_REGISTRY_REPLICATION_PRIMARY_API_URL="http://127.0.0.1:9",
        GEO_SECONDARY_REGISTRY_URL="http://127.0.0.1:10",
    )
    done = subprocess.run(
        [str(bin_directory / "python"), "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert str(bin_directory.parent) in done.stdout
