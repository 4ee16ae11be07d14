from __future__ import annotations

import os
import shutil

import click
import pytest

from app.cli import text
from app.cli.text import number, paragraph, table


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of eighty columns."""
    monkeypatch.setattr(text, "screen", lambda: 80)


def shown(headings: tuple[str, ...], rows: list[tuple[object, ...]]) -> list[str]:
    return [click.unstyle(line) for line in "\n".join(table(headings, rows)).split("\n")]


def test_numbers() -> None:
    assert (number(1, "tag"), number(2, "tag"), text.repositories(1)) == ("1 tag", "2 tags", "1 repository")


def test_columns_are_aligned_and_a_row_is_a_line_where_no_terminal_is() -> None:
    rows: list[tuple[object, ...]] = [("team/app", None, "why " * 50), ("a", 7, "x")]
    lines = shown(("PATH", "N", "FAILURE"), rows)
    assert lines == [
        "PATH      N  FAILURE",
        f"team/app  -  {('why ' * 50).rstrip()}",
        "a         7  x",
    ]


def test_a_wide_table_is_wrapped_in_its_widest_column(terminal: None) -> None:
    rows: list[tuple[object, ...]] = [("team/app", "failed", "the registry said no, " * 6), ("team/b", "synced", None)]
    lines = shown(("PATH", "STATE", "FAILURE"), rows)
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].startswith("team/app  failed  the registry said no")
    assert lines[2].startswith(" " * 18 + "no, the registry")
    assert lines[-1] == "team/b    synced  -"


def test_columns_that_say_nothing_make_room(terminal: None) -> None:
    rows: list[tuple[object, ...]] = [(f"team/app-{n}", 0, None, "0 B", n + 1) for n in range(3)]
    lines = shown(("PATH", "A" * 30, "B" * 30, "C" * 30, "EQUAL"), rows)
    assert lines == ["PATH        EQUAL", "team/app-0  1", "team/app-1  2", "team/app-2  3"]


def test_what_does_not_fit_at_all_is_shown_in_blocks(terminal: None) -> None:
    headings = ("SITE", *(f"COLUMN {n}" for n in range(12)))
    lines = shown(headings, [("berlin", *range(12))])
    assert lines[0] == "berlin"
    # The first says nothing.
    assert lines[1:3] == ["  column 1   1", "  column 2   2"]
    assert len(lines) == 12


def test_sentences_are_broken_between_words_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "word " * 30
    assert paragraph(sentence, "  ") == f"  {sentence}"
    monkeypatch.setattr(text, "screen", lambda: 40)
    lines = paragraph(sentence, "  ").split("\n")
    assert all(len(line) <= 40 and line.startswith("  word") for line in lines)


def test_the_terminal_is_asked_how_wide_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever runs the tests may ask it meanwhile, in its own way.
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((132, 50)))
    assert text.screen() is None
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert text.screen() == 132


def test_what_a_terminal_would_obey_is_written_out(terminal: None) -> None:
    # Given a name that moves to the line above and writes another over it
    forged = "ci\x1b[1A\rdeploy\nroot\u202e"
    # Then it is seen, and its row is one
    written = "ci\\u001b[1A\\u000ddeploy\\u000aroot\\u202e"
    assert shown(("ID", "ACTOR"), [(1, forged)])[1:] == [f"1   {written}"]
    assert paragraph(forged) == written
