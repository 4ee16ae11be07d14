"""Addresses that requests come from, as far as they tell one caller from another."""

from __future__ import annotations

import ipaddress


def network(address: str | None) -> str:
    """The address itself, or an IPv6 address's /64: whoever has one of those has all of them."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
