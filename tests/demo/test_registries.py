from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app.demo.registries import DemoError, find_binary, require_free
from tests.support.ports import free_port


def test_ports_that_are_taken_are_named_all_at_once() -> None:
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        taken = {"primary": one.getsockname()[1], "secondary": free, "web": other.getsockname()[1]}
        with pytest.raises(DemoError) as caught:
            require_free(taken)
    assert f"{taken['primary']} (primary)" in str(caught.value)
    assert f"{taken['web']} (web)" in str(caught.value)
    assert str(free) not in str(caught.value)


def test_ports_that_are_free_are_left_so() -> None:
    ports = {"primary": free_port(), "web": free_port()}
    require_free(ports)
    require_free(ports)


def test_a_missing_registry_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("DOCKER_REGISTRY", raising=False)
    with pytest.raises(DemoError, match="docker-registry"):
        find_binary()


def test_a_registry_of_ones_own_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "my-registry"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("DOCKER_REGISTRY", str(program))
    assert find_binary() == str(program)
