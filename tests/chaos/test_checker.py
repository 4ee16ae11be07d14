"""The judge finds what it is there to find: each fault is made by hand."""

from __future__ import annotations

import pytest

from tests.chaos.checker import Acknowledged, Checker, Lease, Row, Verdict
from tests.support import images
from tests.support.images import Image
from tests.support.registries import DistributionRegistry
from tests.support.wire import delete_digest, push

REPOSITORY = "team/app"


class Court:
    """Two registries that hold the same two tags, and a product that says so."""

    def __init__(self, primary: DistributionRegistry, secondary: DistributionRegistry) -> None:
        self.primary = primary
        self.secondary = secondary
        self.rows = [Row(REPOSITORY, 2)]
        self.leases: list[Lease] = []
        self.images = {"v1": images.index(), "v2": images.image()}
        self.acknowledged = []
        for tag, image in self.images.items():
            for registry in (primary, secondary):
                push(registry, REPOSITORY, tag, image)
            self.acknowledged.append(Acknowledged(REPOSITORY, tag, image.digest))
        self.checker = Checker(primary, secondary, lambda: self.rows, lambda: self.leases)

    def judge(self, **options: object) -> Verdict:
        return self.checker.judge(self.acknowledged, **options)  # type: ignore[arg-type]

    def push(self, tag: str, image: Image) -> None:
        """Push to the primary alone."""
        push(self.primary, REPOSITORY, tag, image)
        self.acknowledged.append(Acknowledged(REPOSITORY, tag, image.digest))


@pytest.fixture
def court(primary: DistributionRegistry, secondary: DistributionRegistry) -> Court:
    return Court(primary, secondary)


def test_what_is_equal_is_clean(court: Court) -> None:
    verdict = court.judge()
    assert verdict.clean, verdict
    verdict.raise_for_faults()
    assert (verdict.repositories, verdict.tags) == (1, 2)
    # The index, its two children and the other image, each with a configuration and its layers.
    assert verdict.manifests == 4
    assert verdict.blobs == sum(len(part.blobs) for image in court.images.values() for part in image.walk())


def test_a_tag_that_is_not_there_is_lost_and_its_row_lies(court: Court) -> None:
    court.push("v3", images.image())
    verdict = court.judge()
    assert [fault.where for fault in verdict.lost] == ["team/app:v3"]
    assert [fault.where for fault in verdict.wrongly_synced] == [REPOSITORY]
    with pytest.raises(AssertionError, match="lost: team/app:v3: manifest v3 is not on the secondary"):
        verdict.raise_for_faults()


def test_a_tag_that_moved_is_lost(court: Court) -> None:
    court.push("v1", images.image())
    assert [fault.where for fault in court.judge().lost] == ["team/app:v1"]


@pytest.mark.parametrize("damage", ["removed", "another's bytes"])
def test_a_blob_is_read_to_its_end(court: Court, damage: str) -> None:
    # Given a blob of a child that is not on the secondary any more, or is not what it is called
    path = court.secondary.blob_path(court.images["v1"].children[0].blobs[0].digest)
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(b"x" * path.stat().st_size)

    verdict = court.judge()
    assert [fault.where for fault in verdict.lost] == ["team/app:v1"]
    assert "blob sha256:" in verdict.lost[0].why
    assert len(verdict.wrongly_synced) == 1


def test_what_was_there_and_is_gone_was_wrongly_deleted(court: Court) -> None:
    # Given a tag that both have, and one that somebody pushed to the secondary alone
    foreign = images.image()
    push(court.secondary, REPOSITORY, "foreign", foreign)
    assert court.checker.note() == 3

    # When both vanish from the secondary
    delete_digest(court.secondary, REPOSITORY, court.images["v2"].digest)
    delete_digest(court.secondary, REPOSITORY, foreign.digest)

    # Then that is told, unless one of them was deleted on the primary
    verdict = court.judge(kept={(REPOSITORY, foreign.digest): foreign.digest})
    gone = {fault.where for fault in verdict.wrongly_deleted}
    assert gone == {"team/app:v2", "team/app:foreign", f"team/app@{foreign.digest}"}
    assert {fault.where for fault in verdict.lost} == {"team/app:v2"}
    delete_digest(court.primary, REPOSITORY, court.images["v2"].digest)
    verdict = court.judge(deleted=[(REPOSITORY, "v2"), (REPOSITORY, "foreign")])
    assert verdict.clean, verdict


def test_a_primary_that_lost_what_it_took_is_told(court: Court) -> None:
    delete_digest(court.primary, REPOSITORY, court.images["v2"].digest)
    assert [fault.where for fault in court.judge().lost] == ["team/app:v2"]


def test_rows_and_leases_that_are_stuck(court: Court) -> None:
    push(court.primary, "team/unknown", "v1", images.image())
    court.rows = [Row(REPOSITORY, 3, "it failed"), Row("team/gone", 0), Row("team/left", 0, in_scope=False)]
    court.leases = [Lease("team/app (lease)", "host:17", 3, expired=True)]
    stuck = {fault.where: fault.why for fault in court.judge().stuck}
    assert set(stuck) == {REPOSITORY, "team/gone", "team/unknown", "team/app (lease)"}
    assert stuck[REPOSITORY] == "its row is in state 3: it failed"
    assert court.judge().wrongly_synced == ()


@pytest.mark.long
def test_every_page_is_read(court: Court) -> None:
    # Given more repositories than a page of the catalog holds
    image = images.image([])
    for number in range(103):
        push(court.primary, f"many/app-{number}", "v1", image)
    assert court.judge().repositories == 104
