from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.database import connection
from app.models import ContainerRepository, Reference, SyncState, VerificationState
from app.models import ContainerRepositoryRegistry as Registry
from tests.admin.checked import Checked
from tests.support import images
from tests.support.face import Face, csrf, face
from tests.support.registries import DistributionRegistry
from tests.support.seed import Seeded, seed
from tests.support.wire import push


@pytest.fixture
def seeded(sqlite_pages: Face) -> Seeded:
    rows = seed(sqlite_pages.site)
    sqlite_pages.sign_in()
    return rows


def test_how_long_it_took_is_told_tag_by_tag(sqlite_pages: Face, seeded: Seeded) -> None:
    page = sqlite_pages.client.get(f"/admin/repositories/{seeded.synced.id}").text
    row = page.split("1.<wbr>0<wbr></a>")[1].split("</tr>")[0]
    assert 'data-label="Took" class="number">3.0 s<' in row
    assert 'data-label="Lag" class="number">2.4 s<' in row


def test_what_verification_found_missing_is_named(sqlite_pages: Face, seeded: Seeded) -> None:
    # Given a verification that found a tag broken, which no sync has put right
    with connection():
        missing = {
            "verification_state": VerificationState.FAILED,
            "verification_failure": "stable: a blob is not there",
        }
        Registry.update(**missing, verification_retry_count=1).where(Registry.id == seeded.failed.id).execute()
        Reference.update(verification_level="blobs", state=SyncState.PENDING).where(
            (Reference.registry == seeded.failed.id) & (Reference.name == "stable")
        ).execute()
    page = sqlite_pages.client.get(f"/admin/repositories/{seeded.failed.id}").text
    Checked(page)
    assert "What is missing" in page
    assert "stable: a blob is not there" in page
    assert "Found broken, and not put right yet" in page
    assert "1 tag not ours" in page


def test_reverify_marks_the_repository_as_far_as_asked(sqlite_pages: Face, seeded: Seeded) -> None:
    address = f"/admin/repositories/{seeded.synced.id}"
    form = {"csrf_token": csrf(sqlite_pages.client.get(address).text), "level": "tags"}
    response = sqlite_pages.client.post(f"{address}/reverify", data=form)
    assert response.status_code == 303
    row = sqlite_pages.row(seeded.synced.id)
    assert (row.verification_full, row.verification_requested_level) == (True, "tags")
    assert "Everything of library/nginx will be looked for" in sqlite_pages.client.get(address).text
    # And a level that there is not changes nothing
    assert sqlite_pages.client.post(f"{address}/reverify", data={**form, "level": "x"}).status_code == 400


def test_what_left_the_scope_is_not_asked_for(sqlite_pages: Face, seeded: Seeded) -> None:
    with connection():
        Registry.update(in_scope=False).where(Registry.id == seeded.synced.id).execute()
    page = sqlite_pages.client.get(f"/admin/repositories/{seeded.synced.id}").text
    assert "no longer replicates it" in page
    assert "Look at it again" not in page


def test_a_registry_that_cannot_be_reached_is_said_in_place_of_a_graph(sqlite_pages: Face, seeded: Seeded) -> None:
    page = sqlite_pages.client.get(f"/admin/repositories/{seeded.failed.id}/graph?reference=latest").text
    Checked(page)
    assert "It cannot be shown" in page
    assert "primary.example.com" in page


@pytest.fixture
def real_pages(tmp_path: Path, primary: DistributionRegistry, secondary: DistributionRegistry) -> Iterator[Face]:
    assert primary.token is not None
    env: dict[str, Any] = {
        "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": primary.url,
        "GEO_SECONDARY_REGISTRY_URL": secondary.url,
        "GEO_REGISTRY_KEY_PATH": str(primary.token.keys.key_path),
        "GEO_REGISTRY_CERTIFICATE_PATH": str(primary.token.keys.certificate_path),
        "GEO_REGISTRY_ISSUER": primary.token.issuer,
        "GEO_REGISTRY_SERVICE": primary.token.service,
    }
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state", **env) as started:
        yield started


def test_the_graph_of_a_tag_shows_what_the_secondary_lacks(
    real_pages: Face, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given an index of two images on the primary, of which the secondary has one
    there, lacking = images.image(), images.image(architecture="arm64")
    push(primary, "team/app", "v1", images.index([there, lacking]))
    push(secondary, "team/app", "part", there)
    with connection():
        created = real_pages.site.created_at
        repository = ContainerRepository.create(path="team/app", created_at=created)
        row = Registry.create(site=real_pages.site, container_repository=repository, created_at=created)
    real_pages.sign_in()
    # When its graph is looked at
    page = real_pages.client.get(f"/admin/repositories/{row.id}/graph?reference=v1").text
    Checked(page)
    # Then every part is there, and what the secondary lacks is marked
    for image in (there, lacking):
        assert image.digest in page
    assert "<b>index</b>" in page
    assert page.count("<b>manifest</b>") == 2
    assert '<span class="state failed">missing</span>' in page
    assert '<span class="state synced">there</span>' in page
    # And a tag that the primary does not have is said to be none
    assert "It cannot be shown" in real_pages.client.get(f"/admin/repositories/{row.id}/graph?reference=none").text
