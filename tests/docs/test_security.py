"""docs/security.md: each answer has a test, and each test that it names is there."""

from __future__ import annotations

import ast
import re

from tests.docs.markdown import Page
from tests.support.root import ROOT

PAGE = Page.read("docs/security.md")

_TEST = re.compile(r"(tests/[\w/]+\.py)::(test_\w+)")


def test_every_test_that_is_named_exists() -> None:
    # Given the tests that the page names
    named = {found.groups() for span in PAGE.spans if (found := _TEST.fullmatch(span))}
    assert len(named) > 100

    # When they are looked up, Then each is there
    assert sorted(f"{path}::{name}" for path, name in named if name not in _tests_of(path)) == []


def test_every_answer_has_a_test() -> None:
    # Given the tables whose last column is for tests
    tables = re.findall(r"(?m)^\|[^\n]*\| test \|\n\|[-| ]+\|\n((?:\|[^\n]*\n)+)", PAGE.text)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 60

    # Then each of their rows names one
    assert [row for row in rows if not _TEST.search(row.rpartition("| `")[2])] == []


def test_what_looks_like_a_test_is_named_whole() -> None:
    assert [span for span in PAGE.spans if "::" in span and not _TEST.fullmatch(span)] == []


def _tests_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text()) if (ROOT / path).exists() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
