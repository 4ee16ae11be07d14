"""Steps: what a person has to do after a promotion or before a demotion, with the lines of the environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.replication.failover.promotion import PromotionPlan
from app.replication.failover.remains import DemotionPlan, Kind
from app.settings import Role, Settings
from app.site_environment import OF_A_REGISTRY, POLICIES, REGISTRY, SiteEnvironment, suffix

#: Those that are not repeated.
_SECRET = frozenset({"PASSWORD"})

#: What only a deployment that follows another's log has.
_OF_A_FOLLOWER = ("GEO_PRIMARY_URL", "GEO_SITE_TOKEN", "GEO_PRIMARY_CA_PATH", "GEO_PRIMARY_DATABASE_URL")

_PRIMARY, _SECONDARY = "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL", "GEO_SECONDARY_REGISTRY_URL"


@dataclass(frozen=True, slots=True)
class Line:
    """One variable of the environment: the value that it gets, in words where that is secret; None takes it out."""

    name: str
    value: str | None

    def __str__(self) -> str:
        return f"{self.name}={self.value}" if self.value is not None else f"{self.name}   (take it out)"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, with the lines that it is about."""

    text: str
    lines: tuple[str, ...] = ()


def after_promotion(made: PromotionPlan, settings: Settings, environ: Mapping[str, str]) -> list[Step]:
    """What is to be done once the site was promoted, in this order; `environ` is that of before."""
    changed = [*_promoted(made, settings, environ)]
    steps = [
        Step(
            "In the environment of every process of this deployment, set and take out these lines",
            tuple(str(line) for line in changed),
        ),
        Step("Restart all of them", ("geo up",)),
        Step(
            f"Have the registry at {made.successor} tell of its pushes, and take pushes if it was read-only; this"
            " prints what to add to its configuration (URL: where it reaches this deployment)",
            ("geo registry-config primary --webhook URL",),
        ),
        Step(f"Lead those who push and pull to {made.successor}, and see that all is right", ("geo check",)),
    ]
    if settings.role is not Role.SECONDARY:
        steps += [
            Step(
                f"At the deployment of the site {name}, set the new primary, and compare before it is started",
                (str(Line(_PRIMARY, made.successor)), "geo demote", "geo up"),
            )
            for name in made.remote
        ]
    else:
        steps.append(
            Step(
                "Every other site has to follow this deployment: add it here, and at the site set the new primary and"
                " compare before it is started",
                (
                    "geo sites add NAME",
                    "GEO_PRIMARY_URL=URL of this deployment",
                    "GEO_SITE_TOKEN=what `geo sites add` has shown",
                    str(Line(_PRIMARY, made.successor)),
                    "geo demote",
                    "geo up",
                ),
            )
        )
    return [*steps, _comeback(made, settings, environ)]


def to_demote(former: str | None) -> list[Step]:
    """What the environment has to say before a registry can be demoted."""
    url = former or "the address of the registry that was the primary"
    return [
        Step(
            "One deployment for both: set this, with what is needed to push there (GEO_SECONDARY_REGISTRY_…)",
            ("GEO_ROLE=both", f"{_SECONDARY}={url}"),
        ),
        Step(
            "Or the former primary's own deployment: `geo sites add NAME` at the new primary's gives the token",
            (
                "GEO_ROLE=secondary",
                "GEO_SITE_NAME=NAME",
                "GEO_PRIMARY_URL=URL of the new primary's deployment",
                "GEO_SITE_TOKEN=…",
                f"{_PRIMARY}=the new primary registry",
                f"{_SECONDARY}={url}",
            ),
        ),
    ]


def after_demotion(made: DemotionPlan, *, deleting: bool) -> list[Step]:
    """What is to be done once a registry was demoted."""
    steps = [
        Step(
            f"Take the notifications out of the configuration of the registry at {made.url}, if it has any: nobody but"
            " the replication pushes there from now on",
        ),
        Step("Start everything; it is backfilled", ("geo up", "geo status")),
    ]
    if made.count(Kind.LOST):
        steps.append(
            Step(
                "Decide about what was saved: bring it to the new primary under whatever tag is right, by any tool,"
                " and delete the saved tags when they are no longer wanted",
                tuple(f"{path}:{tag}" for path, tag in list(_saved(made))[:20]),
            )
        )
    why = "what was deleted at the new primary goes then, and what is deleted from now on"
    steps.append(
        Step(
            f"When all is as it should be, let deletions pass: {why if deleting else 'they are held until then'}",
            (f"geo sites release-deletions {made.site}",),
        )
    )
    return steps


