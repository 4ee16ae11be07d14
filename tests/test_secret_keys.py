from __future__ import annotations

import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from app.secret_keys import KEY_BYTES, KEY_FILE, secret_keys, shared_key
from app.settings import Settings
from tests.support.deployment import offline_environment


def test_processes_that_start_together_share_one_key(tmp_path: Path) -> None:
    # Given no key yet, and many that ask for it at once
    start, found = threading.Barrier(16), []

    def ask() -> None:
        start.wait()
        found.append(shared_key(tmp_path / "var"))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Then all have the same, only the owner can read it, and nothing else is left behind
    assert len(set(found)) == 1
    assert len(found) == 16
    assert len(found[0]) >= 2 * KEY_BYTES
    assert [path.name for path in (tmp_path / "var").iterdir()] == [KEY_FILE]
    assert stat.S_IMODE((tmp_path / "var" / KEY_FILE).stat().st_mode) == 0o600


def test_a_file_that_holds_no_key_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("")
    with pytest.raises(OSError, match="delete it"):
        shared_key(tmp_path)


def settings(tmp_path: Path, **env: str) -> Settings:
    found = Settings.from_env(offline_environment("sqlite:///unused.db", **env))
    return replace(found, state_directory=tmp_path / "var")


def test_the_environments_keys_come_before_the_file(tmp_path: Path) -> None:
    # Given several keys in the environment, Then they are the keys, in that order, and none is made
    assert secret_keys(settings(tmp_path, GEO_SECRET_KEY="new-key, old-key,")) == ("new-key", "old-key")
    assert not (tmp_path / "var").exists()

    # And without them there is the one that is kept
    assert secret_keys(settings(tmp_path)) == (shared_key(tmp_path / "var"),)


def test_where_none_can_be_kept_the_admin_token_gives_one(tmp_path: Path) -> None:
    # Given a state directory that cannot be made
    (tmp_path / "var").touch()

    # Then all who have the same admin token have the same key, which is not the token
    (ours,) = secret_keys(settings(tmp_path, GEO_ADMIN_TOKEN="t" * 20))
    assert secret_keys(settings(tmp_path, GEO_ADMIN_TOKEN="t" * 20)) == (ours,)
    assert "t" * 20 not in ours
    assert secret_keys(settings(tmp_path, GEO_ADMIN_TOKEN="u" * 20)) != (ours,)

    # And without one there is one for this process
    assert secret_keys(settings(tmp_path)) == secret_keys(settings(tmp_path)) != (ours,)
