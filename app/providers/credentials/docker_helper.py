"""A credential helper of Docker: a program `docker-credential-NAME` that keeps credentials and is asked for them.

Source: docker/docker-credential-helpers: the server's name on standard input, JSON on standard output.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from app.logging import clean
from app.registry import Credential, NoCredentials, Use

#: Seconds that a helper may take; some ask a cloud.
TIMEOUT = 20.0

#: The user name by which a helper says that the secret is an identity token.
TOKEN_USER = "<token>"  # noqa: S105 - a name

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

#: What a helper says when it has nothing for that server.
_NOT_FOUND = "credentials not found"

#: Of our environment, what is nobody else's business.
_OURS = re.compile(r"GEO_.*|DATABASE_URL|REDIS_URL|BROKER_URL")


class DockerHelper:
    """The helper called `name`, found on PATH. Never run through a shell, and ended with its children when it takes
    longer than `timeout` seconds."""

    def __init__(self, name: str, *, environ: Mapping[str, str] | None = None, timeout: float = TIMEOUT) -> None:
        self._name = name
        self._environ = os.environ if environ is None else environ
        self._timeout = timeout

    def get(self, server: str) -> Credential | None:
        """Ask for the credential of a server; None where the helper has none. Raises `NoCredentials`."""
        program = self._program()
        status, output = self._run(program, server)
        if status != 0:
            said = clean(" ".join(output.decode("utf-8", "replace").split()))[:200]
            if _NOT_FOUND in said.lower():
                return None
            raise NoCredentials(
                f"{program} failed with status {status}{f': {said}' if said else ''}",
                fix=f"try it by hand, as the user that geo-registry runs as: echo {server} | {program} get",
            )
        return self._read(program, output)

    def _program(self) -> str:
        if not _NAME.fullmatch(self._name):
            raise NoCredentials(
                f"{self._name[:50]!r} is no name of a credential helper",
                fix="in credsStore and credHelpers, write what follows `docker-credential-` in the program's name",
            )
        program = shutil.which(f"docker-credential-{self._name}", path=self._environ.get("PATH"))
        if program is None:
            raise NoCredentials(
                f"there is no program docker-credential-{self._name} on PATH",
                fix="install it, put its directory on the PATH of geo-registry, or take it out of credsStore and"
                " credHelpers and run `docker login` again",
            )
        return program

    def _run(self, program: str, server: str) -> tuple[int, bytes]:
        environ = {name: value for name, value in self._environ.items() if not _OURS.fullmatch(name)}
        try:
            process = subprocess.Popen(  # noqa: S603 - no shell, and a name that was checked
                [program, "get"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environ,
                # A group of its own: what it has started ends with it.
                start_new_session=True,
            )
        except OSError as error:
            raise NoCredentials(
                f"{program} cannot be run: {error.strerror}", fix="make it executable for geo-registry"
            ) from None
        with process:
            try:
                output, _ = process.communicate(server.encode(), timeout=self._timeout)
            except subprocess.TimeoutExpired:
                _end(process)
                raise NoCredentials(
                    f"{program} gave no answer within {self._timeout:g} s",
                    fix="it may wait for a person: use a helper that works without one, or `docker login` without it",
                ) from None
            except BaseException:
                _end(process)
                raise
        return process.returncode, output

    def _read(self, program: str, output: bytes) -> Credential:
        try:
            answer: dict[str, Any] = json.loads(output)
            username, secret = answer.get("Username"), answer.get("Secret")
        except (ValueError, AttributeError, RecursionError):
            username, secret = None, None
        if not isinstance(username, str) or not isinstance(secret, str) or not secret:
            # Not its words: they may be the secret.
            raise NoCredentials(
                f"what {program} answered is no JSON with Username and Secret",
                fix="it is no credential helper, or a newer kind; `docker login` without it keeps them in config.json",
            )
        return Credential("", secret, Use.REFRESH) if username == TOKEN_USER else Credential(username, secret)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # The pipes first: a child that has left the group may hold them for as long as it likes.
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.wait()
