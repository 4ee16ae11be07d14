"""The OCI conformance suite as a source of content: it pushes to the primary, and the secondary is read.

https://github.com/opencontainers/distribution-spec/tree/main/conformance, the program of 2026. What it finds wrong with
the primary is no concern of ours: its content is, as far as the primary took it.
"""

from __future__ import annotations

import subprocess
from urllib.parse import urlsplit

from app.models import SyncState
from tests.interop.judging import judge
from tests.interop.kinds import build_of, version_in
from tests.interop.results import Result
from tests.interop.stage import Stage
from tests.support import parts
from tests.support.processes import clean_environment
from tests.support.wire import tags

REPOSITORIES = ("conformance/one", "conformance/two")

#: Seconds that the suite may take.
LIMIT = 180


def find() -> str | None:
    """Where the program is, as `go install` calls it."""
    return parts.find("conformance", "~/go/bin/conformance")


def version(program: str) -> str:
    """Which suite it is."""
    return version_in(build_of(program), "")


def replicated(stage: Stage, program: str) -> list[Result]:
    """Run the suite against the primary, with all deletion switched off, and compare what it left there."""
    host = urlsplit(stage.primary.url).netloc
    env = clean_environment(
        OCI_REGISTRY=host,
        OCI_TLS="disabled",
        OCI_VERSION="1.1",
        OCI_REPO1=REPOSITORIES[0],
        OCI_REPO2=REPOSITORIES[1],
        OCI_API_BLOBS_DELETE="false",
        OCI_API_MANIFESTS_DELETE="false",
        OCI_API_TAGS_DELETE="false",
        OCI_DATA_SPARSE="true",
        OCI_RESULTS_DIR=str(stage.path / "conformance"),
    )
    with (stage.path / "conformance.log").open("wb") as log:
        # It ends with 1 as soon as the primary fails anything.
        subprocess.run(
            [program], env=env, cwd=stage.path, stdout=log, stderr=subprocess.STDOUT, timeout=LIMIT, check=False
        )
    return [result for repository in REPOSITORIES for result in _read_back(stage, repository)]


def _read_back(stage: Stage, repository: str) -> list[Result]:
    """Every tag of the primary, and every manifest that a notification told of."""
    there = tags(stage.primary, repository)
    if not there and not stage.references(repository):
        return []
    stage.bring(repository, there)
    if stage.notified:
        stage.wait(lambda: all(each["state"] in _ENDED for each in stage.references(repository).values()))
    told = stage.references(repository)
    short = repository.rpartition("/")[2]
    return [judge(stage, f"{short}:{name[:20]}", repository, name, told.get(name)) for name in sorted({*there, *told})]


_ENDED = frozenset({SyncState.SYNCED, SyncState.FAILED})
