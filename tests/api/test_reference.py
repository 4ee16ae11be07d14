"""docs/api.md names every operation, and each has an example that works."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from app.api.openapi import document
from app.database import connection
from app.models import Reference
from app.replication import site_reports
from tests.api.stand import REMOTE, stand
from tests.support import parts
from tests.support.deployment import ADMIN_TOKEN, SECRET
from tests.support.keys import TokenAuth
from tests.support.processes import clean_environment
from tests.support.root import ROOT
from tests.support.seed import digest
from tests.support.site_report import REPORT

PAGE = ROOT / "docs/api.md"


def operations() -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}


def examples() -> list[str]:
    """The commands of all shell blocks, one each; a line that ends with a backslash, or in a quote, goes on."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [
        command.strip() for block in blocks for command in re.split(r"^(?=curl )", block, flags=re.MULTILINE) if command
    ]


def test_the_table_has_every_operation_with_its_summary() -> None:
    rows = re.findall(r"^\| ([A-Z]+) \| `([^`]+)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    told = {(method, path): summary for method, path, summary in rows}
    assert len(rows) == len(told)
    assert told == {
        (method.upper(), path): operation["summary"]
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }


@pytest.mark.timeout(300)
def test_every_example_works_and_each_operation_has_one(tmp_path: Path, token_auth: TokenAuth) -> None:
    parts.require("curl")
    # Given a deployment, and what the examples need
    with stand(tmp_path, token_auth) as running:
        with connection():
            verified = {"verified_digest": Reference.observed_digest}
            Reference.update(verified).where(Reference.name == "stable").execute()
        (tmp_path / "status.json").write_text(json.dumps(site_reports.dump(REPORT)))
        (tmp_path / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\nnoproxy = *\n")
        environment = clean_environment(
            CURL_HOME=str(tmp_path),
            GEO_URL=running.url,
            GEO_ADMIN_TOKEN=ADMIN_TOKEN,
            GEO_NOTIFICATION_SECRET=SECRET,
            GEO_SITE_NAME=REMOTE,
            GEO_SITE_TOKEN=running.site_token,
            DIGEST=digest("stable"),
        )
        # When each is run as it stands
        for example in examples():
            ran = subprocess.run(
                ["sh", "-c", example],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert ran.returncode == 0, f"{example}\n{ran.stdout}{ran.stderr}"
            assert ran.stdout
    # Then each did something, and nothing was left out
    assert running.answered.keys() == operations()
    assert all(status < 300 for statuses in running.answered.values() for status in statuses)
