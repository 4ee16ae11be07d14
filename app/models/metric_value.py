"""Counters and histograms that all processes add to."""

from __future__ import annotations

from peewee import CharField, CompositeKey, DoubleField

from app.models.base import BaseModel


class MetricValue(BaseModel):
    """One sample: `labels` is canonical JSON, `bucket` the upper bound of a histogram bucket, else empty."""

    name = CharField()
    labels = CharField(default="{}")
    bucket = CharField(default="")
    #: Eight bytes: PostgreSQL's `real` stops counting bytes at 16 MiB.
    value = DoubleField(default=0.0)

    class Meta:
        table_name = "geo_metric_values"
        primary_key = CompositeKey("name", "labels", "bucket")
