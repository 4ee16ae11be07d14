"""A place of its own: a network namespace behind a cable that can be cut."""

from __future__ import annotations

import os
import random
import subprocess

import pytest

from tests.support import parts
from tests.support.staged import Staged

#: What RFC 2544 sets aside for tests of network devices: nobody's real network.
_NETWORK = "198.18"


class Place(Staged):
    """`with Place() as place:`: processes started by `place.command` are elsewhere, at `place.address`.

    Those at home, at `place.home`, reach it and are reached through one cable. `cut` pulls it out without a word to
    either side: nothing is refused, packets just do not arrive. Needs root, or is a part that is missing.
    """

    def __init__(self) -> None:
        self.ip = parts.require("ip", "/usr/sbin/ip", "/sbin/ip")
        serial = random.SystemRandom().randrange(1 << 12)
        self.name = f"geochaos{serial:03x}"
        self.bridge = f"gcb{serial:03x}"
        self.cable = f"gcc{serial:03x}"
        #: Four addresses each.
        base = serial * 4
        network = f"{_NETWORK}.{base >> 8 & 255}"
        self.home = f"{network}.{(base & 255) + 1}"
        self.address = f"{network}.{(base & 255) + 2}"

    def command(self, *words: str) -> list[str]:
        """The words that run this command there."""
        return [self.ip, "netns", "exec", self.name, *words]

    def cut(self) -> None:
        self._run("link", "set", self.cable, "down")

    def heal(self) -> None:
        self._run("link", "set", self.cable, "up")

    def _start(self) -> None:
        if not self._possible("netns", "add", self.name):
            return
        self.stack.callback(self._run, "netns", "del", self.name)
        # A bridge, and not the end of the cable, has the address at home: it stays when the cable is out.
        if not self._possible("link", "add", self.bridge, "type", "bridge"):
            return
        self.stack.callback(self._run, "link", "del", self.bridge)
        self._run("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        self._run("link", "set", self.cable, "master", self.bridge, "up")
        self._run("addr", "add", f"{self.home}/30", "dev", self.bridge)
        self._run("link", "set", self.bridge, "up")
        self._run("-n", self.name, "addr", "add", f"{self.address}/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            self._run("-n", self.name, "link", "set", device, "up")

    def _possible(self, *words: str) -> bool:
        done = subprocess.run([self.ip, *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            missing(f"network namespaces ({done.stderr.strip()})")
        return done.returncode == 0

    def _run(self, *words: str) -> None:
        done = subprocess.run([self.ip, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def missing(what: str) -> None:
    """Skip the test for a person, fail it on the build machine: as `tests.support.parts` does for programs."""
    message = f"{what} cannot be had here (root, uid {os.geteuid()})"
    if parts.required_here():
        pytest.fail(f"{message}, and CI=true", pytrace=False)
    pytest.skip(message)
