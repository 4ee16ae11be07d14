"""The queue and the caches: Redis or Valkey, asked to take and forget a key; or another broker's port."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app import amqp, redis_client
from app.replication.check.examination import Examination
from app.replication.check.finding import Finding, Id, error, fine
from app.settings import SettingsError

#: Seconds after which the key is gone by itself, should we not get to delete it.
_KEPT = 10


def check(examination: Examination) -> Sequence[Finding]:
    """Ask the queue (BROKER_URL) and the caches (REDIS_URL), which are often one server."""
    settings = examination.settings
    given = {"BROKER_URL": settings.broker_url, "REDIS_URL": settings.redis_url}
    urls = {name: secret.value for name, secret in given.items() if secret is not None}
    if not urls:
        return [
            error(
                Id.QUEUE_MISSING,
                "queue",
                "neither REDIS_URL nor BROKER_URL is set, and no `geo up` runs in this directory",
                "Nobody wakes the workers.",
                "export REDIS_URL=redis://HOST:6379/0, or start everything with `geo up`",
            )
        ]
    return [_asked(name, url, examination.answer) for name, url in urls.items()]


def _asked(name: str, url: str, answer: float) -> Finding:
    subject = "queue" if name == "BROKER_URL" else "redis"
    scheme = url.partition("://")[0]
    if scheme == "stub":
        return fine(subject, "kept in this process alone, as tests have it")
    try:
        if amqp.is_amqp(url):
            return _rabbitmq(subject, url)
        _write(url, answer)
    except redis.ResponseError as problem:
        return error(
            Id.REDIS_REFUSES,
            subject,
            f"the server of {name} takes no key: {problem}",
            "No worker can be woken: copying waits for the scheduler's rounds.",
            "On that server: raise `maxmemory`, or point the variable at a server that is no replica"
            f" (`INFO replication`): export {name}=redis://HOST:6379/0",
        )
    except (redis.RedisError, OSError) as problem:
        # Its words may quote the address, never the password.
        return error(
            Id.REDIS_UNREACHABLE,
            subject,
            f"the server of {name} does not answer: {type(problem).__name__}: {problem}",
            "No worker can be woken: copying waits for the scheduler's rounds.",
            f"Start that server, or put the variable right: export {name}=redis://HOST:6379/0",
        )
    return fine(subject, f"{name} answers, and takes keys")


def _rabbitmq(subject: str, url: str) -> Finding:
    try:
        amqp.require(url)
        amqp.probe(url)
    except SettingsError as problem:
        return error(
            Id.QUEUE_CLIENT,
            subject,
            "BROKER_URL is RabbitMQ's, and the client for it is not installed",
            "Web, workers and scheduler do not start.",
            problem.problems[0],
        )
    except amqp.Refused as problem:
        return error(
            Id.QUEUE_REFUSES,
            subject,
            f"RabbitMQ at BROKER_URL does not let us in: {problem}",
            "No worker can be woken: copying waits for the scheduler's rounds.",
            "Check user, password and virtual host: export BROKER_URL=amqp://USER:PASSWORD@HOST:5672/VHOST"
            " (a name of a virtual host with a slash has %2F for it)",
        )
    return fine(subject, "BROKER_URL answers, and lets us in")


def _write(url: str, answer: float) -> None:
    options = {"socket_timeout": answer, "socket_connect_timeout": answer, "retry": Retry(NoBackoff(), 0)}
    with contextlib.closing(redis_client.connect(url, **options)) as client:
        key = f"geo-check:{uuid.uuid4()}"
        client.set(key, "1", ex=_KEPT)
        client.delete(key)
