"""How long a push takes to arrive, beside `skopeo copy` of the same image: `make bench`.

Real Distribution 2.8 registries with token authentication on loopback, `geo up` between two of them, and a third as
skopeo's destination so that it finds nothing there to reuse. Every image is new.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.support import images
from tests.support.deployment import environment
from tests.support.keys import TokenAuth, make_rsa
from tests.support.registries import DistributionRegistry
from tests.support.running import Running, endpoint, free_port
from tests.support.skopeo import skopeo_copy
from tests.support.wire import digest_of, push

#: Seconds between two looks at the secondary; the error of a measurement is at most this and one request.
POLL = 0.001


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pushes", type=int, default=20)
    arguments.add_argument("--layers", type=int, default=3)
    arguments.add_argument("--layer-size", type=int, default=100_000, help="bytes of each layer")
    arguments.add_argument("--platforms", type=int, default=2)
    options = arguments.parse_args()
    lags, copies = [], []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder)
        token = TokenAuth(make_rsa(path, "key"), "geo-registry", "container_registry", "http://127.0.0.1:9/token")
        port = free_port()
        primary = stack.enter_context(
            DistributionRegistry(path / "primary", token=token, notify=[endpoint(port, ignore=True)])
        )
        secondary = stack.enter_context(DistributionRegistry(path / "secondary", token=token))
        peer = stack.enter_context(DistributionRegistry(path / "peer", token=token))
        home = path / "home"
        home.mkdir()
        stack.enter_context(Running(home, environment(primary, secondary, f"sqlite:///{home}/geo.db"), port))
        for number in range(options.pushes + 2):
            # Two to warm up: the first ever push finds processes that have opened no connection yet.
            lag, copy = _once(primary, secondary, peer, number, options)
            if number >= 2:
                lags.append(lag)
                copies.append(copy)
    size = options.layers * options.layer_size * options.platforms
    print(f"{options.pushes} pushes, {options.platforms} platforms, {size / 1e6:.1f} MB each, milliseconds")
    print(f"{'':32}{'median':>8}{'min':>8}{'max':>8}")
    for name, values in (("push answered -> on secondary", lags), ("skopeo copy --all", copies)):
        print(f"{name:32}{statistics.median(values):8.0f}{min(values):8.0f}{max(values):8.0f}")


def _once(
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    peer: DistributionRegistry,
    number: int,
    options: argparse.Namespace,
) -> tuple[float, float]:
    repository = "bench/app"
    tag = f"v{number}"
    platforms = [
        images.image(count=options.layers, size=options.layer_size, architecture=f"arch{place}")
        for place in range(options.platforms)
    ]
    image = images.index(platforms) if len(platforms) > 1 else platforms[0]
    wanted = push(primary, repository, tag, image)
    answered = time.perf_counter()
    while digest_of(secondary, repository, tag) != wanted:
        time.sleep(POLL)
        if time.perf_counter() - answered > 60:
            raise SystemExit("the image did not arrive within a minute")
    lag = time.perf_counter() - answered
    started = time.perf_counter()
    skopeo_copy(
        f"docker://{primary.host}/{repository}:{tag}",
        f"docker://{peer.host}/{repository}:{tag}",
        "--all",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        f"--src-registry-token={_token(primary, repository)}",
        f"--dest-registry-token={_token(peer, repository)}",
    )
    return lag * 1000, (time.perf_counter() - started) * 1000


def _token(registry: DistributionRegistry, repository: str) -> str:
    header = registry.authorization(f"repository:{repository}:pull,push")
    return header["Authorization"].removeprefix("Bearer ")


if __name__ == "__main__":
    main()
