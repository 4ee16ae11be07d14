"""The dialect of GitLab's registry, a fork of Distribution: the same envelope, with an address of its own.

It comes from the `registry['notifications']` of an installation of one's own; gitlab.com tells nobody but itself.
"""

from __future__ import annotations

from app.notifications import distribution
from app.notifications.delivery import Delivery
from app.notifications.notification import Notification


def parse(delivery: Delivery) -> Notification:
    """Read an envelope."""
    return distribution.parse(delivery)
