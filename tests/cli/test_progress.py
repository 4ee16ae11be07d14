from __future__ import annotations

import io
import os
import shutil

import pytest

from app.cli.progress import BYTES, QUIET_INTERVAL, Progress
from tests.support.clock import Clock

MIB = 1024 * 1024


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((120, 24)))


def last(out: io.StringIO) -> str:
    return out.getvalue().rpartition("\x1b[2K")[2]


def test_bytes_are_shown_with_speed_and_remaining_time(wide: None) -> None:
    # Given a bar that has been moving for two seconds
    out, clock = Terminal(), Clock(100.0)
    with Progress(BYTES, out, clock) as bar:
        bar.show(0, 100 * MIB)
        assert last(out) == f"[{'·' * 24}] 0 B of 100.0 MiB"
        clock.now += 2
        bar.show(25 * MIB, 100 * MIB, "3 tags to go")

        # Then
        assert last(out) == f"[{'█' * 6}{'·' * 18}] 25.0 MiB of 100.0 MiB 12.5 MiB/s, 6.0 s left, 3 tags to go"

        # And at its end there is nothing left to say
        clock.now += 6
        bar.show(100 * MIB, 100 * MIB)
        assert last(out) == f"[{'█' * 24}] 100.0 MiB of 100.0 MiB"
    assert out.getvalue().endswith("\n")


def test_the_speed_is_that_of_the_last_while(wide: None) -> None:
    # Given a fast beginning long ago
    out, clock = Terminal(), Clock(100.0)
    bar = Progress("repositories", out, clock)
    bar.show(0, 1000)
    clock.now += 1
    bar.show(500, 1000)

    # When it has been slow since
    for done in range(501, 531):
        clock.now += 1
        bar.show(done, 1000)

    # Then it is told as slow
    assert "530/1000 repositories 1.0/s, 8 min left" in last(out)

    # And when it is counted anew, nothing is told of a speed
    bar.show(10, 1000)
    assert last(out).endswith("10/1000 repositories")


def test_a_line_never_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((40, 24)))
    out = Terminal()
    Progress("repositories", out, Clock(100.0)).show(1, 2, "a note " * 20)
    assert len(last(out)) == 39


def test_without_a_terminal_there_is_a_line_now_and_then() -> None:
    # Given
    out, clock = io.StringIO(), Clock(100.0)
    with Progress("repositories", out, clock) as bar:
        assert not bar.shown
        # When it moves often
        for done in range(100):
            bar.show(done, 100)
            clock.now += QUIET_INTERVAL / 10
        bar.show(100, 100)

    # Then it is told seldom, and at the end
    lines = out.getvalue().splitlines()
    assert len(lines) == 11
    assert "\x1b" not in out.getvalue()
    assert lines[-1].endswith("100/100 repositories")


def test_nothing_to_do_is_done(wide: None) -> None:
    out = Terminal()
    Progress("tags", out, Clock(100.0)).show(0, 0)
    assert last(out) == f"[{'█' * 24}] 0/0 tags"
