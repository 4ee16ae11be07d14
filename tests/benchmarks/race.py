"""The race: each tool in its turn copies the same, round after round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.benchmarks import peers
from tests.benchmarks.corpus import Client, Corpus
from tests.benchmarks.line import Line
from tests.benchmarks.measure import Run, cpu_seconds, last_tag_written, requests_to, since
from tests.benchmarks.ours import NAME, Ours
from tests.benchmarks.peers import Job, Peer, Session
from tests.benchmarks.stage import Stage, emptied, settle
from tests.support.registries import DistributionRegistry

#: What scenarios with a far primary have, in seconds there and back.
FAR = 0.080


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    rounds: int = 5
    #: Sizes and numbers are multiplied by it.
    scale: float = 1.0
    #: Seconds after which a run is given up.
    timeout: float = 300.0
    peers: Sequence[Peer] = ()
    ours: bool = True
    #: Where the registries keep their storage; None is memory where there is room.
    storage: Path | None = None
    #: Repositories that the peers copy at a time; None is what docs/performance.md names.
    at_once: int | None = None
    #: Settings of ours.
    env: Mapping[str, str] = field(default_factory=dict)
    #: Show the plans of queries.
    plans: bool = False
    say: Callable[[str], None] = lambda _text: None

    def scaled(self, count: float, least: int = 1) -> int:
        return max(least, round(count * self.scale))

    def tuned(self) -> Options:
        """The same without the tools as they come."""
        return replace(self, peers=[peer for peer in self.peers if not peer.as_it_comes])

    @property
    def tools(self) -> list[str]:
        return [*([NAME] if self.ours else []), *(peer.name for peer in self.peers)]


@dataclass
class Race:
    """A primary with something on it, perhaps behind a line, and the tools that copy it."""

    options: Options
    stage: Stage
    primary: DistributionRegistry
    corpus: Corpus
    line: Line | None = None
    runs: list[Run] = field(default_factory=list)

    def cold(self) -> list[Run]:
        """Every run of every tool begins with an empty destination and without any memory of its own."""
        for number in range(self.options.rounds):
            for tool in self.options.tools:
                with self.stage.destination() as destination, self.stage.directory(tool) as folder:
                    session = self._session(tool, destination, folder)
                    with self._attempt(tool, number), ExitStack() as stack:
                        # A service begins to copy as soon as it finds anything.
                        with emptied(self.primary):
                            stack.enter_context(session)
                            self._settle(tool, destination)
                        self._run(tool, number, session, destination, landing=tool == NAME)
        return self.runs

    def again(self, change: Callable[[int], None] | None = None) -> list[Run]:
        """Every run begins with a destination that the same tool has filled before; `change` is made to the primary
        before each round."""
        round_trip = self.line.round_trip if self.line is not None else 0.0
        with ExitStack() as stack:
            sessions = {}
            if self.line is not None:
                # What is not measured need not take long.
                self.line.change(round_trip=0.0)
            for tool in self.options.tools:
                destination = stack.enter_context(self.stage.destination())
                session = self._session(tool, destination, stack.enter_context(self.stage.directory(tool)))
                with self._attempt(tool, 0), session:
                    failure = session.sync(self.options.timeout).failure or self._missing(destination)
                    assert failure is None, f"could not fill its destination: {failure}"
                    sessions[tool] = session, destination
            if self.line is not None:
                self.line.change(round_trip=round_trip)
            for number in range(self.options.rounds):
                if change is not None:
                    change(number)
                for tool, (session, destination) in sessions.items():
                    with self._attempt(tool, number), session:
                        if change is None:
                            session.warm(self.options.timeout)
                            self._settle(tool, destination)
                        self._run(tool, number, session, destination, landing=tool == NAME and change is not None)
        return self.runs

    @contextmanager
    def _attempt(self, tool: str, number: int) -> Iterator[None]:
        """A tool that does not start fails this run, and not the others."""
        try:
            yield
        except (AssertionError, OSError) as error:
            self.runs.append(Run(tool, number, None, str(error)[-500:]))
            self.options.say(f"  round {number + 1} {tool}: {error}")

    def _settle(self, tool: str, destination: DistributionRegistry) -> None:
        """Wait until a service asks nothing of anybody any more."""
        if tool == NAME:
            settle(self.primary, destination)

    def _session(self, tool: str, destination: DistributionRegistry, folder: Path) -> Session:
        source = f"127.0.0.1:{self.line.port}" if self.line is not None else self.primary.host
        at_once = self.options.at_once or (peers.FAR if self.line is not None else peers.NEAR)
        job = Job(source, destination.host, self.corpus.repositories, at_once)
        if tool == NAME:
            return Ours(job, folder, self.options.env)
        return next(peer for peer in self.options.peers if peer.name == tool).session(job, folder)

    def _run(
        self, tool: str, number: int, session: Session, destination: DistributionRegistry, *, landing: bool
    ) -> None:
        """`landing`: what counts is when the last tag stood, not when the command ended."""
        sides = {"primary": self.primary, "destination": destination}
        before = {name: requests_to(side) for name, side in sides.items()}
        cpu = self._cpu(session, destination)
        timed = session.sync(self.options.timeout)
        used = {name: seconds - cpu[name] for name, seconds in self._cpu(session, destination).items()}
        run = Run(
            tool,
            number,
            timed.seconds,
            timed.failure,
            timed.seconds,
            phases=session.phases(timed.began_at),
            cpu={**used, "tool": used["tool"] + timed.cpu},
            memory=session.memory() or timed.memory,
            requests={name: since(before[name], requests_to(side)) for name, side in sides.items()},
        )
        last = last_tag_written(destination)
        if last is not None and last > timed.began_at:
            run.landed_seconds = last - timed.began_at
            if landing:
                run.seconds = run.landed_seconds
        if run.failure is None:
            run.failure = self._missing(destination)
        if run.failure is not None:
            run.seconds = None
        self.runs.append(run)
        took = f"{run.seconds:.2f} s" if run.seconds is not None else run.failure
        self.options.say(
            f"  round {number + 1} {tool}: {took}; command {run.command_seconds:.2f} s, processor"
            f" {', '.join(f'{name} {seconds:.2f}' for name, seconds in run.cpu.items())} s;"
            f" requests {run.count('primary')} + {run.count('destination')}; {run.memory / 1e6:.0f} MB"
            f"{''.join(f'; {name} {seconds:.2f} s' for name, seconds in run.phases.items())}"
        )

    def _cpu(self, session: Session, destination: DistributionRegistry) -> dict[str, float]:
        used = {"tool": session.cpu()}
        for name, registry in (("primary", self.primary), ("destination", destination)):
            assert registry.process is not None
            used[name] = cpu_seconds(registry.process.pid)
        if self.line is not None:
            used["line"] = cpu_seconds(self.line.pid)
        return used

    def _missing(self, destination: DistributionRegistry) -> str | None:
        with Client(destination) as client:
            missing = client.missing(self.corpus)
        return f"{len(missing)} tags missing or different, such as {missing[0]}" if missing else None
