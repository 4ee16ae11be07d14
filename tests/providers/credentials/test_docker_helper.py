"""Credential helpers: real programs in a directory of PATH."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from app.providers.credentials.docker_helper import DockerHelper
from app.registry import Credential, NoCredentials, Use
from tests.support.wait import wait_until


def helper(directory: Path, script: str, name: str = "tests", *, timeout: float = 20.0, **env: str) -> DockerHelper:
    """A helper that runs this shell script."""
    program = directory / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return DockerHelper(name, environ={"PATH": f"{directory}:/bin:/usr/bin", **env}, timeout=timeout)


def saying(username: str, secret: str) -> str:
    answer = json.dumps({"ServerURL": "https://r.example", "Username": username, "Secret": secret})
    return f"cat > /dev/null; echo '{answer}'"


def test_it_is_asked_for_the_server_and_answers(tmp_path: Path) -> None:
    # Given a helper that writes down what it is asked
    asked = tmp_path / "asked"
    ours = helper(tmp_path, f'echo "$@" > {asked}; cat >> {asked}; {saying("geo", "pa:ss")}')

    # When it is asked, Then that is the credential
    assert ours.get("r.example:5000") == Credential("geo", "pa:ss")
    assert asked.read_text() == "get\nr.example:5000"


def test_a_token_is_an_identity_token(tmp_path: Path) -> None:
    found = helper(tmp_path, saying("<token>", "refresh")).get("r.example")
    assert found == Credential("", "refresh", Use.REFRESH)


def test_it_may_have_none(tmp_path: Path) -> None:
    assert helper(tmp_path, "echo credentials not found in native keychain; exit 1").get("r.example") is None


def test_it_does_not_get_our_own_settings(tmp_path: Path) -> None:
    # Given settings of ours in the environment, and the cloud's
    answer = '{"Username": "u", "Secret": "%s-%s-%s"}'
    script = f'cat > /dev/null; printf \'{answer}\' "$GEO_ADMIN_TOKEN" "$REDIS_URL" "$AWS_PROFILE"'
    ours = helper(tmp_path, script, GEO_ADMIN_TOKEN="hidden", REDIS_URL="hidden", AWS_PROFILE="theirs")

    # Then only the latter are handed on
    assert ours.get("r.example") == Credential("u", "--theirs")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo the keychain is locked; exit 3", "status 3: the keychain is locked"),
        ("echo hidden-noise >&2; exit 1", "failed with status 1"),
        ("echo hidden-secret", "no JSON with Username and Secret"),
        ('echo \'{"Username": "u", "Secret": ""}\'', "no JSON with Username and Secret"),
        ("echo '[\"hidden\"]'", "no JSON with Username and Secret"),
    ],
)
def test_what_goes_wrong_is_told_with_what_to_do(tmp_path: Path, script: str, words: str) -> None:
    with pytest.raises(NoCredentials, match=words) as raised:
        helper(tmp_path, script).get("r.example")
    assert raised.value.fix
    assert "hidden" not in str(raised.value)


def test_one_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    # Given a helper that waits for a person, by a child that holds its pipes
    pids = tmp_path / "pids"
    ours = helper(tmp_path, f"echo $$ > {pids}; sleep 600 & echo $! >> {pids}; wait", timeout=0.5)

    # When it is asked
    started = time.monotonic()
    with pytest.raises(NoCredentials, match=r"no answer within 0\.5 s"):
        ours.get("r.example")

    # Then it is over in time, and nothing of it is left
    assert time.monotonic() - started < 10
    for pid in pids.read_text().split():
        wait_until(lambda pid=pid: not running(int(pid)))  # type: ignore[misc]


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_one_that_does_not_read_is_no_trouble(tmp_path: Path) -> None:
    ours = helper(tmp_path, 'echo \'{"Username": "u", "Secret": "s"}\'')
    assert ours.get("r" * 200_000) == Credential("u", "s")


@pytest.mark.parametrize("name", ["../../bin/sh", "a b", "", "x;y", "-x", "$(id)"])
def test_a_name_that_is_none_is_not_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoCredentials, match="is no name of a credential helper"):
        DockerHelper(name, environ={"PATH": str(tmp_path)}).get("r.example")


def test_one_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoCredentials, match="there is no program docker-credential-tests on PATH") as raised:
        DockerHelper("tests", environ={"PATH": str(tmp_path)}).get("r.example")
    assert "docker login" in raised.value.fix


def test_one_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    program = tmp_path / "docker-credential-tests"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    with pytest.raises(NoCredentials, match="cannot be run"):
        DockerHelper("tests", environ={"PATH": str(tmp_path)}).get("r.example")
