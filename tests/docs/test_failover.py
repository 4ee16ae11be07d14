"""What docs/failover.md shows is what is printed: the story that it tells is lived through, between real registries."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

import pytest

from tests.docs.markdown import Block, Page
from tests.integration.conftest import DeploymentFactory
from tests.support import images
from tests.support.running import Running, notify
from tests.support.wait import wait_until
from tests.support.wire import delete_digest, digest_of, push

#: What the page calls the registries: the primary that is lost, and the one that takes over.
LOST, SUCCESSOR = "registry.london.example.com", "registry.berlin.example.com"

#: What it leaves out.
LEFT_OUT = "…"

#: What is told beside it: the log, and that a sync under way is waited for, which depends on the moment.
BESIDE = ("{", "geo: it is the primary; waiting ")

_DIGEST = re.compile(r"(?<=sha256:)[0-9a-f]{12}\b|(?<=rescued-)[0-9a-f]{12}\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?")


class Retold:
    """Text without what differs from run to run: times, and digests, which are numbered as they come."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._digests: dict[str, str] = {}

    def lines(self, text: str) -> list[str]:
        for name, address in self._addresses.items():
            text = text.replace(f"http://{address}", f"https://{name}").replace(address, name)
        text = _DIGEST.sub(lambda found: self._digests.setdefault(found[0], f"({len(self._digests)})"), text)
        text = _TIME.sub("(time)", text)
        # A digest has a number of another width, and with it its column.
        return [re.sub(r" {2,}", "  ", line).rstrip() for line in text.splitlines()]


class Story:
    """The page's blocks one after the other: what was printed is compared with each."""

    def __init__(self, geo: Running, printed: Retold) -> None:
        self._geo = geo
        self._shown, self._printed = Retold({}), printed
        self._blocks: Iterator[Block] = iter(
            block for block in Page.read("docs/failover.md").blocks if _is_output(block)
        )

    def next(self, *, status: int = 0) -> str:
        """Give the command of the next block; what was printed."""
        block = next(self._blocks)
        command, _, wanted = block.text.partition("\n")
        assert command.startswith("$ geo "), block
        said = self._geo.geo(*shlex.split(command)[2:], status=status)
        self._compare(block, wanted, said)
        return said

    def ended(self) -> bool:
        return next(self._blocks, None) is None

    def _compare(self, block: Block, wanted: str, said: str) -> None:
        said = "".join(line for line in said.splitlines(keepends=True) if not line.startswith(BESIDE))
        shown, found = self._shown.lines(wanted), self._printed.lines(said)
        if LEFT_OUT in shown:
            place = shown.index(LEFT_OUT)
            behind = len(shown) - place - 1
            assert len(found) >= place + behind, block
            found = [*found[:place], LEFT_OUT, *found[len(found) - behind :]]
        assert found == shown, block


def _is_output(block: Block) -> bool:
    return block.language == "text" and not block.text.startswith("GEO_")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_page_shows_what_is_printed(deploy: DeploymentFactory) -> None:
    # Given a deployment that has replicated four tags
    pair = deploy()
    lost, successor, geo = pair.primary, pair.secondary, pair.geo
    first = {tag: push(lost, "team/app", tag, images.image()) for tag in ("v1", "latest", "stable", "doomed")}
    for tag, digest in first.items():
        wait_until(lambda t=tag, d=digest: digest_of(successor, "team/app", t) == d, 60, lambda: geo.log_text[-4000:])  # type: ignore[misc]

    # And a primary that dies between two pushes: of one the event came, of the other not even that
    successor.pause()
    known = push(lost, "team/app", "latest", images.image())
    wait_until(lambda: known[:19] in geo.geo("events"), 30, lambda: geo.log_text[-4000:])
    geo.stop()
    push(lost, "team/app", "v2", images.image())
    lost.kill()
    successor.resume()

    # When the commands are given that the page gives, Then each prints what it shows
    story = Story(geo, Retold({LOST: lost.host, SUCCESSOR: successor.host}))
    story.next(status=1)
    steps = story.next()
    story.next(status=2)

    # When the new primary goes its own way, and the former one comes back
    now, _, later = steps.partition("\n5. ")
    geo.set_lines(line.strip() for line in now.splitlines())
    notify(successor, geo.port)
    with geo:
        stable = push(successor, "team/app", "stable", images.image())
        delete_digest(successor, "team/app", first["doomed"])
        wait_until(lambda: stable[:19] in geo.geo("events"), 30, lambda: geo.log_text[-4000:])
    notify(lost, None)
    geo.set_lines(line.strip() for line in later.splitlines())

    # Then the commands of its way back print what the page shows
    story.next(status=2)
    story.next()
    story.next()
    with geo:
        wait_until(
            lambda: (
                digest_of(lost, "team/app", "stable") == stable and '"state": 2' in geo.geo("repositories", "--json")
            ),
            60,
            lambda: geo.log_text[-4000:],
        )
        story.next()
    assert story.ended()
