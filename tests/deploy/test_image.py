"""The image, built and run as far as that goes without a container engine: `tests/deploy/image.py`."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app import __version__
from tests.chaos.disk import Disk
from tests.deploy.image import NO_CAPABILITIES, Container, Image
from tests.deploy.test_kubernetes import DEPLOYMENTS, in_bytes, pod
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import environment
from tests.support.keys import TokenAuth
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.registries import RegistryFactory
from tests.support.running import endpoint
from tests.support.valkey import Valkey
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

#: Of deploy/Dockerfile.
USER = 10001

#: Bytes that deploy/kubernetes allows each process.
MEMORY = {
    container["name"]: in_bytes(container["resources"]["limits"]["memory"])
    for deployment in DEPLOYMENTS
    for container in pod(deployment)["containers"]
}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    with Disk(tmp_path_factory.mktemp("image") / "disk") as disk:
        yield Image(disk.path).build()


class Runner:
    """Runs commands in the image, one directory for the state of each."""

    def __init__(self, image: Image, path: Path, keys: TokenAuth) -> None:
        self.image = image
        self.path = path
        self.keys = path / "keys"
        self.keys.mkdir()
        for file in (keys.keys.key_path, keys.keys.certificate_path):
            shutil.copy(file, self.keys)
            os.chown(self.keys / file.name, USER, USER)
        self.env: dict[str, str] = {}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def between(self, registry_factory: RegistryFactory, auth: TokenAuth, database_url: str, **extra: str) -> None:
        """Make the registries, and the environment of what runs between them."""
        self.primary = registry_factory("primary", token=auth, notify=[endpoint(self.port, ignore=True)])
        self.secondary = registry_factory("secondary", token=auth)
        env = environment(self.primary, self.secondary, database_url, **extra)
        paths = {name: f"/mnt/{Path(value).name}" for name, value in env.items() if name.endswith("_PATH")}
        self.env = {**env, **paths, "PORT": str(self.port), "GEO_BIND": "127.0.0.1"}

    def data(self, name: str, owner: int = USER) -> Path:
        made = self.path / f"data-{name}"
        if not made.exists():
            made.mkdir(mode=0o750)
            os.chown(made, owner, owner)
        return made

    def run(self, *command: str, name: str = "", user: int = USER) -> Container:
        name = name or command[-1]
        return Container(
            self.image,
            command,
            data=self.data(name, user),
            keys=self.keys,
            log=self.path / f"{name}.log",
            env=self.env,
            user=f"{user}:{user}",
        )

    def said(self, *command: str) -> tuple[int, str]:
        """The exit status and the output of a command that ends by itself."""
        with self.run(*command, name=f"once-{time.monotonic_ns()}") as container:
            return container.wait(), container.log_text

    def arrives(self, tag: str, log: Container) -> None:
        push(self.primary, "team/app", tag, images.index([images.image(), images.image(architecture="arm64")]))
        wait_until(
            lambda: digest_of(self.secondary, "team/app", tag) == digest_of(self.primary, "team/app", tag),
            message=lambda: log.log_text[-4000:],
        )
        assert_same(self.primary, self.secondary, "team/app", tag)


@pytest.fixture
def runner(image: Image, tmp_path: Path, token_auth: TokenAuth) -> Runner:
    return Runner(image, tmp_path, token_auth)


def test_all_it_has_is_the_program_and_a_user(image: Image, runner: Runner) -> None:
    # Given the image, When it is asked
    assert runner.said("geo", "--version") == (0, f"geo-registry, version {__version__}\n")

    # Then everything that belongs to us is where it was installed, and the sources are not beside it
    found = {str(path.relative_to(image.layer)) for path in image.layer.rglob("*") if path.is_file()}
    ours = {path for path in found if path.startswith("opt/geo/")}
    assert any(path.endswith("site-packages/app/admin/templates/base.html") for path in ours)
    assert any(path.endswith("site-packages/migrations/0001_initial.py") for path in ours)
    assert not any(path.startswith("src/") for path in found)
    assert {path.partition("/")[0] for path in found - ours} <= {"etc", "var"}, sorted(found - ours)
    # And nothing in it can be changed by whom it runs as
    assert {path.lstat().st_uid for path in (image.layer / "opt/geo").rglob("*")} == {0}


def test_what_settings_may_ask_for_is_in_it(runner: Runner) -> None:
    # Given the libraries of all queues, databases, clouds and of tracing: nothing can be added to what is read-only
    libraries = "pika, psycopg, boto3, azure.identity, google.auth.transport.requests, opentelemetry.sdk.trace"

    # Then they are there
    assert runner.said("python", "-c", f"import {libraries}") == (0, "")


def test_nothing_but_the_data_and_the_temporary_directory_can_be_written(runner: Runner) -> None:
    for directory in ("/", "/etc", "/opt/geo", "/mnt", "/var/lib", "/usr"):
        status, said = runner.said("sh", "-c", f"echo x > {directory}/x")
        assert status != 0, directory
        assert "Read-only file system" in said or "Permission denied" in said
    assert runner.said("sh", "-c", "pwd; echo x > /data/x; echo x > /tmp/x; cat /data/x /tmp/x") == (0, "/data\nx\nx\n")


def test_a_user_that_nobody_knows_can_run_it(runner: Runner) -> None:
    # Given a number that stands in no list of users
    stranger = 47_110_815

    # When a command that writes is run as that one, Then it does what it does
    with runner.run("geo", "keygen", "keys", user=stranger) as container:
        assert container.wait() == 0, container.log_text
    assert {path.name for path in (runner.data("keys") / "keys").iterdir()} >= {"registry.key", "registry.crt"}


def test_all_of_it_runs_in_one(runner: Runner, registry_factory: RegistryFactory, token_auth: TokenAuth) -> None:
    # Given
    runner.between(registry_factory, token_auth, "sqlite:///var/geo.db", WORKER_PROCESSES="1")
    assert runner.said(*runner.image.final.healthcheck)[0] == 1

    # When it runs as it does where nothing is said
    with runner.run(*runner.image.final.command, name="up") as container:
        container.wait_for_http(f"{runner.url}/-/readiness")

        # Then it does so without any right
        assert runner.image.final.last("USER").text == f"{USER}:{USER}"
        assert set(container.status("Uid").split()) == set(container.status("Gid").split()) == {str(USER)}
        assert container.status("NSpid").split()[-1] == "1"
        assert container.status("NoNewPrivs") == "1"
        assert {container.status(name) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {NO_CAPABILITIES}

        # And images arrive, and its health is good
        runner.arrives("v1", container)
        assert runner.said(*runner.image.final.healthcheck)[0] == 0

        # And one SIGTERM to its first process ends all of it
        assert container.stop() == 0
    assert "Traceback" not in container.log_text

    # And its state is in the one directory, and goes on from there
    state = {path.name for path in (runner.data("up") / "var").iterdir()}
    assert {"geo.db", "valkey"} <= state
    with runner.run("geo", "up", name="up") as container:
        container.wait_for_http(f"{runner.url}/-/readiness")
        runner.arrives("v2", container)
        assert container.stop() == 0


def test_each_process_runs_alone(
    runner: Runner,
    registry_factory: RegistryFactory,
    token_auth: TokenAuth,
    postgres: Postgres,
    valkey: Valkey,
) -> None:
    # Given a database and a broker elsewhere
    runner.between(
        registry_factory,
        token_auth,
        postgres.create_database(),
        REDIS_URL=valkey.url,
        BROKER_URL=valkey.broker_url,
        GEO_SECRET_KEY="a-key-for-the-sessions-of-the-tests",
    )
    status, said = runner.said("geo", "migrate")
    assert status == 0, said

    # When each process has a container of its own
    with ExitStack() as stack:
        running = {name: stack.enter_context(runner.run("geo", name)) for name in MEMORY}
        running["web"].wait_for_http(f"{runner.url}/-/readiness")
        wait_until(
            lambda: "Worker process is ready" in running["worker"].log_text,
            60,
            lambda: running["worker"].log_text[-3000:],
        )

        # Then images arrive, within the memory that they are given
        for tag in ("v1", "v2", "v3"):
            runner.arrives(tag, running["worker"])
        used = {name: container.memory for name, container in running.items()}
        assert all(used[name] < MEMORY[name] * 0.6 for name in MEMORY), used

        # And each ends by one SIGTERM to its first process
        for name in ("worker", "scheduler", "web"):
            began = time.monotonic()
            assert running[name].stop() == 0, running[name].log_text[-3000:]
            assert time.monotonic() - began < 20
            assert "Traceback" not in running[name].log_text

    # And none has kept anything
    assert [path for path in runner.data("web").rglob("*") if path.is_file()] == []
    assert [path for path in runner.data("scheduler").rglob("*") if path.is_file()] == []
