from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from tests.cli.conftest import Geo
from tests.support.root import ROOT
from tests.support.terminal import Terminal
from tests.support.wait import wait_until


def test_status(geo: Geo) -> None:
    # For a person
    result = geo("status")
    assert result.exit_code == 0
    assert "SITE" in result.stdout
    assert "never ran" in result.stdout

    # For a script
    document = json.loads(geo("status", "--json").stdout)
    assert document["repositories"] == 0
    assert document["scheduler_seconds"] is None
    assert document["sites"][0]["name"] == "secondary"
    assert {"synced", "pending", "failed", "unread_events", "oldest_pending_seconds"} <= document["sites"][0].keys()


def test_a_site_shows_what_it_keeps_and_what_holds_it(geo: Geo) -> None:
    # Given a site with protected tags that has become a mirror
    env = {"GEO_PROTECTED_TAGS": "stable v1.*", "GEO_DELETION": "mirror"}
    assert geo("migrate", **env).exit_code == 0

    # Then both are told, and that nothing is deleted before a person has said so
    row = next(row for row in json.loads(geo("sites", "--json").stdout) if row["name"] == "secondary")
    assert row["protected_tags"] == ["stable", "v1.*"]
    assert "mirror" in row["deletions_held_because"]
    told = geo("sites").stdout
    assert "stable v1.*" in told
    assert "Nothing is deleted on secondary" in told

    # And once that was said it is told no more
    assert geo("sites", "release-deletions", "secondary").exit_code == 0
    assert "Nothing is deleted" not in geo("sites").stdout


def test_sites_are_paused_and_resumed(geo: Geo) -> None:
    def enabled() -> bool:
        rows = {row["name"]: row for row in json.loads(geo("sites", "--json").stdout)}
        return bool(rows["secondary"]["enabled"])

    assert geo("sites", "pause", "secondary").exit_code == 0
    assert not enabled()
    assert "paused" in geo("sites").stdout
    assert geo("sites", "resume", "secondary").exit_code == 0
    assert enabled()
    assert geo("sites", "release-deletions", "secondary").stdout.startswith("0 held deletions")


def test_status_is_watched_until_ctrl_c(geo: Geo) -> None:
    # Given a terminal, and none
    command = [sys.executable, "-m", "app", "status", "--watch", "0.1"]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80", **geo.env}
    with Terminal(command, env, geo.path) as terminal:
        # When it has been drawn a few times, and somebody has seen enough
        wait_until(lambda: terminal.text.count("\x1b[HEvery 0.1 s") >= 3, 60, lambda: terminal.text)
        terminal.press("\x03")

        # Then it ends well, and the terminal has its cursor
        assert terminal.wait(30) == 0, terminal.text
    assert terminal.text.count("\x1b[2J") == 1
    assert terminal.text.rstrip().endswith("\x1b[?25h")
    assert "Traceback" not in terminal.text
    assert "Aborted" not in terminal.text

    # And without a terminal each look is printed anew, for scripts a line each
    for arguments, told in ((["--json"], '{"'), ([], "0 repositories, 0 events in the log")):
        with subprocess.Popen(
            [*command, *arguments], env=env, cwd=geo.path, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            seen = 0
            for line in process.stdout:
                assert "\x1b" not in line
                seen += line.startswith(told)
                if seen == 2:
                    break
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            assert process.wait(30) == 0


def test_no_color_is_obeyed_on_a_terminal(geo: Geo) -> None:
    command = [sys.executable, "-m", "app", "status"]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80", **geo.env}
    for extra, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        with Terminal(command, {**env, **extra}, geo.path) as terminal:
            assert terminal.wait(60) == 0, terminal.text
        assert ("\x1b[" in terminal.text) is coloured, extra