def _saved(made: DemotionPlan) -> Iterator[tuple[str, str]]:
    for repository in made.repositories:
        for remain in repository.of(Kind.LOST):
            if remain.saved_as is not None:
                yield repository.path, remain.saved_as


def _promoted(made: PromotionPlan, settings: Settings, environ: Mapping[str, str]) -> Iterator[Line]:
    """The environment in which the secondary's registry is the primary, and no longer a secondary."""
    own, others = _own(made, settings, environ), _others(made, settings)
    yield Line("GEO_ROLE", Role.BOTH.value if others else Role.PRIMARY.value)
    if others:
        yield Line("GEO_SITE_NAME", ",".join(others))
    yield Line(_PRIMARY, made.successor)
    yield from _moved(environ, lambda name: own.variable(f"{REGISTRY}{name}"), _primarys)
    yield Line(own.variable(_SECONDARY), None)
    of_site = [own.variable(f"{REGISTRY}{name}") for name in OF_A_REGISTRY]
    if others:
        # Without the site, its own ones would be taken for misspelled.
        of_site += [f"{name}_{suffix(made.site)}" for name in sorted(POLICIES)]
    for name in of_site:
        if _text(environ, name):
            yield Line(name, None)
    if not settings.notification_secrets:
        yield Line("GEO_NOTIFICATION_SECRET", "a new one, such as `geo keygen` makes")
    for name in _OF_A_FOLLOWER:
        if _text(environ, name):
            yield Line(name, None)


def _comeback(made: PromotionPlan, settings: Settings, environ: Mapping[str, str]) -> Step:
    others = _others(made, settings)
    behind = f"_{suffix(made.site)}" if others else ""
    lines = [Line("GEO_ROLE", Role.BOTH.value)]
    lines += [Line("GEO_SITE_NAME", ",".join([*others, made.site]))] if others else []
    lines += [Line(f"{_SECONDARY}{behind}", made.former)]
    lines += _moved(environ, _primarys, lambda name: f"{REGISTRY}{name}{behind}")
    told = [str(line) for line in lines if line.value not in {None, "site"}]
    own = settings.role is Role.SECONDARY
    where = "; `geo demote` at the deployment of its own if it has one, else here with these lines" if own else ""
    return Step(
        f"When {made.former} is back, keep everybody else away from it: it may hold what nobody else has. Nothing is"
        f" written to it before `geo demote` has shown that and saved it{where or ', with these lines'}",
        (*told, "geo demote"),
    )


def _others(made: PromotionPlan, settings: Settings) -> list[str]:
    """The sites of this deployment that go on as secondaries."""
    return [each.site_name for each in settings.every if settings.further and each.site_name != made.site]


def _own(made: PromotionPlan, settings: Settings, environ: Mapping[str, str]) -> SiteEnvironment:
    first = not settings.further or made.site == settings.site_name
    return SiteEnvironment(environ, made.site, first=first)


def _primarys(name: str) -> str:
    return f"GEO_PRIMARY_REGISTRY_{name}"


def _moved(environ: Mapping[str, str], giver: Callable[[str], str], taker: Callable[[str], str]) -> Iterator[Line]:
    """What one side gets that was the other's."""
    for name in OF_A_REGISTRY:
        given, taken = giver(name), taker(name)
        value = _text(environ, given)
        if value:
            yield Line(taken, f"what {given} has been" if name in _SECRET else value)
        elif _text(environ, taken) and taken == _primarys(name):
            yield Line(taken, None)


def _text(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def told(steps: Sequence[Step]) -> list[str]:
    """The steps as lines for people."""
    lines = []
    for number, step in enumerate(steps, 1):
        lines.append(f"{number}. {step.text}{':' if step.lines else '.'}")
        lines += [f"     {line}" for line in step.lines]
    return lines
