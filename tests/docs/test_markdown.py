"""How pages are read, and how their blocks become what is run here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.markdown import Page
from tests.docs.shell import Stage

PAGE = Page(
    "docs/example.md",
    """\
# An example

See [there](other.md#a-part), and `[not](a-link)`.

## Run `geo up` now

<!-- run: at=geo.example.com until -->
```sh
# a comment
geo status
```

- In a list, as it is. *Not run by us.*

  ```ini
  [Unit]
    Indented=yes
  ```

```text
## no heading
```
""",
)


def test_blocks_are_found() -> None:
    # When
    first, second, third = PAGE.blocks

    # Then
    assert (first.language, first.first, first.line) == ("sh", "geo status", 8)
    assert first.orders == {"at": "geo.example.com", "until": ""}
    assert not first.marked
    assert (second.text, second.marked) == ("[Unit]\n  Indented=yes\n", True)
    assert (third.marked, third.heading) == (False, "Run `geo up` now")


def test_links_spans_and_anchors_are_found() -> None:
    assert PAGE.links == ["other.md#a-part"]
    assert PAGE.spans == ["[not](a-link)", "geo up"]
    assert PAGE.anchors == {"an-example", "run-geo-up-now"}
    assert "geo status" in PAGE.section("Run `geo up` now")


@pytest.mark.parametrize(
    ("written", "run"),
    [
        ("https://primary.example.com:5050/v2/", "http://127.0.0.1:17001/v2/"),
        ("docker://primary.example.com:5050/a", "docker://127.0.0.1:17001/a"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:17002"),
        ("addr: :5050", "addr: 127.0.0.1:17003"),
        ("--webhook https://geo.example.com --x", "--webhook http://127.0.0.1:17004 --x"),
        ("cat /etc/a b/etc/c https://h/etc/d", "cat {here}/etc/a b/etc/c https://h/etc/d"),
        ("scp a host:/etc/a", "scp a host:/etc/a"),
    ],
)
def test_addresses_and_paths_are_made_local(tmp_path: Path, written: str, run: str) -> None:
    # Given a stage whose ports are known
    with Stage(tmp_path) as stage:
        stage.use_port("primary.example.com", 5050, 17001)
        stage.use_port("here", 8000, 17002)
        stage.use_port("here", 5050, 17003)
        stage.use_port("geo.example.com", 8000, 17004)

        # When, Then
        assert stage.localized(written, "here") == run.replace("{here}", str(stage.directory("here")))
