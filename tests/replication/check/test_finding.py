"""A finding says enough to act on, and each kind of it is explained to people."""

from __future__ import annotations

import re

import pytest

from app.replication.check.finding import Finding, Id, Severity, fine
from tests.support.root import ROOT


def test_every_finding_is_explained() -> None:
    # Given the table of findings
    text = (ROOT / "docs/troubleshooting.md").read_text()
    text = text.partition("\n## What `geo check` finds\n")[2].partition("\n## ")[0]

    # When its first column is read
    documented = re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)

    # Then each kind has one row, and there is no other
    assert sorted(documented) == sorted(each.value for each in Id if each is not Id.FINE)


def test_every_finding_has_its_place() -> None:
    # Given the code of the checks
    code = "".join(path.read_text() for path in (ROOT / "app/replication/check").glob("*.py"))

    # When it is searched, Then none is there for nothing
    assert [each for each in Id if f"Id.{each.name}" not in code] == []


@pytest.mark.parametrize("missing", ["title", "why", "fix"])
def test_a_trouble_without_a_cure(missing: str) -> None:
    texts = {"title": "a", "why": "b", "fix": "c", missing: ""}
    with pytest.raises(ValueError, match="registry-tls"):
        Finding(Id.REGISTRY_TLS, Severity.ERROR, "primary", **texts)


def test_what_is_in_order_is_no_trouble() -> None:
    assert fine("database", "migrated").severity is Severity.OK
    with pytest.raises(ValueError, match="fine"):
        Finding(Id.FINE, Severity.ERROR, "database", "a", "b", "c")
