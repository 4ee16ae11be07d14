"""The commands of docs/reliability.md: two minutes of everything, judged as the hour is, with more slack."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.chaos.figures import tell
from tests.docs.markdown import Page
from tests.soak.report import Report
from tests.support.root import ROOT

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


def test_two_minutes_of_everything_leave_nothing_behind(tmp_path: Path) -> None:
    # Given the commands of the page, with two minutes in place of the hour
    (block,) = [block for block in Page.read("docs/reliability.md").blocks if block.language == "sh"]
    commands = block.text.replace("--minutes 60", "--minutes 2").replace("--out build/soak", f"--out {tmp_path}")

    # When images are pushed, moved and deleted while things break, then it is quiet, and all is judged
    done = subprocess.run(
        ["bash", "-e", "-c", commands], cwd=ROOT, capture_output=True, text=True, timeout=1100, check=False
    )

    # Then both registries hold the same, nothing grows that need not, and what was to happen did
    tell(done.stdout)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    assert Report.read(tmp_path).good
    run = json.loads((tmp_path / "run.json").read_text())
    assert len(run["faults"]) >= 5
    assert run["done"]["pushes"] >= 60
    assert run["done"]["index"] > 0
    assert run["done"]["deletions"] > 0
    assert run["verdict"]["looked"]["tags"] >= 30
    assert (tmp_path / "soak.md").read_text().startswith("| what | figure |")
