"""Records the state that the migrations lead to: `python -m tests.migrations.record`, once for a release.

From then on that state is released: its migration is not changed any more, and a test sees to that.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from app import migrate
from app.replication.lease import owner
from tests.migrations.population import fill
from tests.migrations.states import DATA, PRIMARY, SECONDARY, Kind, dump, recording
from tests.support.deployment import Deployment, environment
from tests.support.postgres import Postgres
from tests.support.registries import DistributionRegistry


def main() -> int:
    DATA.mkdir(exist_ok=True)
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(Postgres())
        urls: dict[Kind, str] = {"sqlite": f"sqlite:///{path}/geo.db", "postgresql": server.create_database()}
        for kind, url in urls.items():
            print(record(kind, url, path / kind))  # noqa: T201
    return 0


def record(kind: Kind, url: str, path: Path) -> str:
    """Write the dump of one kind of database; say where, or why not."""
    with DistributionRegistry(path / "primary") as primary, DistributionRegistry(path / "secondary") as secondary:
        geo = Deployment.start(environment(primary, secondary, url))
        try:
            file = recording(migrate.applied()[-1], kind)
            if file.exists():
                return f"{file} was recorded before; a released state stays as it is"
            fill(geo, primary, secondary)
        finally:
            geo.close()
        # What is the machine's own is nobody's business.
        names = {
            primary.url: PRIMARY,
            secondary.url: SECONDARY,
            primary.host: PRIMARY.partition("//")[2],
            secondary.host: SECONDARY.partition("//")[2],
            owner(): "host.example.com:1",
        }
        text = dump(url)
        for ours, said in names.items():
            text = text.replace(ours, said)
        file.write_text(text)
        return str(file)


if __name__ == "__main__":
    sys.exit(main())
