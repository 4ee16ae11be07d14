"""Watching: the same thing shown again and again, in place on a terminal and line after line elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable

import click

#: To the upper left corner; to the end of the line, and of the screen; the whole screen; the cursor hidden, and shown.
_HOME, _REST_OF_LINE, _REST, _CLEAR = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[2J"
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"


def watch(look: Callable[[], str], interval: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show what `look` says every `interval` seconds, until Ctrl-C: that is how it is meant to end, and no failure."""
    moving = sys.stdout.isatty()
    context = click.get_current_context(silent=True)
    plain = context is not None and context.color is False
    # Past click, which takes what moves the cursor for colours.
    _write(_HIDE + _CLEAR if moving else "")
    try:
        while True:
            text = look()
            if moving:
                _write(_drawn(click.unstyle(text) if plain else text, interval))
            else:
                click.echo(text)
            sleep(interval)
    except KeyboardInterrupt:
        pass
    finally:
        _write(f"{_SHOW}\n" if moving else "")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _drawn(text: str, interval: float) -> str:
    """The screen, written over what stands there: to clear it first would flicker. What does not fit is left out: a
    terminal that scrolls could not be drawn over."""
    rows = shutil.get_terminal_size().lines
    lines = [f"Every {interval:g} s, at {time.strftime('%H:%M:%S')}; Ctrl-C ends it.", "", *text.split("\n")]
    if len(lines) > rows - 1:
        lines = [*lines[: rows - 2], "…"]
    return _HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in lines) + _REST
