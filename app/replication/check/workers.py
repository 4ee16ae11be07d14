"""The workers: every queue has some that serve it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app import amqp, attendance, redis_client
from app.deployment import QUEUES
from app.replication.check.examination import Examination, Skipped
from app.replication.check.finding import Finding, Id, error, fine
from app.settings import SettingsError

#: What waits where nobody serves a queue.
_WAITING: Mapping[str, str] = {
    "events": "Events are read by the scheduler alone, one site after the other.",
    "sync": "What is pushed is not copied.",
    "backfill": "What is not copied at once, and what failed, is not copied at all.",
    "verification": "Nothing is verified.",
}


def check(examination: Examination) -> Sequence[Finding]:
    """Ask the queue who is there.

    Raises:
        Skipped: where nothing is copied from here, or the queue cannot be asked; that it cannot is told of elsewhere.
    """
    if not examination.settings.role.replicates:
        return []
    url = examination.settings.queue_url
    if url is None:
        raise Skipped("there is no queue to ask who serves it")
    if url.startswith("stub:"):
        return []
    try:
        serving = amqp.consumers(url, QUEUES) if amqp.is_amqp(url) else _serving(url, examination.answer)
    except (redis.RedisError, OSError, amqp.Refused, SettingsError, ImportError) as problem:
        raise Skipped("the queue does not say who serves it") from problem
    idle = [queue for queue in QUEUES if not serving[queue]]
    if not idle:
        return [fine("workers", "serve all queues")]
    if len(idle) == len(QUEUES):
        why, fix = "Nothing is copied.", "geo worker (or `geo up`, which starts all processes)"
        return [error(Id.WORKERS_MISSING, "workers", "none runs, or none reaches the queue", why, fix)]
    why, fix = " ".join(_WAITING[queue] for queue in idle), f"geo worker --queues {','.join(idle)}"
    return [error(Id.WORKERS_MISSING, "workers", f"none serves {_listed(idle)}", why, fix)]


def _serving(url: str, answer: float) -> dict[str, int]:
    options = {"socket_timeout": answer, "socket_connect_timeout": answer, "retry": Retry(NoBackoff(), 0)}
    with contextlib.closing(redis_client.connect(url, **options)) as client:
        return {queue: attendance.serving(client, queue) for queue in QUEUES}


def _listed(queues: Sequence[str]) -> str:
    return f"the queue{'s' if len(queues) > 1 else ''} {', '.join(queues)}"
