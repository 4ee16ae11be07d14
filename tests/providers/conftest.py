"""Fixtures of the providers' tests."""

from __future__ import annotations

from tests.support.amazon import amazon, amazon_server

__all__ = ["amazon", "amazon_server"]
