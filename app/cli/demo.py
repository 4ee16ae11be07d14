"""`geo demo`: see it work on this machine."""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType

import click

from app.cli.common import fail, plainly, short
from app.cli.progress import Progress
from app.demo import image as images
from app.demo.registries import DemoError
from app.demo.stage import Stage, stage
from app.demo.token_service import PASSWORD, USERNAME
from app.embedded import EmbeddedValkeyError
from app.registry import NotFound, RegistryError
from app.units import size

REPOSITORY, TAG = "demo/hello", "latest"

#: Seconds that a push may take to arrive before the demonstration has failed.
ARRIVAL_TIMEOUT = 30.0


@click.command(short_help="See it work on this machine.")
@click.option("--once", is_flag=True, help="Show one push and end: exit 0 if it arrived byte for byte, else 1.")
@click.option("--port", default=8000, show_default=True, envvar="PORT", help="Where the web process listens.")
@plainly
def demo(once: bool, port: int) -> None:
    """Start two real registries on this machine, and watch an image travel from one to the other.

    Needs CNCF Distribution (Debian's docker-registry). Everything it makes is under var/demo; Ctrl-C leaves nothing
    running.

    \b
    Examples:
      geo demo
      geo demo --once

    Exit status: 0 it arrived byte for byte; 1 it did not, or something is missing here; 130 after Ctrl-C.
    """
    signal.signal(signal.SIGTERM, _terminated)
    try:
        click.echo("Starting two registries, a broker, web, worker and scheduler …")
        with stage(port) as running:
            equal = _show(running)
            if not once:
                _stay(running)
        click.echo("Everything has stopped.")
    except (DemoError, EmbeddedValkeyError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("stopped", 130)
    sys.exit(0 if equal else 1)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show(running: Stage) -> bool:
    """Push, watch it arrive, compare."""
    click.echo(f"  primary    {running.primary.url}   (pushes go here)")
    click.echo(f"  secondary  {running.secondary.url}")
    image = images.build()
    click.echo(f"\nPushing {REPOSITORY}:{TAG} to the primary: {len(image.manifests)} platforms, {size(image.size)} …")
    image.push(running.source, REPOSITORY, TAG)
    pushed = time.perf_counter()
    lag = _watch(running, image, pushed)
    click.echo(f"\nOn the secondary {click.style(f'{lag * 1000:.0f} ms', bold=True)} after the push was answered.\n")
    return _compare(running, image)


def _watch(running: Stage, image: images.DemoImage, pushed: float) -> float:
    """Show the blobs and manifests arriving; return the seconds until the tag was served."""
    waiting = set(image.blobs)
    total = len(image.blobs) + len(image.manifests) + 1
    arrived: list[float] = []

    def all_there() -> bool:
        if _digest(running, TAG) == image.index.digest:
            arrived.append(time.perf_counter())
            progress.show(total, total)
            return True
        waiting.difference_update([d for d in waiting if _has_blob(running, d)])
        there = sum(_digest(running, m.digest) is not None for m in image.manifests)
        progress.show(len(image.blobs) - len(waiting) + there, total)
        return False

    with Progress("blobs and manifests") as progress:
        running.wait(all_there, ARRIVAL_TIMEOUT, "the arrival on the secondary", interval=0.005)
    return arrived[0] - pushed


def _digest(running: Stage, reference: str) -> str | None:
    """What the reference stands on. Asked while it is being written Distribution may answer 500: not there yet."""
    try:
        return running.target.head_manifest(REPOSITORY, reference).digest
    except RegistryError as error:
        if isinstance(error, NotFound) or error.temporary:
            return None
        raise


def _has_blob(running: Stage, digest: str) -> bool:
    try:
        return running.target.head_blob(REPOSITORY, digest) is not None
    except RegistryError as error:
        if error.temporary:
            return False
        raise


def _compare(running: Stage, image: images.DemoImage) -> bool:
    """Fetch everything from the secondary and compare it byte for byte."""
    equal = True
    for manifest, name in [(image.index, "index"), *((m, "manifest") for m in image.manifests)]:
        same = running.target.get_manifest(REPOSITORY, manifest.digest).data == manifest.data
        equal &= _line(name, manifest.digest, len(manifest.data), same)
    for digest, data in image.blobs.items():
        with running.target.open_blob(REPOSITORY, digest) as stream:
            same = b"".join(stream) == data
        equal &= _line("blob", digest, len(data), same)
    return equal


def _line(kind: str, digest: str, length: int, same: bool) -> bool:
    verdict = click.style("equal", fg="green") if same else click.style("DIFFERENT", fg="red")
    click.echo(f"  {kind:9} {short(digest)}…  {size(length):>9}  {verdict}")
    return same


def _stay(running: Stage) -> None:
    """Tell what can be tried, and keep everything running until Ctrl-C."""
    credentials = f"{USERNAME}:{PASSWORD}"
    click.echo(f"\nDashboard  {running.url}/admin   token: {running.admin_token}")
    click.echo(f"Log        {running.log}")
    click.echo("\nPush an image of your own to the primary (docker-daemon:, oci: and dir: work as sources, too):\n")
    click.echo(
        f"  skopeo copy --all --dest-tls-verify=false --dest-creds {credentials} \\\n"
        f"    docker://docker.io/library/alpine docker://127.0.0.1:{running.primary.port}/my/image:v1"
    )
    click.echo("\nand see it on the secondary:\n")
    click.echo(
        f"  skopeo inspect --raw --tls-verify=false --creds {credentials} \\\n"
        f"    docker://127.0.0.1:{running.secondary.port}/my/image:v1"
    )
    click.echo("\nCtrl-C ends it.")
    try:
        while running.supervisor.poll():
            time.sleep(0.1)
    except KeyboardInterrupt:
        click.echo("\nStopping …")
