"""The pages hang together, and what they name is there."""

from __future__ import annotations

import re

import click
import pytest

from app import models
from app.cli import main
from tests.docs.markdown import Page, pages
from tests.support.root import ROOT

PAGES = pages()

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@each_page
def test_links_lead_somewhere(page: Page) -> None:
    for link in page.links:
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page.name).parent / path if path else ROOT / page.name
        assert target.exists(), link
        if anchor:
            assert anchor in Page.read(str(target.resolve().relative_to(ROOT))).anchors, link


def test_the_readme_links_to_every_page() -> None:
    linked = {link.partition("#")[0] for link in Page.read("README.md").links}
    assert {page.name for page in PAGES} - {"README.md"} <= linked


@each_page
def test_commands_in_the_text_are_ours(page: Page) -> None:
    # Given the commands that the text names, and those in its blocks
    lines = [line.strip() for block in page.blocks if block.language == "sh" for line in block.text.splitlines()]
    named = [text for text in (*page.spans, *lines) if re.match(r"geo [a-z]", text)]

    # When they are looked up, Then each is there, with its options
    for text in named:
        assert unknown(text) is None, f"{page.name}: `{text}`: {unknown(text)}"


def unknown(text: str) -> str | None:
    """What of a command line `geo …` does not exist, or None."""
    command: click.Command = main
    context = click.Context(main)
    for word in re.split(r"\s[|>&#;]", text)[0].split()[1:]:
        if re.match(r"--?[a-z]", word):
            options = {one for each in command.params for one in (*each.opts, *each.secondary_opts)}
            if word.partition("=")[0] not in options | {"--help", "-h", "--version"}:
                return f"there is no option {word}"
        elif isinstance(command, click.Group):
            found = [command.get_command(context, name) for name in word.split("|")]
            if None in found or found[0] is None:
                return f"there is no command {word}"
            command = found[0]
    return None


def test_the_architecture_names_what_is_there() -> None:
    # Given the files and folders that the page names
    text = Page.read("docs/architecture.md").text
    named = set(re.findall(r"`((?:app|workers|migrations|deploy|tests)/[\w./]*)`", text))

    # Then they exist, and no part of the program is left out
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    folders = {f"app/{path.name}/" for path in (ROOT / "app").iterdir() if (path / "__init__.py").exists()}
    replication = ROOT / "app/replication"
    folders |= {f"app/replication/{path.name}/" for path in replication.iterdir() if (path / "__init__.py").exists()}
    assert sorted(folders - named) == []


def test_tables_of_the_database_are_in_the_architecture() -> None:
    text = Page.read("docs/architecture.md").text
    tables = [model._meta.table_name for model in models.MODELS]
    assert [table for table in tables if f"`{table}`" not in text] == []
