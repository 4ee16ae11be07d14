"""Asking for syncs and verifications over HTTP, of one repository and of many."""

from __future__ import annotations

import pytest

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState, VerificationState
from app.replication import remote_sites
from app.replication.remote_sites import Change, Declaration
from tests.api.asking import REPOSITORIES, Asking
from tests.support.face import SITE
from tests.support.seed import Seeded


def asked_for_sync() -> int:
    with connection():
        return int(Registry.select().where(Registry.full_sync_requested_at.is_null(False)).count())


def asked_for_verification() -> int:
    with connection():
        return int(Registry.select().where(Registry.verification_full).count())


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("all=true", 8),
        ("state=failed", 2),
        ("state=3", 2),
        ("state=synced&search=team-", 3),
        (f"site={SITE}", 8),
        (f"site={SITE}&all=false", 8),
        ("verification=0", 8),
        ("verification=failed", 0),
        ("search=nothing-like-it", 0),
    ],
)
def test_many_are_marked_and_their_number_told(asking: Asking, rows: Seeded, query: str, count: int) -> None:
    assert asking.post(f"{REPOSITORIES}/reverify?{query}") == {"count": count}
    assert asked_for_verification() == count
    assert asking.post(f"{REPOSITORIES}/resync?{query}") == {"count": count}
    assert asked_for_sync() == count
    assert sum(asking.face.wake.woken) == count


@pytest.mark.parametrize("what", ["resync", "reverify"])
@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 400, "all=true"),
        ("all=false", 400, "all=true"),
        ("state=", 400, "all=true"),
        ("all=true&state=failed", 400, "not both"),
        ("all=yes", 400, "true or false"),
        ("stat=failed", 400, "'stat' is not a parameter"),
        ("state=failed&sate=x", 400, "'sate'"),
        ("state=failed&state=synced", 400, "given 2 times"),
        ("state=broken", 400, "pending (0)"),
        ("verification=5", 400, "disabled (4)"),
        ("site=nowhere", 404, "geo_sites"),
        ("site=primary", 404, "geo_sites"),
    ],
)
def test_nothing_is_asked_for_by_mistake(
    asking: Asking, rows: Seeded, what: str, query: str, status: int, said: str
) -> None:
    assert said in asking.post(f"{REPOSITORIES}/{what}?{query}", status)["detail"]
    assert (asked_for_sync(), asked_for_verification()) == (0, 0)
    assert asking.face.wake.woken == []


@pytest.mark.parametrize("what", ["resync", "reverify"])
def test_a_site_with_a_deployment_of_its_own_is_to_be_asked_there(asking: Asking, rows: Seeded, what: str) -> None:
    remote_sites.apply([Change(None, Declaration("berlin"))])
    assert "deployment of its own" in asking.post(f"{REPOSITORIES}/{what}?site=berlin", 409)["detail"]
    # A list of what it has here is empty
    assert asking.get(f"{REPOSITORIES}?site=berlin") == []


@pytest.mark.parametrize("address", ["resync?all=true", "reverify?all=true", "1/resync", "1/reverify"])
def test_a_body_is_refused(asking: Asking, rows: Seeded, address: str) -> None:
    # Given somebody who narrows it in a body, which nobody would read
    response = asking.send("POST", f"{REPOSITORIES}/{address}", json={"site": "nowhere"})
    # Then nothing is done
    assert response.status_code == 415
    assert response.content_type == "application/problem+json"
    assert (asked_for_sync(), asked_for_verification()) == (0, 0)


def test_one_is_verified_as_far_as_is_asked(asking: Asking, rows: Seeded) -> None:
    shown = asking.post(f"{REPOSITORIES}/{rows.synced.id}/reverify?level=content")
    assert (shown["verification_state"], shown["path"]) == (VerificationState.PENDING, "library/nginx")
    row = asking.face.row(rows.synced.id)
    assert (row.verification_full, row.verification_requested_level) == (True, "content")
    asking.post(f"{REPOSITORIES}/{rows.synced.id}/reverify")
    assert asking.face.row(rows.synced.id).verification_requested_level == "blobs"


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("1/reverify?level=deep", 400),
        ("1/reverify?levle=tags", 400),
        ("1/resync?all=true", 400),
        ("reverify?all=true&level=", 400),
        ("resync?all=true&level=tags", 400),
        ("999999/reverify", 404),
        ("999999/resync", 404),
    ],
)
def test_what_cannot_be_asked_of_one(asking: Asking, rows: Seeded, address: str, status: int) -> None:
    asking.post(f"{REPOSITORIES}/{address}", status)
    assert (asked_for_sync(), asked_for_verification()) == (0, 0)


@pytest.mark.parametrize("address", ["resync?all=true", "reverify?all=true", "1/resync", "1/reverify"])
def test_asking_takes_the_token_and_a_post(asking: Asking, rows: Seeded, address: str) -> None:
    assert asking.face.client.post(f"{REPOSITORIES}/{address}").status_code == 401
    response = asking.send("GET", f"{REPOSITORIES}/{address}")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert asked_for_sync() == 0


def test_a_list_by_verification(asking: Asking, rows: Seeded) -> None:
    with connection():
        Registry.update(verification_state=VerificationState.FAILED).where(Registry.id == rows.synced.id).execute()
    found = asking.get(f"{REPOSITORIES}?verification=failed")
    assert [row["path"] for row in found] == ["library/nginx"]
    assert asking.get(f"{REPOSITORIES}?verification=3&state=failed") == []
    assert len(asking.get(f"{REPOSITORIES}?verification=pending&state=synced")) == 3
    assert found[0]["state"] == SyncState.SYNCED


@pytest.mark.parametrize(
    "query", ["verification=5", "verification=broken", "state=failed&state=synced", "site=a&site=b"]
)
def test_what_a_list_cannot_be_narrowed_by(asking: Asking, query: str) -> None:
    asking.get(f"{REPOSITORIES}?{query}", 400)


@pytest.mark.parametrize("site", ["nowhere", "primary"])
def test_a_list_of_a_site_that_is_none(asking: Asking, site: str) -> None:
    assert "geo_sites" in asking.get(f"{REPOSITORIES}?site={site}", 404)["detail"]
