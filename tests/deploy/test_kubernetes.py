"""deploy/kubernetes: whole, of one mind with the program, and without any right that is not needed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.cli import COMMANDS
from tests.deploy.dockerfile import stages
from tests.deploy.facts import DOWN_WITHIN, accepted, known, probes, variables
from tests.support import parts
from tests.support.root import ROOT

DIRECTORY = ROOT / "deploy/kubernetes"
SETTINGS = DIRECTORY / "settings.env"
EXAMPLE = DIRECTORY / "secrets.example.yaml"
KUSTOMIZATION = yaml.safe_load((DIRECTORY / "kustomization.yaml").read_text())

IMAGE = stages()[-1]

Object = dict[str, Any]


def objects(path: Path) -> list[Object]:
    return list(yaml.safe_load_all(path.read_text()))


ALL = [each for name in KUSTOMIZATION["resources"] for each in objects(DIRECTORY / name)]
DEPLOYMENTS = [each for each in ALL if each["kind"] == "Deployment"]
SECRETS = {each["metadata"]["name"]: each["stringData"] for each in objects(EXAMPLE)}

each_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["metadata"]["name"])


def pod(deployment: Object) -> Object:
    found: Object = deployment["spec"]["template"]["spec"]
    return found


def containers(deployment: Object) -> Iterator[Object]:
    yield from pod(deployment)["initContainers"]
    yield from pod(deployment)["containers"]


def of_kind(kind: str) -> list[Object]:
    return [each for each in ALL if each["kind"] == kind]


def in_bytes(text: str) -> int:
    """A quantity, as far as ours go."""
    match = re.fullmatch(r"(\d+)(Mi|Gi)", text)
    assert match is not None, text
    return int(match[1]) << {"Mi": 20, "Gi": 30}[match[2]]


def test_every_file_is_applied_but_the_example() -> None:
    there = {path.name for path in DIRECTORY.glob("*.yaml")} - {"kustomization.yaml", EXAMPLE.name}
    assert set(KUSTOMIZATION["resources"]) == there
    assert {each["spec"]["template"]["spec"]["containers"][0]["args"][0] for each in DEPLOYMENTS} == {
        *("web", "worker", "scheduler"),
    }


def test_the_settings_and_secrets_are_ones_that_can_be_used(tmp_path: Path) -> None:
    # Given all variables that a process gets
    environ = {**variables(SETTINGS), **SECRETS["geo-secrets"]}
    assert set(variables(SETTINGS)) & set(SECRETS["geo-secrets"]) == set()

    # Then each is known, and together they are settings
    assert sorted(environ.keys() - known()) == []
    settings = accepted(environ, tmp_path)
    assert settings.redis_url is not None
    # What several web processes have to have in common
    assert settings.secret_keys
    # And nothing of it has a value that somebody might leave
    assert {value for value in SECRETS["geo-secrets"].values() if "CHANGE-ME" not in value} == set()
    assert set(SECRETS["geo-keys"].values()) == {"CHANGE-ME"}


@each_deployment
def test_nobody_has_a_right(deployment: Object) -> None:
    # Given what the image says of its user
    user, group = map(int, IMAGE.last("USER").text.split(":"))

    # Then the pod has that user, no token of the cluster, and no variables of its neighbours
    spec = pod(deployment)
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": group,
        "fsGroup": group,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["serviceAccountName"] == of_kind("ServiceAccount")[0]["metadata"]["name"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()

    # And no container has more
    for container in containers(deployment):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}


def test_the_namespace_takes_nothing_else() -> None:
    (namespace,) = of_kind("Namespace")
    assert namespace["metadata"]["name"] == KUSTOMIZATION["namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@each_deployment
def test_every_container_runs_a_command_of_ours(deployment: Object) -> None:
    named = {each["name"] for each in KUSTOMIZATION["images"]}
    for container in containers(deployment):
        assert container["image"] in named
        # The image's entry point stays, and each has a command of its own.
        assert "command" not in container
        assert set(container["args"]) <= COMMANDS.keys()

    # And the schema is brought up to date first
    assert [each["args"] for each in pod(deployment)["initContainers"]] == [["migrate"]]


@each_deployment
def test_what_is_mounted_and_named_is_there(deployment: Object) -> None:
    spec = pod(deployment)
    volumes = {each["name"]: each for each in spec["volumes"]}
    generated = {each["name"] for each in KUSTOMIZATION["configMapGenerator"]}
    for container in containers(deployment):
        # All that is read has been made, and the settings' paths are where something is mounted
        sources = [each for one in container["envFrom"] for each in one.items()]
        assert {value["name"] for kind, value in sources if kind == "configMapRef"} <= generated
        assert {value["name"] for kind, value in sources if kind == "secretRef"} <= SECRETS.keys()
        mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
        assert {each["name"] for each in mounts.values()} == volumes.keys()
        for name, value in variables(SETTINGS).items():
            if name.endswith("_PATH"):
                directory, _, file = value.rpartition("/")
                secret = volumes[mounts[directory]["name"]]["secret"]
                assert file in SECRETS[secret["secretName"]]
                # The group of the files is the pod's.
                assert secret["defaultMode"] == 0o440

        # And what can be written is what the image writes
        writable = {path for path, each in mounts.items() if not each.get("readOnly")}
        assert writable == {IMAGE.last("VOLUME").text, "/tmp"}
        assert all("emptyDir" in volumes[mounts[path]["name"]] for path in writable)


def test_the_spool_fits_into_its_volume(tmp_path: Path) -> None:
    # Given the worker, and its spool that lets a gigabyte of the disk free
    settings = accepted({**variables(SETTINGS), **SECRETS["geo-secrets"]}, tmp_path)
    (worker,) = [each for each in DEPLOYMENTS if each["metadata"]["name"] == "geo-worker"]
    (volume,) = [each for each in pod(worker)["volumes"] if each["name"] == "data"]
    (container,) = pod(worker)["containers"]

    # Then a pod whose spool is full is evicted neither for its volume nor for its disk
    assert settings.spool_limit + (2 << 30) <= in_bytes(volume["emptyDir"]["sizeLimit"])
    volumes = [in_bytes(each["emptyDir"]["sizeLimit"]) for each in pod(worker)["volumes"] if "emptyDir" in each]
    assert sum(volumes) <= in_bytes(container["resources"]["limits"]["ephemeral-storage"])


@each_deployment
def test_there_is_time_to_stop(deployment: Object) -> None:
    spec = pod(deployment)
    hooks = [each.get("lifecycle", {}) for each in spec["containers"]]
    asleep = sum(int(hook["preStop"]["exec"]["command"][1]) for hook in hooks if hook)
    assert spec["terminationGracePeriodSeconds"] >= DOWN_WITHIN + asleep + 5


def test_web_is_probed_where_it_answers() -> None:
    # Given
    (web,) = [each for each in DEPLOYMENTS if each["metadata"]["name"] == "geo-web"]
    (container,) = pod(web)["containers"]
    (port,) = container["ports"]
    (service,) = of_kind("Service")

    # Then the port is the one that it listens at, everywhere by its name
    assert str(port["containerPort"]) == variables(SETTINGS)["PORT"] == IMAGE.last("EXPOSE").text
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {each["port"] for each in asked.values()} == {port["name"]}
    assert [each["targetPort"] for each in service["spec"]["ports"]] == [port["name"]]

    # And the paths are probes; a database that is away never has web restarted
    assert {each["path"] for each in asked.values()} <= probes()
    assert {name: each["path"] for name, each in asked.items()} == {
        "startup": "/-/liveness",
        "liveness": "/-/liveness",
        "readiness": "/-/readiness",
    }


def test_what_selects_finds_what_it_is_for() -> None:
    pods = {each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"] for each in DEPLOYMENTS}

    def selected(labels: Object) -> set[str]:
        return {name for name, has in pods.items() if labels.items() <= has.items()}

    for each in DEPLOYMENTS:
        name = each["metadata"]["name"]
        assert selected(each["spec"]["selector"]["matchLabels"]) == {name}
        assert each["metadata"]["labels"] == pods[name]
        for spread in pod(each)["topologySpreadConstraints"]:
            assert selected(spread["labelSelector"]["matchLabels"]) == {name}
    for each in of_kind("PodDisruptionBudget"):
        assert selected(each["spec"]["selector"]["matchLabels"]) == {each["metadata"]["name"]}
    assert {each["metadata"]["name"] for each in of_kind("PodDisruptionBudget")} == pods.keys()
    assert selected(of_kind("Service")[0]["spec"]["selector"]) == {"geo-web"}


def test_nobody_is_reached_but_web() -> None:
    everybody, web = of_kind("NetworkPolicy")
    # All of them, and nothing is let in
    assert everybody["spec"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "geo-registry"}
    assert everybody["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in everybody["spec"]
    # But for the one port
    assert web["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "web"
    assert web["spec"]["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]
    # The addresses in the example are reached
    out = {each["port"] for rule in everybody["spec"]["egress"] for each in rule["ports"]}
    for name in ("DATABASE_URL", "REDIS_URL"):
        (port,) = re.findall(r":(\d+)/", SECRETS["geo-secrets"][name])
        assert int(port) in out


def test_kustomize_builds_it() -> None:
    # Given kubectl, which needs no cluster for that
    command = [parts.optional("kubectl"), "kustomize", str(DIRECTORY)]

    # When
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    # Then all of it is there, by the name of a real image and of the generated settings
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == len(ALL) + 1
    settings = next(each["metadata"]["name"] for each in built if each["kind"] == "ConfigMap")
    for deployment in (each for each in built if each["kind"] == "Deployment"):
        for container in containers(deployment):
            assert container["image"].startswith("registry.example.com/geo-registry:")
            assert container["envFrom"][0]["configMapRef"]["name"] == settings
