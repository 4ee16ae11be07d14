"""Every command in the documentation is run, or says that it is not."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.markdown import MARK, Block, Page, pages
from tests.docs.scripts import CHECKOUT, ELSEWHERE, SCRIPTS, Script
from tests.support import parts
from tests.support.ports import DEMONSTRATION, free_port, listening
from tests.support.processes import clean_environment
from tests.support.root import ROOT

#: What a shell reads.
SHELL = frozenset({"sh", "bash", "shell", "console"})


def to_run(page: str) -> list[Block]:
    return [block for block in Page.read(page).blocks if block.language in SHELL and not block.marked]


@pytest.mark.parametrize(
    "script", [pytest.param(each, id=str(each), marks=[pytest.mark.long] * each.long) for each in SCRIPTS]
)
@pytest.mark.timeout(600)
def test_the_commands_of_a_page_work(script: Script, tmp_path: Path) -> None:
    # Given what the page expects
    with script.setting(tmp_path) as stage:
        # When its commands are given one after the other, Then each ends as the page says
        for block in to_run(script.page):
            stage.run(block)


@pytest.mark.long
@pytest.mark.parametrize("page", CHECKOUT)
@pytest.mark.timeout(900)
def test_the_commands_of_the_checkout_work(page: str, tmp_path: Path) -> None:
    # Given a page that speaks of the checkout, with the words that make its commands end soon
    if page == "README.md" and (taken := [port for port in DEMONSTRATION if listening(port)]):
        assert not parts.required_here()
        pytest.skip(f"somebody has the demonstration's ports: {taken}")
    words = {old: new.format(port=free_port(), scratch=tmp_path) for old, new in CHECKOUT[page].items()}
    for block in to_run(page):
        text = block.text
        for old, new in words.items():
            text = text.replace(old, new)

        # When its commands are given
        done = subprocess.run(
            ["bash", "-e", "-c", text],
            cwd=ROOT,
            env=clean_environment(CI=os.environ.get("CI", "")),
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )

        # Then
        assert done.returncode == 0, f"{block}\n{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_no_page_with_commands_is_left_out() -> None:
    # Given the pages that are run
    run = {script.page for script in SCRIPTS} | set(CHECKOUT) | set(ELSEWHERE)

    # When the others are read, Then they have no command that is not marked
    left = [str(block) for page in pages() if page.name not in run for block in to_run(page.name)]
    assert left == []
    assert [test for page, test in ELSEWHERE.items() if page not in (ROOT / test).read_text()] == []


def test_what_is_marked_stands_in_one_list() -> None:
    # Given everything that says of itself that it is not run
    marked = {(page.name, block.first) for page in pages() for block in page.blocks if block.marked}

    # When the list is read
    rows = re.findall(
        r"^\| \[[^\]]+\]\(([^)#]+)[^)]*\) \| `([^`]+)` \|", Page.read("docs/not-run.md").text, re.MULTILINE
    )
    listed = {(os.path.normpath(f"docs/{page}"), command) for page, command in rows}

    # Then both say the same
    assert listed == marked


def test_every_mark_belongs_to_a_block() -> None:
    for page in pages():
        if page.name != "docs/not-run.md":
            marks = sum(line.rstrip().endswith(MARK) for line in page.prose.splitlines())
            assert marks == sum(block.marked for block in page.blocks), page.name


def test_every_order_is_known() -> None:
    for page in pages():
        for block in page.blocks:
            assert set(block.orders) <= {"at", "background", "until", "exit"}, block
        assert page.text.count("<!-- run:") == sum(bool(block.orders) for block in page.blocks), page.name
