"""The broker, made from the environment when it is imported: actors need it to exist before they are declared."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.stub import StubBroker

from app import amqp
from app.settings import Settings
from workers import redis_broker
from workers.middleware import FirstSignalOnly, Lifecycle, Occasion, OwnSchema


def build(settings: Settings) -> dramatiq.Broker:
    """The broker of `BROKER_URL`, else of `REDIS_URL`.

    No Retries, TimeLimit, AgeLimit or Results: what is to be done, how often and when is in the database, and a
    message only says "look". A retried or delayed message could be lost without harm, so there are none.

    Raises:
        SettingsError: for RabbitMQ where its client is not installed.
    """
    url = settings.queue_url
    if url is None or url.startswith("stub://"):
        return StubBroker(middleware=[])
    middleware = [Occasion(), OwnSchema(), Lifecycle(), FirstSignalOnly()]
    if amqp.is_amqp(url):
        amqp.require(url)
        from workers import rabbitmq_broker

        return rabbitmq_broker.build(url, middleware, settings.worker_threads)
    return redis_broker.build(url, middleware)


broker = build(Settings.from_env(os.environ))
dramatiq.set_broker(broker)
